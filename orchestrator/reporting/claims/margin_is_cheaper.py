"""The claim that margins cost far less than flatness, on snapshots with both."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from orchestrator.reporting.claims.judge import Judge
from orchestrator.reporting.data.open_results import Rows, Source
from orchestrator.reporting.data.queries import Query
from orchestrator.statistics import Claim, margin_is_cheaper
from orchestrator.statistics.study_design import FEWEST_CONDITIONS

PAIRED_SECONDS = Query(
    "paired_seconds",
    "seconds of the Hessian trace and of the margins on the same snapshot",
    """
    -- As for values: the exact trace, then most examples, then the newest.
    WITH trace AS (
        SELECT checkpoint_id, trial_id, step, variant, seconds FROM measures
        WHERE measure = 'hessian_trace' AND status IN ('ok', 'nonfinite')
            AND variant IN
                ('exact', 'sampled_factors', 'control_variate', 'hutchinson', 'hutch++',
                 'xtrace')
        QUALIFY row_number() OVER (
            PARTITION BY checkpoint_id
            ORDER BY variant <> 'exact', n_examples DESC NULLS LAST, variant,
                written_at DESC, request) = 1
    ), margin AS (
        SELECT checkpoint_id, seconds FROM measures
        WHERE measure = 'margin_mean' AND variant = 'raw' AND split = 'train'
            AND status IN ('ok', 'nonfinite')
        QUALIFY row_number() OVER (
            PARTITION BY checkpoint_id
            ORDER BY n_examples DESC NULLS LAST, written_at DESC, request) = 1
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


class MarginIsCheaper(Judge, name="margin_is_cheaper"):
    """Divides the seconds of the Hessian trace by those of the margins."""

    short = "Margins take at least {threshold} times less time than a Hessian trace"
    figure = "cost"
    symbol = "{} times"
    scale = "ratio"
    holds = (
        "Margins are far cheaper than flatness {scope}: a Hessian trace takes {number} times as "
        "many seconds."
    )
    fails = (
        "Margins are not {threshold} times cheaper {scope}: a Hessian trace takes {number} times "
        "as many seconds."
    )
    unclear = (
        "Whether margins are {threshold} times cheaper than a Hessian trace remains unclear: "
        "{number}."
    )
    methods = (
        "Medians",
        f"With {FEWEST_CONDITIONS} or more conditions, the median of the conditions’ medians has "
        "the exact interval of order statistics; for a grid it applies to this grid only. With "
        "fewer conditions, the interval comes from a bootstrap over trials on a logarithmic scale, "
        "with the degrees of freedom of the one or two middle conditions.",
    )

    def query(self, measures: Sequence[str]) -> Query:
        """Return the query for the seconds of both on the same snapshots."""
        return PAIRED_SECONDS

    def judge(self, source: Source, rows: Rows, **given: Any) -> Claim:
        """Judge the ratio of seconds."""
        return margin_is_cheaper(
            rows.floats("trace_seconds"),
            rows.floats("margin_seconds"),
            rows.groups(),
            rows["method"],
            rows.floats("probe_seconds"),
            **given,
        )
