"""The report's queries on the tables, as SQL that anyone can rerun.

Queries select from the views of a results folder (``wide``, ``trials``, ``measures`` …) and
order their rows, so that identical results give identical reports.
"""

# ruff: noqa: S608 - names are our own, or quoted.

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from textwrap import dedent

from orchestrator.results import IS_FINAL
from orchestrator.results import identifier as identifier
from orchestrator.results import quote as quote

MOST_POINTS = 1000


@dataclass(frozen=True)
class Query:
    """A named query.

    Attributes:
        name: Short name, unique within the report.
        about: Description in one line.
        sql: A single SELECT (or DESCRIBE) statement, without the indentation of its source.
    """

    name: str
    about: str
    sql: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "sql", dedent(self.sql).strip())


def columns_of(view: str) -> Query:
    """Return the query for the columns of a view."""
    sql = f"SELECT column_name FROM (DESCRIBE {view})"
    return Query("columns", f"columns of {view}", sql)


def distinct_values(column: str) -> Query:
    """Return the query for the values of a hyperparameter."""
    name = identifier(column)
    order = "ORDER BY value NULLS LAST"
    sql = f"SELECT DISTINCT {name} AS value FROM trials {order}"
    return Query("levels", f"values of {column}", sql)


def snapshots(columns: Iterable[str]) -> Query:
    """Return the query for all snapshots, for correlations and for curves along training.

    Args:
        columns: Columns of ``wide``: measures, and hyperparameters to hold fixed.
    """
    names = "".join(f", {identifier(name)}" for name in columns)
    return Query(
        "snapshots",
        "every snapshot, with its errors, gaps and measures",
        f"""
        SELECT trial_id, condition_id, step, epoch, status, train_loss, train_error, loss_gap,
            error_gap{names}
        FROM wide WHERE step > 0
        ORDER BY trial_id, step
        """,
    )


def scatter(measures: Iterable[str], hue: str | None) -> Query:
    """Return the query for points to draw: all snapshots, or a fixed sample if many."""
    names = "".join(f", {identifier(name)}" for name in measures) + _as_hue(hue)
    wanted = " AND ".join(f"{identifier(name)} IS NOT NULL" for name in measures)
    return Query(
        "points",
        f"at most {MOST_POINTS} measured snapshots, chosen by a hash of their names",
        f"""
        SELECT trial_id, seed, step, epoch, milestones, train_loss, train_error,
            loss_gap, error_gap{names},
            {IS_FINAL} AS is_final,
            count(*) OVER () AS n_snapshots
        FROM wide WHERE step > 0 AND {wanted}
        QUALIFY row_number() OVER (ORDER BY md5(checkpoint_id)) <= {MOST_POINTS}
        ORDER BY trial_id, step
        """,
    )


def along_training(measures: Iterable[str], hue: str | None) -> Query:
    """Return the query for snapshots of completed trials in order of time."""
    names = "".join(f", {identifier(name)}" for name in measures) + _as_hue(hue)
    return Query(
        "along_training",
        "snapshots of completed trials in order of time",
        f"""
        SELECT trial_id, condition_id, step, epoch, loss_gap, error_gap{names}
        FROM wide WHERE step > 0 AND status = 'completed'
        ORDER BY trial_id, step
        """,
    )


def _as_hue(column: str | None) -> str:
    """Return SQL for a hyperparameter's column of ``wide``, renamed to ``hue``."""
    return f", {identifier(column)} AS hue" if column else ""


TRIAL_OUTCOMES = Query(
    "trial_outcomes",
    "how trials ended",
    """
    SELECT status, coalesce(stop_reason, '') AS stop_reason, count(*) AS trials
    FROM trials GROUP BY ALL ORDER BY status, stop_reason
    """,
)

FAILED_TRIALS = Query(
    "failed_trials",
    "the first failed trials and their errors",
    "SELECT trial_id, error FROM trials WHERE status = 'failed' ORDER BY trial_id LIMIT 5",
)

SEEDS_PER_CONDITION = Query(
    "seeds_per_condition",
    "number of completed trials per condition",
    """
    SELECT min(seeds) AS fewest, max(seeds) AS most, count(*) AS conditions FROM (
        SELECT condition_id, count(*) AS seeds FROM trials
        WHERE status = 'completed' GROUP BY condition_id
    )
    """,
)

MILESTONES_REACHED = Query(
    "milestones_reached",
    "number of trials that reached each training loss",
    """
    SELECT train_loss_milestone AS milestone, count(DISTINCT trial_id) AS trials
    FROM milestones GROUP BY milestone ORDER BY milestone DESC
    """,
)

MEASURE_STATUS = Query(
    "measure_status",
    "values that are not finite, and failed requests",
    """
    SELECT request, measure, variant, coalesce(split, '') AS split, status,
        count(*) AS n, min(error) AS example
    FROM measures WHERE status <> 'ok' GROUP BY ALL ORDER BY ALL
    """,
)

