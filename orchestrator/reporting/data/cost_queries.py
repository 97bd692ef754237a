"""Queries for the seconds that training and measures took."""

from __future__ import annotations

from orchestrator.reporting.data.queries import Query

PAIRED_SECONDS = Query(
    "paired_seconds",
    "seconds of the Hessian trace and of the margins on the same snapshot",
    """
    WITH trace AS (
        SELECT checkpoint_id, trial_id, step, variant, seconds FROM measures
        WHERE measure = 'hessian_trace' AND status IN ('ok', 'nonfinite')
            AND variant IN
                ('exact', 'sampled_factors', 'control_variate', 'hutchinson', 'hutch++',
                 'xtrace')
        QUALIFY row_number() OVER (
            PARTITION BY checkpoint_id ORDER BY variant <> 'exact', variant, request) = 1
    ), margin AS (
        SELECT checkpoint_id, seconds FROM measures
        WHERE measure = 'margin_mean' AND variant = 'raw' AND split = 'train'
            AND status IN ('ok', 'nonfinite')
        QUALIFY row_number() OVER (PARTITION BY checkpoint_id ORDER BY request) = 1
    ), probe AS (
        -- If the relative error is never reached, all requested probes are drawn.
        SELECT checkpoint_id,
            seconds / regexp_extract(request, 'probes=([0-9]+)', 1)::DOUBLE AS probe_seconds
        FROM measures
        WHERE measure = 'hessian_trace' AND variant = 'hutchinson' AND status = 'ok'
            AND request LIKE '%probes=%'
            AND regexp_extract(request, 'relative_error=([0-9.e+-]+)', 1) <> ''
            AND regexp_extract(request, 'relative_error=([0-9.e+-]+)', 1)::DOUBLE < 1e-4
        QUALIFY row_number() OVER (PARTITION BY checkpoint_id ORDER BY request) = 1
    )
    SELECT trial_id, condition_id, trace.variant AS method,
        trace.seconds AS trace_seconds, margin.seconds AS margin_seconds, probe_seconds
    FROM trace JOIN margin USING (checkpoint_id)
        JOIN (SELECT trial_id, condition_id FROM trials) USING (trial_id)
        LEFT JOIN probe USING (checkpoint_id)
    ORDER BY trial_id, trace.step
    """,
)

MEASURE_COST = Query(
    "measure_cost",
    "seconds of each request, per snapshot and in total",
    """
    WITH requests AS (
        SELECT checkpoint_id, request, any_value(seconds) AS seconds
        FROM measures WHERE status IN ('ok', 'nonfinite') GROUP BY checkpoint_id, request
    )
    SELECT request AS what, 'measure' AS kind, count(*) AS n,
        quantile_cont(seconds, 0.1) AS low, median(seconds) AS middle,
        quantile_cont(seconds, 0.9) AS high, sum(seconds ORDER BY seconds) AS total
    FROM requests WHERE seconds > 0 GROUP BY request ORDER BY middle DESC, what
    """,
)

TRAINING_COST = Query(
    "training_cost",
    "seconds of training per network, per epoch and in total",
    """
    WITH spent AS (
        SELECT 'training, whole network' AS what, train_seconds AS seconds FROM trials
        UNION ALL
        SELECT 'training, one epoch', train_seconds / epochs FROM trials WHERE epochs > 0
        UNION ALL
        SELECT 'evaluation, whole network', evaluation_seconds FROM trials
    )
    SELECT what, 'training' AS kind, count(*) AS n,
        quantile_cont(seconds, 0.1) AS low, median(seconds) AS middle,
        quantile_cont(seconds, 0.9) AS high,
        CASE WHEN what LIKE '%whole network' THEN sum(seconds ORDER BY seconds) END AS total
    FROM spent WHERE seconds > 0 GROUP BY what ORDER BY what DESC
    """,
)
