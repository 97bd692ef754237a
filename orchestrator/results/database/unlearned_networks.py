"""Finds networks that did not learn, by :mod:`orchestrator.study.learning_criterion`."""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite
from typing import Any

import duckdb

from orchestrator.study.learning_criterion import largest_error

FINAL_ERRORS = """
    SELECT trial_id, final.train_loss, final.train_error, trials.dataset
    FROM final JOIN trials USING (trial_id) ORDER BY trial_id
"""


def did_not_learn(database: duckdb.DuckDBPyConnection, study: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the sorted ids of completed trials whose networks did not learn.

    Args:
        database: A connection over the results.
        study: The resolved study, as JSON.
    """
    rule = study.get("learned")
    return tuple(
        str(trial)
        for trial, loss, error, dataset in database.sql(FINAL_ERRORS).fetchall()
        if not _learned(loss, error, largest_error(rule, dataset))
    )


def _learned(loss: float | None, error: float | None, largest: float | None) -> bool:
    if loss is not None and not isfinite(loss):
        return False
    return largest is None or error is None or error <= largest
