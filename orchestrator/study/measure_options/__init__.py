"""Measure options: the measures that a study file can request, with their options."""

from __future__ import annotations

from collections.abc import Mapping
from functools import reduce
from operator import or_
from typing import TYPE_CHECKING, Annotated, Any, get_args

from pydantic import BeforeValidator, Discriminator, Tag

from orchestrator.study.measure_options import curvature, margins, norms, robustness, sharpness
from orchestrator.study.measure_options.base import CustomMeasure, MeasureOptions
from orchestrator.study.measure_options.measuring import MeasuringOptions
from orchestrator.study.options import component_tag

__all__ = [
    "BUILT_IN_OPTIONS",
    "CustomMeasure",
    "MeasureOptions",
    "MeasureRequest",
    "MeasuringOptions",
    "name_of",
    "short_form",
]

BUILT_IN_OPTIONS: tuple[type[MeasureOptions], ...] = tuple(
    options
    for family in (margins, curvature, sharpness, norms, robustness)
    for options in vars(family).values()
    if isinstance(options, type) and options.__module__ == family.__name__
    if issubclass(options, MeasureOptions) and "name" in options.__annotations__
)
"""The options of every built-in measure, family by family, in the order of the catalog."""


def name_of(options: type[MeasureOptions]) -> str:
    """Return the name by which a study file requests a built-in measure."""
    (name,) = get_args(options.model_fields["name"].annotation)
    return str(name)


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


if TYPE_CHECKING:
    MeasureRequest = MeasureOptions
else:
    _TAGGED = [Annotated[options, Tag(name_of(options))] for options in BUILT_IN_OPTIONS]
    MeasureRequest = Annotated[
        reduce(or_, [*_TAGGED, Annotated[CustomMeasure, Tag("custom")]]),
        Discriminator(_measure_tag),
        BeforeValidator(short_form),
    ]
    """One entry of ``measures`` in a study file: options of a built-in or user-defined measure."""