NOT_POSITIVE_TRACES = Query(
    "not_positive_traces",
    "Hessian traces at or below zero, which have no logarithm",
    """
    SELECT count(*) AS n FROM measures
    WHERE measure = 'hessian_trace' AND status = 'ok' AND value <= 0
    """,
)

UNCONVERGED = Query(
    "unconverged",
    "values whose iteration did not converge",
    """
    SELECT measure, count(*) AS n, min(error) AS example FROM measures
    WHERE variant = 'unconverged' GROUP BY measure ORDER BY measure
    """,
)

MEASURED_REQUESTS = Query(
    "measured_requests",
    "number of snapshots with a result of each request, in total and of final networks",
    f"""
    SELECT request, count(DISTINCT checkpoint_id) AS snapshots,
        count(DISTINCT checkpoint_id) FILTER (WHERE {IS_FINAL}) AS final
    FROM measures LEFT JOIN checkpoints USING (checkpoint_id)
    GROUP BY request ORDER BY request
    """,
)

SNAPSHOT_COUNT = Query(
    "snapshot_count",
    "number of snapshots, in total and of final networks",
    f"""
    SELECT count(*) AS snapshots, count(DISTINCT trial_id) AS trials,
        count(*) FILTER (WHERE {IS_FINAL}) AS final
    FROM checkpoints
    """,
)

STANDARD_ERRORS = Query(
    "standard_errors",
    "median and largest relative standard error of estimates",
    """
    SELECT measure, variant, count(*) AS n,
        median(standard_error / abs(value)) AS median_relative_error,
        max(standard_error / abs(value)) AS largest_relative_error
    FROM measures WHERE status = 'ok' AND standard_error > 0 AND value <> 0
    GROUP BY ALL ORDER BY ALL
    """,
)

CATALOG = Query(
    "measures_taken",
    "measures taken, with their catalog entries",
    """
    SELECT measure, coalesce(family, 'own') AS family, symbol, unit, direction, cost, citation
    FROM (
        SELECT DISTINCT measure FROM measures
        -- A failure is stored under the name of its request.
        WHERE status IN ('ok', 'nonfinite')
            OR measure IN (SELECT measure FROM measure_catalog)
    ) LEFT JOIN measure_catalog USING (measure)
    ORDER BY family, measure
    """,
)

HOW_MEASURED = Query(
    "how_measured",
    "precision, batch-norm mode and examples behind the measures",
    """
    SELECT DISTINCT dtype, batch_norm_mode, n_examples, coalesce(split, '') AS split
    FROM measures
    WHERE status IN ('ok', 'nonfinite') AND n_examples IS NOT NULL ORDER BY ALL
    """,
)

FRAGILITY = Query(
    "fragility",
    "how much each measure changes under transformations that should not matter",
    """
    SELECT measure, variant, split, snapshots, excluded, layer_rescaling, unit_permutation,
        logit_scale, batch_partition, duplicated_data, float32, data_subset, probe_seed
    FROM fragility WHERE split IS DISTINCT FROM 'test'
    ORDER BY measure, variant, split
    """,
)

BARRIERS = Query(
    "barriers",
    "barriers of loss and error between networks that differ only in the seed",
    "SELECT condition_id, split, quantity, barrier FROM connectivity ORDER BY ALL",
)


UNAUDITED = Query(
    "unaudited",
    "number of conditions with trained networks, none of them audited",
    """
    SELECT count(DISTINCT condition_id) AS conditions FROM final
    WHERE condition_id NOT IN (
        SELECT condition_id FROM audit JOIN trials USING (trial_id)
    )
    """,
)


def unaudited_networks(most: int) -> Query:
    """Return the query for the number of networks that still lack an audit.

    Args:
        most: Networks to audit per architecture (equal data, model and loss).
    """
    return Query(
        "unaudited_networks",
        f"number of networks still to be audited, with at most {most} per architecture",
        f"""
        SELECT coalesce(sum(greatest(0, least(wanted, trained) - audited)), 0) AS networks
        FROM (
            SELECT {most} AS wanted, count(DISTINCT trial_id) AS trained,
                count(DISTINCT trial_id) FILTER (trial_id IN (SELECT trial_id FROM audit))
                    AS audited
            FROM final
            GROUP BY json_extract(params_json, '$.data'), json_extract(params_json, '$.model'),
                json_extract(params_json, '$.training.loss.name')
        )
        """,
    )


MACHINES = Query(
    "machines",
    "machines and versions that ran trials",
    """
    SELECT host, device, python_version, torch_version, orchestrator_version,
        count(*) AS trials, sum(train_seconds ORDER BY train_seconds) / 3600 AS training_hours
    FROM trials GROUP BY ALL ORDER BY ALL
    """,
)

DATASET_NAMES = Query(
    "dataset_names",
    "names of the data sets",
    "SELECT DISTINCT dataset FROM trials WHERE dataset IS NOT NULL ORDER BY dataset",
)

DATASETS = Query(
    "datasets",
    "data sets with their content hashes",
    """
    SELECT dataset, dataset_hash, train_size, count(*) AS trials
    FROM trials GROUP BY ALL ORDER BY ALL
    """,
)
