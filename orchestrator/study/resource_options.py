"""Resources that each kind of process may use, and overrides for some trials."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt, field_validator

from orchestrator.study.options import Options

_BUILT_IN = {"CPU", "GPU", "memory", "object_store_memory"}


def _not_built_in(custom: dict[str, float] | None) -> dict[str, float] | None:
    built_in = _BUILT_IN & (custom or {}).keys()
    if built_in:
        raise ValueError(f"{min(built_in)} is not a custom resource; use cpus or gpus")
    return custom


class _ProcessResources(Options):
    gpus: NonNegativeFloat = 0
    custom: dict[str, PositiveFloat] = Field(
        default_factory=dict,
        description="Custom resources that nodes of a cluster declare, such as {measure: 1}. "
        "A single machine always has enough of them.",
    )

    _custom_names = field_validator("custom")(_not_built_in)


class ResourceOverride(Options):
    """Resources for the trials of some conditions.

    Omitted keys keep their general values. If several overrides match a trial, later ones win.
    """

    where: dict[str, Any] = Field(
        min_length=1,
        description="Dotted path → value, such as {model.width: 512}; all must match.",
    )
    cpus: NonNegativeFloat | None = None
    gpus: NonNegativeFloat | None = None
    custom: dict[str, PositiveFloat] | None = None
    timeout: PositiveFloat | None = None

    _custom_names = field_validator("custom")(_not_built_in)

    def fits(self, config: Mapping[str, Any]) -> bool:
        """Return whether a trial's configuration, as plain values, matches all of ``where``."""
        return all(value_at(config, path) == value for path, value in self.where.items())


class TrialResources(_ProcessResources):
    """Resources of one training process."""

    cpus: NonNegativeFloat = 1
    timeout: PositiveFloat | None = Field(
        None,
        description="Seconds allowed per attempt of a trial, after which it counts as failed; "
        "no limit by default.",
    )
    overrides: tuple[ResourceOverride, ...] = Field(
        (), description="Conditions with other needs, such as a whole GPU."
    )

    def of(self, config: Mapping[str, Any]) -> TrialResources:
        """Return the resources of one trial, given its configuration as plain values."""
        changes: dict[str, Any] = {"overrides": ()}
        for override in self.overrides:
            if override.fits(config):
                changes |= override.model_dump(exclude={"where"}, exclude_none=True)
        return self.model_copy(update=changes)


class MeasurerResources(_ProcessResources):
    """Resources of one measurer, and the number of measurers reserved from the start."""

    cpus: NonNegativeFloat | None = Field(
        None,
        description="Cores per measurer. By default 1; with fewer than four cores 0, sharing "
        "those of the trials.",
    )
    count: PositiveInt = Field(1, description="Measurers reserved before the first trial starts.")


class ResourcesOptions(Options):
    """Resources of trials and measurers, and the bound on snapshots between them."""

    trial: TrialResources = TrialResources()
    measurer: MeasurerResources = MeasurerResources()
    unmeasured_snapshots: PositiveInt = Field(
        64, description="Training pauses while more snapshots than this are unmeasured."
    )


def value_at(config: Mapping[str, Any], path: str) -> Any:
    """Return the value at a dotted path; None if the path does not exist."""
    found: Any = config
    for key in path.split("."):
        if not isinstance(found, Mapping) or key not in found:
            return None
        found = found[key]
    return found
