"""Columns of ``wide`` that each measure fills, known without importing torch."""

from __future__ import annotations

import re
from collections.abc import Iterable

from orchestrator.study.measure_options import BUILT_IN_OPTIONS, name_of

VALUES_OF = {name_of(options): options.values for options in BUILT_IN_OPTIONS}
"""Name of a measure → the names of its values; ``#`` stands for a number."""


def measures_filling(column: str) -> list[str]:
    """Return the built-in measures that can fill a column of ``wide``, with any options.

    >>> measures_filling("margin_mean_spectral_test")
    ['margin']
    """
    return [
        measure
        for measure, values in VALUES_OF.items()
        if any(_pattern(value).fullmatch(column.lower()) for value in values)
    ]


def usual_columns(measures: Iterable[str]) -> list[str]:
    """Return the value names of some measures, as suggestions."""
    return [value.replace("#", "1") for measure in measures for value in VALUES_OF.get(measure, ())]


def _pattern(value: str) -> re.Pattern[str]:
    # The variant and the split may follow.
    return re.compile(re.escape(value).replace(r"\#", r"\d+") + "(_[a-z0-9_]*)?")
