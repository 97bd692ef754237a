"""The check that rescaled layers change the Hessian trace but no margin, on audited networks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from orchestrator.reporting.claims.judge import Judge
from orchestrator.reporting.data.open_results import Rows, Source
from orchestrator.reporting.data.queries import Query
from orchestrator.statistics import Claim, flatness_depends_on_parametrization

REPARAMETRIZED = Query(
    "reparametrized",
    "relative change of the trace under layer rescaling, and of the margin also under permutation",
    """
    SELECT trial_id, condition_id,
        coalesce(
            max(relative_change) FILTER (measure = 'hessian_trace' AND variant = 'exact'
                AND change = 'layer_rescaling'),
            max(relative_change) FILTER (measure = 'hessian_trace'
                AND change = 'layer_rescaling')) AS trace_change,
        max(relative_change) FILTER (measure = 'margin_mean' AND variant = 'raw'
            AND split = 'train') AS margin_change
    FROM audit JOIN (SELECT trial_id, condition_id FROM trials) USING (trial_id)
    WHERE change IN ('layer_rescaling', 'unit_permutation')
    GROUP BY checkpoint_id, trial_id, condition_id
    ORDER BY trial_id, checkpoint_id
    """,
)

FURTHER_REPARAMETRIZED = Query(
    "further_reparametrized",
    "median relative change under layer rescaling, for other flatness measures and normalized "
    "margins",
    """
    SELECT measure, variant, median(relative_change) AS change
    FROM audit JOIN measure_catalog USING (measure)
    WHERE change = 'layer_rescaling' AND status = 'ok' AND split = 'train'
        AND measure <> 'hessian_trace' AND direction <> 'neutral'
        AND (family = 'flatness' OR (measure = 'margin_mean' AND variant <> 'raw'))
    GROUP BY measure, variant ORDER BY change DESC, measure, variant
    """,
)


class FlatnessDependsOnParametrization(Judge, name="flatness_depends_on_parametrization"):
    """Compares both measures before and after changes that leave the function unchanged."""

    short = "Rescaling layers changes the trace, not the margin"
    figure = "fragility"
    symbol = "change {}"
    holds = (
        "The reparametrization check passes: with the function unchanged, the Hessian trace has "
        "a relative change of {number}, and the margin does not change."
    )
    fails = (
        "The reparametrization check fails: the Hessian trace has a relative change of {number}, "
        "or a margin changed too."
    )
    unclear = "The reparametrization check remains unclear: {number}."

    def query(self, measures: Sequence[str]) -> Query:
        """Return the query for the changes of both measures per audited network."""
        return REPARAMETRIZED

    def judge(
        self, source: Source, rows: Rows, design: Any = None, learned: Any = None, **given: Any
    ) -> Claim:
        """Judge the median change of the trace; conditions do not matter to a theorem."""
        return flatness_depends_on_parametrization(
            rows.floats("trace_change"),
            rows.floats("margin_change"),
            rows.groups(),
            {
                ", ".join(filter(None, (measure, variant))): change
                for measure, variant, change in source.rows(FURTHER_REPARAMETRIZED).tuples()
            },
            **given,
        )
