"""The typed study: everything that a study file can state."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from typing import Annotated, Any

from pydantic import (
    ConfigDict,
    Field,
    PositiveFloat,
    PositiveInt,
    ValidationInfo,
    field_validator,
)

from orchestrator.study.claim_options import ClaimRequest
from orchestrator.study.data_options import DataOptions
from orchestrator.study.learning_criterion import LearnedOptions
from orchestrator.study.measure_options import MeasureRequest, MeasuringOptions
from orchestrator.study.model_options import ModelOptions
from orchestrator.study.options import Options
from orchestrator.study.resource_options import ResourcesOptions, TrialResources
from orchestrator.study.sweep_options import Sweep
from orchestrator.study.training_options import TrainingOptions


class Every(Options):
    """``{every: 5}``: at 5, 10, 15 and so on."""

    every: PositiveInt


class LogSpaced(Options):
    """``{log_spaced: 8}``: eight points from 1 to the end, equally spaced on a log scale."""

    log_spaced: PositiveInt = Field(le=10_000)


Positions = tuple[Annotated[int, Field(ge=0)], ...] | Every | LogSpaced


class CheckpointOptions(Options):
    """Points in training at which snapshots are taken; the final network always gives one.

    Checkpoints never affect training, so they are not part of a trial's identity.
    """

    train_loss: tuple[PositiveFloat, ...] = Field(
        (), description="Take one at the first update found with at most this full training loss."
    )
    epochs: Positions = ()
    updates: Positions = ()


class TrialConfig(Options):
    """Settings that determine a trial's results, apart from its seed."""

    data: DataOptions
    model: ModelOptions
    training: TrainingOptions

    def canonical(self) -> dict[str, Any]:
        """Return the configuration without defaults and settings that cannot affect results."""
        content = self.model_dump(mode="json", exclude_defaults=True)
        for part in ("data", "model"):  # The discriminating name may be its class's default.
            content[part]["name"] = getattr(self, part).name
        content["data"].pop("data_dir", None)
        return content

    def condition_id(self) -> str:
        """Return twelve hexadecimal digits that identify this configuration for all seeds."""
        return _digest(self.canonical())

    def trial_id(self, seed: int) -> str:
        """Return twelve hexadecimal digits that identify this configuration with this seed."""
        return self.trial_ids((seed,))[0]

    def trial_ids(self, seeds: Iterable[int]) -> list[str]:
        """Return :meth:`trial_id` for each seed."""
        content = self.canonical()
        return [_digest({**content, "seed": seed}) for seed in seeds]


def _digest(content: dict[str, Any]) -> str:
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:12]


class Study(Options):
    """A question with its grid of trials, measures and claims."""

    # Infinite swept values stay infinite in the stored study.
    model_config = ConfigDict(ser_json_inf_nan="constants")

    study: str = Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$",
        description="Name of the study and its results folder.",
    )
    question: str = Field("", description="Question that the study answers, in one sentence.")
    data: DataOptions
    model: ModelOptions
    training: TrainingOptions
    sweep: Sweep = Field(
        default_factory=Sweep,
        description="Cartesian product over dotted paths; 'a, b' couples two axes, and 'random' "
        "draws conditions.",
    )
    seeds: PositiveInt | tuple[Annotated[int, Field(ge=0)], ...] = Field(
        1, description="A number n (seeds 0 … n−1) or an explicit list."
    )
    checkpoints: CheckpointOptions = CheckpointOptions()
    measures: tuple[MeasureRequest, ...] = Field((), description="Measures of every snapshot.")
    final_measures: tuple[MeasureRequest, ...] = Field(
        (),
        description="Measures of final networks only, such as those too costly for every snapshot.",
    )
    measuring: MeasuringOptions = MeasuringOptions()
    claims: tuple[ClaimRequest, ...] = ()
    learned: LearnedOptions = LearnedOptions()
    resources: ResourcesOptions = ResourcesOptions()

    @field_validator("claims")
    @classmethod
    def _named_once(cls, claims: tuple[ClaimRequest, ...]) -> tuple[ClaimRequest, ...]:
        names = [claim.name for claim in claims]
        twice = {name for name in names if names.count(name) > 1}
        if twice:
            raise ValueError(f"claims need different names, got {min(twice)!r} twice")
        return claims

    @field_validator("final_measures")
    @classmethod
    def _only_final(
        cls, final: tuple[MeasureRequest, ...], info: ValidationInfo
    ) -> tuple[MeasureRequest, ...]:
        twice = [options.request for options in final if options in info.data.get("measures", ())]
        if twice:
            raise ValueError(
                f"{twice[0]} is also in 'measures', which cover every snapshot; remove one of them"
            )
        return final

    @field_validator("seeds")
    @classmethod
    def _distinct(cls, seeds: int | tuple[int, ...]) -> int | tuple[int, ...]:
        if isinstance(seeds, tuple) and (not seeds or len(set(seeds)) != len(seeds)):
            raise ValueError("expected at least one seed, and each only once")
        return seeds

    @property
    def seed_list(self) -> Sequence[int]:
        """All seeds."""
        return range(self.seeds) if isinstance(self.seeds, int) else self.seeds

    def needs_of(self, config: TrialConfig) -> TrialResources:
        """Return the resources that a trial of this configuration may use."""
        return self.resources.trial.of(config.model_dump(mode="json"))

    @property
    def all_measures(self) -> tuple[Any, ...]:
        """Measures of every snapshot, then those of final networks only."""
        return (*self.measures, *self.final_measures)

    @property
    def requests(self) -> dict[str, Any]:
        """Requests for final networks: canonical request → measure options."""
        suffix = self.measuring.suffix
        return {options.request + suffix: options for options in self.all_measures}

    @property
    def wanted(self) -> dict[bool, tuple[str, ...]]:
        """Requests for a snapshot, by whether it is of a final network."""
        requests = tuple(self.requests)
        of_all = {options.request + self.measuring.suffix for options in self.measures}
        return {True: requests, False: tuple(one for one in requests if one in of_all)}
