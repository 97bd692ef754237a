"""What is measured: the measures a study file can ask for, with their parameters."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import (
    BeforeValidator,
    Discriminator,
    Field,
    NonNegativeFloat,
    PositiveFloat,
    PositiveInt,
    Tag,
)

from orchestrator.study.options import CustomOptions, Options, component_tag

Normalizer = Literal["raw", "spectral", "frobenius", "logit_norm", "total_variation"]


class MeasureOptions(Options):
    """Base of every measure's options."""

    name: str

    @property
    def request(self) -> str:
        """Canonical text of what was asked, ``name`` or ``name(parameter=value, …)``.

        Parameters at their defaults are left out, so that a later release can add
        parameters without asking for anything to be measured again.
        """
        given = self.model_dump(mode="json", exclude_defaults=True)
        given.pop("name", None)
        arguments = ", ".join(
            f"{key}={json.dumps(value, sort_keys=True)}" for key, value in sorted(given.items())
        )
        return f"{self.name}({arguments})" if arguments else self.name


class MarginOptions(MeasureOptions):
    """Output margins: true logit minus the largest other, summarized over examples."""

    name: Literal["margin"]
    normalizations: tuple[Normalizer, ...] = (
        "raw",
        "spectral",
        "frobenius",
        "logit_norm",
        "total_variation",
    )


class HessianTraceOptions(MeasureOptions):
    """Trace of the Hessian of the training loss."""

    name: Literal["hessian_trace"]
    method: Literal["auto", "exact", "hutchinson"] = Field(
        "auto", description="auto: exact where that is provably right, Hutchinson elsewhere."
    )
    probes: PositiveInt = Field(256, description="Most probes the estimate may use.")
    relative_error: PositiveFloat = Field(
        0.05, description="Stop probing at this standard error, relative to the estimate."
    )


class HessianSpectrumOptions(MeasureOptions):
    """Largest and smallest eigenvalues of the Hessian of the training loss, by Lanczos."""

    name: Literal["hessian_spectrum"]
    top: PositiveInt = Field(5, description="How many of the largest eigenvalues.")
    iterations: PositiveInt = Field(100, description="Most Lanczos iterations.")
    tolerance: PositiveFloat = Field(1e-3, description="Residual norm, relative to the largest.")


class GradientNormOptions(MeasureOptions):
    """Euclidean norm of the gradient of the loss."""

    name: Literal["gradient_norm"]


class SamSharpnessOptions(MeasureOptions):
    """Loss increase after one ascent step of length rho, L(θ + ρ g/‖g‖) − L(θ)."""

    name: Literal["sam_sharpness"]
    rho: PositiveFloat = 0.05
    adaptive: bool = Field(False, description="Scale the step by |θ| (ASAM, eta = 0).")


class AverageSharpnessOptions(MeasureOptions):
    """Mean loss increase under Gaussian noise of standard deviation rho per parameter."""

    name: Literal["average_sharpness"]
    rho: PositiveFloat = 0.01
    adaptive: bool = Field(False, description="Scale the noise by |θ|.")
    draws: PositiveInt = Field(64, description="Most draws the estimate may use.")
    relative_error: NonNegativeFloat = Field(
        0.05, description="Stop drawing at this standard error, relative to the estimate."
    )


class NormsOptions(MeasureOptions):
    """Norms of the weights: data-free."""

    name: Literal["norms"]


class FisherOptions(MeasureOptions):
    """Traces of the Fisher information, exact and empirical, and the noise of the gradients."""

    name: Literal["fisher"]


class FisherRaoNormOptions(MeasureOptions):
    """Fisher-Rao norm of the parameters, the value θᵀFθ."""

    name: Literal["fisher_rao_norm"]


class PathNormOptions(MeasureOptions):
    """Path norm of a ReLU network: data-free."""

    name: Literal["path_norm"]


class StableRankOptions(MeasureOptions):
    """Stable rank of the layers' weights, and their sum: data-free."""

    name: Literal["stable_rank"]


class HessianFrobeniusNormOptions(MeasureOptions):
    """Frobenius norm of the Hessian of the training loss, estimated."""

    name: Literal["hessian_frobenius_norm"]
    probes: PositiveInt = Field(256, description="Most probes the estimate may use.")
    relative_error: PositiveFloat = Field(
        0.05, description="Stop probing at this standard error, relative to the estimate."
    )


class CustomMeasure(MeasureOptions, CustomOptions):
    """The user's own measure, by import path or entry point."""


def short_form(value: Any) -> Any:
    """Turn ``margin`` and ``{hessian_trace: {probes: 32}}`` into mappings with a ``name``."""
    if isinstance(value, str):
        return {"name": value}
    if isinstance(value, Mapping) and "name" not in value and len(value) == 1:
        ((name, arguments),) = value.items()
        if isinstance(name, str) and (arguments is None or isinstance(arguments, Mapping)):
            return {"name": name, **(arguments or {})}
    return value


def _measure_tag(value: Any) -> str | None:
    return component_tag(value, "measures")


MeasureRequest = Annotated[
    Annotated[MarginOptions, Tag("margin")]
    | Annotated[HessianTraceOptions, Tag("hessian_trace")]
    | Annotated[HessianSpectrumOptions, Tag("hessian_spectrum")]
    | Annotated[GradientNormOptions, Tag("gradient_norm")]
    | Annotated[SamSharpnessOptions, Tag("sam_sharpness")]
    | Annotated[AverageSharpnessOptions, Tag("average_sharpness")]
    | Annotated[NormsOptions, Tag("norms")]
    | Annotated[FisherOptions, Tag("fisher")]
    | Annotated[FisherRaoNormOptions, Tag("fisher_rao_norm")]
    | Annotated[PathNormOptions, Tag("path_norm")]
    | Annotated[StableRankOptions, Tag("stable_rank")]
    | Annotated[HessianFrobeniusNormOptions, Tag("hessian_frobenius_norm")]
    | Annotated[CustomMeasure, Tag("custom")],
    Discriminator(_measure_tag),
    BeforeValidator(short_form),
]


class MeasuringOptions(Options):
    """How all measures of a study are computed."""

    dtype: Literal["float64", "float32"] = Field(
        "float64",
        description="Precision. float32 saturates: cross-entropy is exactly 0 from a margin of 17.",
    )
    examples: PositiveInt | None = Field(
        None, description="Measure on a fixed stratified subset of each split; all by default."
    )
    examples_per_pass: PositiveInt = Field(1000, description="Bounds the memory of one pass.")
    timeout: PositiveFloat = Field(3600.0, description="Seconds one snapshot's measures may take.")

    @property
    def suffix(self) -> str:
        """What distinguishes values measured under these settings, or "" for the defaults.

        Only settings that change a value take part.
        """
        parts = [] if self.dtype == "float64" else [f"dtype={self.dtype}"]
        parts += [] if self.examples is None else [f"examples={self.examples}"]
        return f" [{', '.join(parts)}]" if parts else ""
