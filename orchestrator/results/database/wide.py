"""The column of ``wide`` for each measure, and the SQL that fills it.

DuckDB refuses views whose columns depend on the data, so the columns are those of the
measures that are stored when the connection is opened.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence

from orchestrator.results.database.table_views import quote
from orchestrator.study.columns import spelled, told_apart

# Variants that name the method, or say that a value is unmodified; the quantity is the same.
UNNAMED_VARIANTS = (
    "",
    "raw",
    "exact",
    "control_variate",
    "hutchinson",
    "hutch++",
    "xtrace",
    "sampled_factors",
    "sampled_labels",  # From versions that did not sample factors.
)
WITH_STANDARD_ERROR = ("hessian_trace",)
_ERROR = "_standard_error"

MeasureKey = tuple[str, str, str | None]
"""Measure, variant, split."""


def column_name(measure: str, variant: str, split: str | None, taken: Collection[str] = ()) -> str:
    """Return a measure's column name: ``measure[_variant][_test]``, only of ``[a-z0-9_]``.

    Args:
        measure: Name of the measure.
        variant: Variant of the measure.
        split: Split on which it was measured.
        taken: Names of other columns, in lower case; a name among them gets the prefix
            ``measure_``.

    >>> column_name("margin_mean", "spectral", "test")
    'margin_mean_spectral_test'
    """
    name = spelled(_text(measure, variant, split)).lower().strip("_")
    return f"measure_{name}" if name in taken or not name or name[0].isdigit() else name


def wide_columns(keys: Iterable[MeasureKey], taken: Collection[str]) -> dict[MeasureKey, str]:
    """Return the column of each measure.

    Measures that differ only in the method share a column; other measures never do. If several
    would get the same name, the measure whose own spelling matches keeps it, and the others get
    digits appended.

    Args:
        keys: The measures.
        taken: Names of other columns.
    """
    others = {name.lower() for name in taken}
    ordered = sorted(keys, key=lambda key: (key[0], key[1], key[2] or ""))
    groups: dict[str, list[MeasureKey]] = {}
    for identity in dict.fromkeys(map(_identity, ordered)):
        groups.setdefault(column_name(*identity, others), []).append(identity)
    columns: dict[MeasureKey, str] = {}
    used = others | groups.keys()
    for name, group in groups.items():
        if name.endswith(_ERROR) and name.removesuffix(_ERROR) in WITH_STANDARD_ERROR:
            unchanged = []  # The view already has a column with this name.
        elif len(group) == 1:
            unchanged = group
        else:
            unchanged = sorted((one for one in group if _text(*one) == name), key=_precedence)[:1]
        for identity in group:
            column = name if identity in unchanged else told_apart(name, used, *identity)
            columns[identity] = column
            used.add(column)
    return {key: columns[_identity(key)] for key in ordered}


def _identity(key: MeasureKey) -> MeasureKey:
    measure, variant, split = key
    return measure, "" if variant in UNNAMED_VARIANTS else variant, split


def _text(measure: str, variant: str, split: str | None) -> str:
    parts = [measure]
    if variant not in UNNAMED_VARIANTS:
        parts.append(variant)
    if split not in (None, "train"):
        parts.append(str(split))
    return "_".join(parts)


def _precedence(key: MeasureKey) -> tuple[bool, int, str]:
    """Return a sort key: known splits before unknown ones, so built-in before custom measures."""
    measure, variant, split = key
    return split is None, -len(measure), variant


def columns_view(columns: Mapping[MeasureKey, str]) -> str:
    """Return the SQL of ``parts.wide_columns``: measure, variant, split → column_name."""
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
    """Return column → the aggregate over a checkpoint's measured rows that fills it.

    Args:
        columns: From :func:`wide_columns`.
        several: Columns for which a checkpoint may have several rows; see
            :func:`columns_of_several`. Choosing among rows takes ten times as long.
    """
    aggregates = {}
    for name in dict.fromkeys(columns.values()):
        # Qualified, because the columns of the view may have any name.
        where = f"measured.column_name = {quote(name)}"
        for column, content in ((name, "value"), (f"{name}{_ERROR}", "standard_error")):
            if column != name and name not in WITH_STANDARD_ERROR:
                continue
            if name in several:
                # Nulls included: the standard error must belong to the value shown.
                aggregates[column] = (
                    f"arg_max_null(measured.{content}, measured.preference) FILTER (WHERE {where})"
                )
            else:
                aggregates[column] = f"max(CASE WHEN {where} THEN measured.{content} END)"
    return aggregates


def columns_of_several(
    columns: Mapping[MeasureKey, str], stored: Iterable[tuple[str, str, str | None, str]]
) -> set[str]:
    """Return the columns that several requests, variants or measures share.

    Args:
        columns: From :func:`wide_columns`.
        stored: Each stored combination of measure, variant, split and request, once.
    """
    counts = Counter(columns[measure, variant, split] for measure, variant, split, _ in stored)
    return {name for name, count in counts.items() if count > 1}


def select_list(expressions: Sequence[str]) -> str:
    """Return further items of a select list, each after a comma."""
    return "".join(f",\n    {expression}" for expression in expressions)
