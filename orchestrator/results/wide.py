"""Which column of ``wide`` each measure has, and the SQL that fills it.

DuckDB refuses views whose columns depend on the data, so the columns are those of the
measures that are stored when the connection is made.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence

from orchestrator.results.tables import quote

# They say how a value was found, or that nothing was done to it; not what it is.
UNNAMED_VARIANTS = (
    "",
    "raw",
    "exact",
    "control_variate",
    "hutchinson",
    "hutch++",
    "sampled_factors",
    "sampled_labels",  # by versions before factors were drawn
)
WITH_STANDARD_ERROR = ("hessian_trace",)

MeasureKey = tuple[str, str, str | None]
"""Measure, variant, split."""


def column_name(measure: str, variant: str, split: str | None, taken: Collection[str] = ()) -> str:
    """Name of a measure's column: ``measure[_variant][_test]``, only of ``[a-z0-9_]``.

    Args:
        measure: The measure.
        variant: What distinguishes it.
        split: Which examples it is of.
        taken: Names of other columns; ``measure_`` is put before a name that is among them.

    >>> column_name("margin_mean", "spectral", "test")
    'margin_mean_spectral_test'
    """
    parts = [measure]
    if variant not in UNNAMED_VARIANTS:
        parts.append(variant)
    if split not in (None, "train"):
        parts.append(str(split))
    name = re.sub(r"[^a-z0-9_]+", "_", "_".join(parts).lower()).strip("_")
    return f"measure_{name}" if name in taken or not name or name[0].isdigit() else name


def wide_columns(keys: Iterable[MeasureKey], taken: Collection[str]) -> dict[MeasureKey, str]:
    """The column of each measure. Two that come to one name share the column."""
    ordered = sorted(keys, key=lambda key: (key[0], key[1], key[2] or ""))
    return {key: column_name(*key, taken) for key in ordered}


def columns_view(columns: Mapping[MeasureKey, str]) -> str:
    """SQL of ``parts.wide_columns``: measure, variant, split → column_name."""
    head = "CREATE VIEW parts.wide_columns AS SELECT * FROM (VALUES "
    names = " AS t(measure, variant, split, column_name)"
    rows = [
        f"({quote(m)}, {quote(v)}, {'NULL::VARCHAR' if s is None else quote(s)}, {quote(name)})"
        for (m, v, s), name in columns.items()
    ]
    if not rows:
        empty = ", ".join(["NULL::VARCHAR"] * 4)
        return f"{head}({empty})){names} WHERE false"
    return f"{head}{', '.join(rows)}){names}"


def wide_aggregates(columns: Mapping[MeasureKey, str], several: Collection[str]) -> dict[str, str]:
    """Column → the aggregate over a checkpoint's measured rows that fills it.

    Args:
        columns: From :func:`wide_columns`.
        several: Columns for which a checkpoint may have several rows; see
            :func:`columns_of_several`. To choose among them takes ten times as long.
    """
    aggregates = {}
    for name in dict.fromkeys(columns.values()):
        where = f"column_name = {quote(name)}"
        for column, content in ((name, "value"), (f"{name}_standard_error", "standard_error")):
            if column != name and name not in WITH_STANDARD_ERROR:
                continue
            if name in several:
                # Also where it is null: the error of the value that is shown, or none.
                aggregates[column] = f"arg_max_null({content}, preference) FILTER (WHERE {where})"
            else:
                aggregates[column] = f"max(CASE WHEN {where} THEN {content} END)"
    return aggregates


def columns_of_several(
    columns: Mapping[MeasureKey, str], stored: Iterable[tuple[str, str, str | None, str]]
) -> set[str]:
    """The columns that several requests, variants or measures share.

    Args:
        columns: From :func:`wide_columns`.
        stored: Each measure, variant, split and request there is, once.
    """
    counts = Counter(columns[measure, variant, split] for measure, variant, split, _ in stored)
    return {name for name, count in counts.items() if count > 1}


def select_list(expressions: Sequence[str]) -> str:
    """Further items of a select list, each after a comma."""
    return "".join(f",\n    {expression}" for expression in expressions)
