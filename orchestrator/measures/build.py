"""Construction of measures from a study file's options."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterable
from functools import cache
from typing import Any

from orchestrator.measures.base import BUILT_IN, CatalogEntry, Measure
from orchestrator.measures.own_measure import FunctionMeasure, refuse_taken
from orchestrator.measures.trust.finding import Check
from orchestrator.study.import_path import own_code, resolve_import_path
from orchestrator.study.measure_options import (
    BUILT_IN_OPTIONS,
    CustomMeasure,
    MeasureOptions,
    name_of,
)

for _family in ("margins", "curvature", "sharpness", "norms", "robustness"):
    _room = importlib.import_module(f"{__package__}.{_family}")
    for _file in pkgutil.iter_modules(_room.__path__, f"{_room.__name__}."):
        importlib.import_module(_file.name)  # Each measure registers itself.


@cache
def built_in_entries() -> tuple[CatalogEntry, ...]:
    """Return the catalog entries of every built-in measure with default options."""
    defaults = [options.model_validate({"name": name_of(options)}) for options in BUILT_IN_OPTIONS]
    return tuple(
        entry for options in defaults for entry in BUILT_IN[type(options)](options).entries
    )


def built_in_names() -> frozenset[str]:
    """Return the names of values and curves that are reserved for built-in measures."""
    return frozenset(entry.measure for entry in built_in_entries())


def build_measure(options: MeasureOptions) -> Measure:
    """Build the measure for one request of a study file.

    A custom measure is named by import path or entry point. It is a callable
    ``(context, **arguments)`` (see ``custom``), or a subclass of :class:`Measure` whose
    constructor takes the arguments by keyword.

    Raises:
        ImportPathError: If a custom measure cannot be imported or called.
        MeasureError: If the options cannot be satisfied, or a custom measure uses the name of a
            built-in one.
    """
    if isinstance(options, CustomMeasure):
        taken = built_in_names()
        component: Any = resolve_import_path(options.name, "measures")
        if isinstance(component, type) and issubclass(component, Measure):
            with own_code():
                measure = component(**options.arguments)
            refuse_taken(options.name, (entry.measure for entry in measure.entries), taken)
            return measure
        return FunctionMeasure(options.name, component, options.arguments, taken)
    return BUILT_IN[type(options)](options)


def required_checks(requests: Iterable[MeasureOptions]) -> frozenset[Check]:
    """Return the trust checks that networks must pass for the requested measures.

    Raises:
        ImportPathError: As :func:`build_measure`.
        MeasureError: As :func:`build_measure`.
    """
    return frozenset[Check]().union(*(build_measure(options).requires for options in requests))


def catalog(requests: Iterable[MeasureOptions] = ()) -> list[CatalogEntry]:
    """Return the entries of every built-in measure with default options, and of ``requests``.

    Args:
        requests: Requests of a study. They may add measures to those of the default options,
            such as further eigenvalues or custom measures.

    Returns:
        One entry per name, in the order of first appearance.

    Raises:
        ImportPathError: If a custom measure cannot be imported or called.
        MeasureError: As :func:`build_measure`.
    """
    entries: dict[str, CatalogEntry] = {}
    own = (entry for options in requests for entry in build_measure(options).entries)
    for entry in (*built_in_entries(), *own):
        entries.setdefault(entry.measure, entry)
    return list(entries.values())
