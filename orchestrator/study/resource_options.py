"""What each kind of process may use, and which trials need something else."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt, field_validator

from orchestrator.study.options import Options

_BUILT_IN = {"CPU", "GPU", "memory", "object_store_memory"}


def _not_built_in(custom: dict[str, float] | None) -> dict[str, float] | None:
    built_in = _BUILT_IN & (custom or {}).keys()
    if built_in:
        raise ValueError(f"{min(built_in)} is no custom resource; use cpus or gpus")
    return custom


class _ProcessResources(Options):
    gpus: NonNegativeFloat = 0
    custom: dict[str, PositiveFloat] = Field(
        default_factory=dict,
        description="What nodes of a cluster declare under other names, such as {measure: 1}. "
        "On one machine there is always enough of it.",
    )

    _custom_names = field_validator("custom")(_not_built_in)


class ResourceOverride(Options):
    """What the trials of some conditions may use instead.

    What is left out is as for the others; of several that fit a trial, later ones win.
    """

    where: dict[str, Any] = Field(
        min_length=1,
        description="Dotted path → value, such as {model.width: 512}: the trials that have all.",
    )
    cpus: NonNegativeFloat | None = None
    gpus: NonNegativeFloat | None = None
    custom: dict[str, PositiveFloat] | None = None
    timeout: PositiveFloat | None = None

    _custom_names = field_validator("custom")(_not_built_in)

    def fits(self, config: Mapping[str, Any]) -> bool:
        """Whether a trial's configuration, as plain values, has all that ``where`` names."""
        return all(value_at(config, path) == value for path, value in self.where.items())


class TrialResources(_ProcessResources):
    """What one training process may use."""

    cpus: NonNegativeFloat = 1
    timeout: PositiveFloat | None = Field(
        None,
        description="Seconds that one attempt of a trial may take, after which it counts as "
        "failed; no limit by default.",
    )
    overrides: tuple[ResourceOverride, ...] = Field(
        (), description="Conditions that need something else, such as a whole GPU."
    )

    def of(self, config: Mapping[str, Any]) -> TrialResources:
        """What one trial may use, given its configuration as plain values."""
        changes: dict[str, Any] = {"overrides": ()}
        for override in self.overrides:
            if override.fits(config):
                changes |= override.model_dump(exclude={"where"}, exclude_none=True)
        return self.model_copy(update=changes)


class MeasurerResources(_ProcessResources):
    """What one measuring process may use, and how many of them are reserved from the start."""

    cpus: NonNegativeFloat | None = Field(
        None,
        description="Cores of its own. By default 1; 0, sharing the trials', where there are "
        "fewer than four.",
    )
    count: PositiveInt = Field(1, description="Measurers reserved before the first trial starts.")


class ResourcesOptions(Options):
    """Resources of the two kinds of process, and the bound between them."""

    trial: TrialResources = TrialResources()
    measurer: MeasurerResources = MeasurerResources()
    unmeasured_snapshots: PositiveInt = Field(
        64, description="Training waits while more snapshots than this wait to be measured."
    )


def value_at(config: Mapping[str, Any], path: str) -> Any:
    """What stands at a dotted path; None if nothing does."""
    found: Any = config
    for key in path.split("."):
        if not isinstance(found, Mapping) or key not in found:
            return None
        found = found[key]
    return found
