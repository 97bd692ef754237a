"""Queries that compare whole networks, with one row per network or stage of training."""

# ruff: noqa: S608 - names are our own, or quoted.

from __future__ import annotations

from collections.abc import Iterable

from orchestrator.reporting.data.queries import Query, identifier

MOST_RANKED = 4000
MOST_COMPARED = 500


def final_networks(measures: Iterable[str]) -> Query:
    """Return the query for the last snapshot of every completed trial, to rank networks."""
    names = "".join(f", {identifier(name)}" for name in measures)
    return Query(
        "final_networks",
        "the last snapshot of every completed trial",
        f"""
        SELECT trial_id, condition_id, train_loss, loss_gap, error_gap{names}
        FROM wide SEMI JOIN final USING (checkpoint_id)
        ORDER BY md5(trial_id) LIMIT {MOST_RANKED}
        """,
    )


INTERVENED = ("loss", "label_smoothing", "optimizer", "rho", "weight_decay")
"""Columns of ``trials`` that describe how, and with which loss, a network was trained."""


def by_intervention(measures: Iterable[str]) -> Query:
    """Return the query for every snapshot, with how its network was trained."""
    names = "".join(f", {identifier(name)}" for name in measures)
    return Query(
        "by_intervention",
        "every snapshot with the loss, optimizer and regularization of its training",
        f"""
        SELECT trial_id, condition_id, step, train_error, {", ".join(INTERVENED)}{names}
        FROM wide WHERE step > 0
        ORDER BY trial_id, step
        """,
    )


MEASURE_COLUMNS = Query(
    "measure_columns",
    "columns of wide that could rank networks: neither on the test split nor neutral; user-defined "
    "functions are not in the catalog and have no direction",
    # Several variants can share a column: an exact trace and an estimate of it.
    """
    SELECT DISTINCT column_name, coalesce(family, 'own') AS family, direction
    FROM parts.wide_columns LEFT JOIN measure_catalog USING (measure)
    WHERE split IS DISTINCT FROM 'test' AND direction IS DISTINCT FROM 'neutral'
    ORDER BY family <> 'margin', family <> 'flatness', family, column_name
    """,
)


def ranked_networks(measures: Iterable[str]) -> Query:
    """Return the query for the last snapshot of every completed trial, with its measures."""
    names = "".join(f", {identifier(name)}" for name in measures)
    return Query(
        "ranked_networks",
        "the last snapshot of every completed trial, with every measure that could rank it; at "
        f"most {MOST_COMPARED}, chosen by a hash",
        f"""
        SELECT trial_id, condition_id, seed, params_json, loss_gap, error_gap{names}
        FROM wide SEMI JOIN final USING (checkpoint_id)
        QUALIFY row_number() OVER (ORDER BY md5(trial_id)) <= {MOST_COMPARED}
        ORDER BY trial_id
        """,
    )


STANDARD_ERRORS_OF_TRAINED = Query(
    "standard_errors_of_trained",
    "estimates on the last snapshot of each completed trial, with their standard errors",
    """
    SELECT column_name, trial_id, value, standard_error
    FROM parts.measured SEMI JOIN final USING (checkpoint_id)
    WHERE standard_error > 0 AND isfinite(value)
    ORDER BY column_name, trial_id, value, standard_error
    """,
)
