"""The columns that the explorer offers, and their compact form in the page."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from orchestrator.reporting.data.hue import level_text, varied_columns
from orchestrator.reporting.data.open_results import Source, claims_of
from orchestrator.reporting.data.queries import Query, identifier
from orchestrator.reporting.explorer.snapshot_sample import outcome_sql
from orchestrator.results import IS_FINAL
from orchestrator.statistics.intervals.bootstrap import Groups
from orchestrator.study.claim_options import CLAIM_NEEDS, StatedClaim

MEASURES, TRAINING, SETTINGS = "Measures", "Losses, errors and time", "Networks"
_TRAINING = (
    *("train_loss", "train_error", "test_loss", "test_error", "loss_gap", "error_gap"),
    *("step", "epoch"),
)
_LOG_DECADES = 1.5
_TYPES = Query("types", "types of wide", "SELECT column_name, column_type FROM (DESCRIBE wide)")
_MEASURES = Query(
    "explorer_measures",
    "columns of wide with measures",
    "SELECT DISTINCT column_name FROM parts.wide_columns ORDER BY column_name",
)


@dataclass(frozen=True)
class Quantity:
    """A column that the explorer offers.

    Attributes:
        name: Name, unique in the explorer.
        label: Name as readers see it.
        group: Heading under which it is offered.
        sql: Expression on ``wide`` that gives it.
        numeric: Whether its values are numbers; other values are text, never NULL.
    """

    name: str
    label: str
    group: str
    sql: str
    numeric: bool


def quantities(source: Source) -> list[Quantity]:
    """Return the columns on offer, the most important first.

    First those that claims name, then losses, errors and time, then the networks' outcome and
    hyperparameters, then all other measures by name.
    """
    types = dict(source.rows(_TYPES).tuples())
    measures = [str(name) for name in source.rows(_MEASURES)["column_name"]]
    swept = [source.trial_columns[name] for name in varied_columns(source)]
    claimed: list[str] = []
    for claim in claims_of(source):
        if isinstance(claim, StatedClaim):
            claimed += [claim.x, claim.y, *claim.given]
        else:
            claimed += CLAIM_NEEDS[claim.name].columns
    columns = dict.fromkeys([*claimed, *_TRAINING, *swept, "seed", *measures])
    found = [
        _of_column(name, types[name], _group(name, measures)) for name in columns if name in types
    ]
    derived = [
        Quantity(_free("outcome", types), "outcome", SETTINGS, outcome_sql(source), numeric=False),
        Quantity(
            _free("final_network", types),
            "final network",
            SETTINGS,
            f"CASE WHEN {IS_FINAL} THEN 'yes' ELSE 'no' END",
            numeric=False,
        ),
        Quantity(
            _free("architecture_and_loss", types),
            "architecture and loss",
            SETTINGS,
            "concat(coalesce(model, 'none'), ', ', coalesce(loss, 'none'))",
            numeric=False,
        ),
    ]
    return [*derived, *found]


def _of_column(name: str, kind: str, group: str) -> Quantity:
    numeric = kind.startswith(("DOUBLE", "FLOAT", "DECIMAL")) or kind.endswith("INT")
    numeric = numeric or kind.endswith("INTEGER")
    sql = identifier(name)
    if not numeric:
        sql = f"coalesce(CAST({sql} AS VARCHAR), 'none')"
    return Quantity(name, name.replace("_", " "), group, sql, numeric)


def _group(name: str, measures: Sequence[str]) -> str:
    return MEASURES if name in measures else TRAINING if name in _TRAINING else SETTINGS


def _free(name: str, taken: Any) -> str:
    while name in taken:
        name += "_"
    return name


def encoded(quantity: Quantity, values: Sequence[Any], groups: Groups) -> dict[str, Any]:
    """Return a column in its compact form.

    Values that agree within each condition, or within each trial, are stored once for it. Numbers
    have six significant digits; missing ones are null, and those that are not finite are text.

    Args:
        quantity: The column.
        values: Its value in each row.
        groups: The trial and condition of each row.
    """
    coded: list[Any]
    content: dict[str, Any] = {
        "name": quantity.name,
        "label": quantity.label,
        "group": quantity.group,
        "sql": quantity.sql,
    }
    if quantity.numeric:
        coded = [_number(value) for value in values]
        content["log"] = _spans_decades(coded)
    else:
        texts = [level_text(value) for value in values]
        levels = {text: code for code, text in enumerate(sorted(set(texts)))}
        content["levels"] = list(levels)
        coded = [levels[text] for text in texts]
    conditions = groups.condition[groups.trial].tolist()
    for by, keys in (("condition", conditions), ("trial", groups.trial.tolist())):
        once = dict(zip(keys, coded, strict=True))
        if all(once[key] == value for key, value in zip(keys, coded, strict=True)):
            return {**content, "by": by, "values": [once[key] for key in range(len(once))]}
    return {**content, "by": "row", "values": coded}


def size_of(content: Any) -> int:
    """Return the number of bytes that JSON content takes in the page, before escapes."""
    return len(json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode())


def _number(value: Any) -> float | int | str | None:
    if value is None:
        return None
    number = float(value)
    if not math.isfinite(number):
        return "NaN" if math.isnan(number) else "Infinity" if number > 0 else "-Infinity"
    number = float(f"{number:.6g}")
    if not math.isfinite(number):  # Rounded above the largest number.
        return float(value)
    return int(number) if number.is_integer() and abs(number) < 1e15 else number


def _spans_decades(values: Sequence[Any]) -> bool:
    """Return whether most values are positive and span so much that a log axis shows more."""
    numbers = np.array([v for v in values if isinstance(v, int | float)], dtype=np.float64)
    positive = np.log10(numbers[numbers > 0])
    if len(positive) < 0.9 * len(numbers) or not len(positive):
        return False
    low, high = np.quantile(positive, [0.05, 0.95])
    return bool(high - low > _LOG_DECADES)
