"""Coverage: how trials ended, and the results of each request on the snapshots."""

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
    short = "" if target is None else f"WHEN stop_reason <> 'train_loss' THEN '{SHORT}' "
    return (
        f"CASE WHEN status = 'failed' THEN '{FAILED}' "
        f"WHEN status <> 'completed' THEN '{UNFINISHED}' "
        f"WHEN stop_reason = 'diverged' THEN '{DIVERGED}' "
        f"{short}ELSE '{COMPLETED}' END"
    )


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
        f"WITH ended AS (SELECT {name} AS level, {_outcome(target)} AS outcome FROM trials)\n"  # noqa: S608
        "SELECT level, outcome, count(*) AS trials\n"
        "FROM ended GROUP BY ALL ORDER BY level NULLS LAST, outcome",
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
        "WITH taken AS (\n"  # noqa: S608 - names quoted, numbers
        "    SELECT trial_id, count(*) AS snapshots FROM checkpoints GROUP BY trial_id\n"
        "), reached AS (\n"
        "    SELECT trial_id, count(DISTINCT train_loss_milestone) AS milestones\n"
        "    FROM milestones GROUP BY trial_id\n"
        "), lost AS (\n"
        "    SELECT trial_id, count(*) AS lost_values, min(error) AS first_error\n"
        "    FROM measures WHERE status <> 'ok' GROUP BY trial_id\n"
        "), ended AS (\n"
        f"    SELECT trial_id{settings}, seed, error, {_outcome(target)} AS outcome FROM trials\n"
        ")\n"
        f"SELECT trial_id{shown}, seed, outcome, coalesce(snapshots, 0) AS snapshots,\n"
        f"    {milestones} - coalesce(milestones, 0) AS missed,\n"
        "    coalesce(lost_values, 0) AS lost_values, coalesce(error, first_error) AS error\n"
        "FROM ended LEFT JOIN taken USING (trial_id) LEFT JOIN reached USING (trial_id)\n"
        "    LEFT JOIN lost USING (trial_id)\n"
        f"WHERE outcome <> '{COMPLETED}' OR missed > 0 OR lost_values > 0\n"
        "ORDER BY trial_id",
    )


ANSWERED = Query(
    "answered",
    "number of snapshots on which each request gave only finite values, some that are not finite, "
    "or failed",
    "WITH answers AS (\n"  # noqa: S608 - words of ours
    "    SELECT request, CASE\n"
    f"        WHEN bool_or(status NOT IN ('ok', 'nonfinite')) THEN '{NOT_MEASURED}'\n"
    f"        WHEN bool_or(status = 'nonfinite') THEN '{NOT_FINITE}'\n"
    f"        ELSE '{MEASURED}' END AS answer\n"
    "    FROM measures GROUP BY request, checkpoint_id\n"
    ")\n"
    "SELECT request, answer, count(*) AS snapshots FROM answers\n"
    "GROUP BY ALL ORDER BY request, answer",
)
