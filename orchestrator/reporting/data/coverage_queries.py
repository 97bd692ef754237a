"""Coverage: how trials ended, and the results of each request on the snapshots."""

# ruff: noqa: S608 - names are our own, or quoted.

from __future__ import annotations

from collections.abc import Sequence

from orchestrator.reporting.data.queries import Query, identifier

COMPLETED = "completed"
SHORT = "target loss not reached"
DIVERGED = "diverged"
FAILED = "failed"
UNFINISHED = "not finished"
OUTCOMES = (COMPLETED, SHORT, DIVERGED, FAILED, UNFINISHED)
"""Outcomes of a trial, from best to worst."""

MEASURED = "measured"
NOT_FINITE = "some value not finite"
NOT_MEASURED = "failed"
ANSWERS = (MEASURED, NOT_FINITE, NOT_MEASURED)
"""Outcomes of one request on one snapshot."""


def _outcome(target: float | None) -> str:
    short = f"WHEN stop_reason <> 'train_loss' THEN '{SHORT}'" if target is not None else ""
    return f"""CASE
                WHEN status = 'failed' THEN '{FAILED}'
                WHEN status <> 'completed' THEN '{UNFINISHED}'
                WHEN stop_reason = 'diverged' THEN '{DIVERGED}'
                {short}
                ELSE '{COMPLETED}'
            END"""


def outcomes(level: str | None, target: float | None) -> Query:
    """Return the query for the number of trials per outcome.

    Args:
        level: Column of a hyperparameter, whose levels are counted separately.
        target: Training loss at which training was to stop, if any.
    """
    name = identifier(level) if level else "NULL"
    return Query(
        "outcomes",
        "number of trials per outcome",
        f"""
        WITH ended AS (SELECT {name} AS level, {_outcome(target)} AS outcome FROM trials)
        SELECT level, outcome, count(*) AS trials
        FROM ended GROUP BY ALL ORDER BY level NULLS LAST, outcome
        """,
    )


def set_apart(hyperparameters: Sequence[str], target: float | None, milestones: int) -> Query:
    """Return the query for trials that ended abnormally, missed a milestone or lack values.

    Args:
        hyperparameters: Columns of the varied hyperparameters.
        target: Training loss at which training was to stop, if any.
        milestones: Number of training losses at which snapshots were requested.
    """
    # Renamed, because the study's own names can be anything.
    names = [f"hyperparameter_{n}" for n, _ in enumerate(hyperparameters, 1)]
    settings = "".join(
        f", {identifier(column)} AS {name}"
        for name, column in zip(names, hyperparameters, strict=True)
    )
    shown = "".join(f", {name}" for name in names)
    return Query(
        "set_apart",
        "every trial that failed, is unfinished, did not reach a requested training loss, or has "
        "values that are not finite or failed",
        f"""
        WITH taken AS (
            SELECT trial_id, count(*) AS snapshots FROM checkpoints GROUP BY trial_id
        ), reached AS (
            SELECT trial_id, count(DISTINCT train_loss_milestone) AS milestones
            FROM milestones GROUP BY trial_id
        ), lost AS (
            SELECT trial_id, count(*) AS lost_values, min(error) AS first_error
            FROM measures WHERE status <> 'ok' GROUP BY trial_id
        ), ended AS (
            SELECT trial_id{settings}, seed, error, {_outcome(target)} AS outcome FROM trials
        )
        SELECT trial_id{shown}, seed, outcome, coalesce(snapshots, 0) AS snapshots,
            {milestones} - coalesce(milestones, 0) AS missed,
            coalesce(lost_values, 0) AS lost_values, coalesce(error, first_error) AS error
        FROM ended LEFT JOIN taken USING (trial_id) LEFT JOIN reached USING (trial_id)
            LEFT JOIN lost USING (trial_id)
        WHERE outcome <> '{COMPLETED}' OR missed > 0 OR lost_values > 0
        ORDER BY trial_id
        """,
    )


ANSWERED = Query(
    "answered",
    "number of snapshots on which each request gave only finite values, some that are not finite, "
    "or failed",
    f"""
    WITH answers AS (
        SELECT request, CASE
            WHEN bool_or(status NOT IN ('ok', 'nonfinite')) THEN '{NOT_MEASURED}'
            WHEN bool_or(status = 'nonfinite') THEN '{NOT_FINITE}'
            ELSE '{MEASURED}' END AS answer
        FROM measures GROUP BY request, checkpoint_id
    )
    SELECT request, answer, count(*) AS snapshots FROM answers
    GROUP BY ALL ORDER BY request, answer
    """,
)
