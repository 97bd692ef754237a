"""The typed study: exactly what a study file can say."""

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

from orchestrator.study.claim_options import BuiltInClaim, ClaimRequest
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
    """When a snapshot is taken for measuring. The final network is always one.

    Checkpoints do not decide the science: taking them never changes the training.
    """

    train_loss: tuple[PositiveFloat, ...] = Field(
        (), description="The first update found at which the full training loss is at most this."
    )
    epochs: Positions = ()
    updates: Positions = ()


class TrialConfig(Options):
    """What decides the science of a trial, besides its seed."""

    data: DataOptions
    model: ModelOptions
    training: TrainingOptions

    def canonical(self) -> dict[str, Any]:
        """The configuration without defaults and without what does not decide the science."""
        content = self.model_dump(mode="json", exclude_defaults=True)
        for part in ("data", "model"):  # a discriminating name may be its class's default
            content[part]["name"] = getattr(self, part).name
        content["data"].pop("data_dir", None)
        return content

    def condition_id(self) -> str:
        """Twelve hexadecimal digits that name this configuration whatever its seed."""
        return _digest(self.canonical())

    def trial_id(self, seed: int) -> str:
        """Twelve hexadecimal digits that name this configuration with this seed."""
        return self.trial_ids((seed,))[0]

    def trial_ids(self, seeds: Iterable[int]) -> list[str]:
        """:meth:`trial_id` of each seed."""
        content = self.canonical()
        return [_digest({**content, "seed": seed}) for seed in seeds]


def _digest(content: dict[str, Any]) -> str:
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:12]


class Study(Options):
    """One question, one grid of trials, the measures and the claims."""

    # An infinite value that is swept stays one in the stored study.
    model_config = ConfigDict(ser_json_inf_nan="constants")

    study: str = Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", description="Name; also the results folder's."
    )
    question: str = Field("", description="What the study is to find out, in one sentence.")
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
    measures: tuple[MeasureRequest, ...] = Field((), description="Of every snapshot.")
    final_measures: tuple[MeasureRequest, ...] = Field(
        (), description="Of the final network of each trial only: what is too dear for the others."
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
                f"{twice[0]} is among 'measures', which are of every snapshot; leave it out of one"
            )
        return final

    @field_validator("seeds")
    @classmethod
    def _distinct(cls, seeds: int | tuple[int, ...]) -> int | tuple[int, ...]:
        if isinstance(seeds, tuple) and (not seeds or len(set(seeds)) != len(seeds)):
            raise ValueError("a list of seeds needs at least one, each only once")
        return seeds

    @property
    def seed_list(self) -> Sequence[int]:
        """The seeds, one by one."""
        return range(self.seeds) if isinstance(self.seeds, int) else self.seeds

    def needs_of(self, config: TrialConfig) -> TrialResources:
        """What a trial of this configuration may use."""
        return self.resources.trial.of(config.model_dump(mode="json"))

    def built_in_claim(self, name: str) -> BuiltInClaim | None:
        """The built-in claim ``name``, if it is among the claims."""
        for claim in self.claims:
            if isinstance(claim, BuiltInClaim) and claim.name == name:
                return claim
        return None

    @property
    def all_measures(self) -> tuple[Any, ...]:
        """What is measured of every snapshot, and of final networks only."""
        return (*self.measures, *self.final_measures)

    @property
    def requests(self) -> dict[str, Any]:
        """What final networks are measured for: canonical request → measure options."""
        suffix = self.measuring.suffix
        return {options.request + suffix: options for options in self.all_measures}

    @property
    def wanted(self) -> dict[bool, tuple[str, ...]]:
        """The requests of a snapshot, by whether it is of a final network."""
        requests = tuple(self.requests)
        of_all = {options.request + self.measuring.suffix for options in self.measures}
        return {True: requests, False: tuple(one for one in requests if one in of_all)}
