"""The check that rescaled layers change the Hessian trace but no margin, on audited networks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from orchestrator.reporting.claims.built_in import BuiltIn
from orchestrator.reporting.data.open_results import Rows, Source
from orchestrator.reporting.data.queries import Query
from orchestrator.statistics import Claim, flatness_depends_on_parametrization

REPARAMETRIZED = Query(
    "reparametrized",
    "relative change of the trace under layer rescaling, and of the margin also under permutation",
    "SELECT trial_id, condition_id,\n"
    "    coalesce(\n"
    "        max(relative_change) FILTER (measure = 'hessian_trace' AND variant = 'exact'\n"
    "            AND change = 'layer_rescaling'),\n"
    "        max(relative_change) FILTER (measure = 'hessian_trace'\n"
    "            AND change = 'layer_rescaling')) AS trace_change,\n"
    "    max(relative_change) FILTER (measure = 'margin_mean' AND variant = 'raw'\n"
    "        AND split = 'train') AS margin_change\n"
    "FROM audit JOIN (SELECT trial_id, condition_id FROM trials) USING (trial_id)\n"
    "WHERE change IN ('layer_rescaling', 'unit_permutation')\n"
    "GROUP BY checkpoint_id, trial_id, condition_id\n"
    "ORDER BY trial_id, checkpoint_id",
)

FURTHER_REPARAMETRIZED = Query(
    "further_reparametrized",
    "median relative change under layer rescaling, for other flatness measures and normalized "
    "margins",
    "SELECT measure, variant, median(relative_change) AS change\n"
    "FROM audit JOIN measure_catalog USING (measure)\n"
    "WHERE change = 'layer_rescaling' AND status = 'ok' AND split = 'train'\n"
    "    AND measure <> 'hessian_trace' AND direction <> 'neutral'\n"
    "    AND (family = 'flatness' OR (measure = 'margin_mean' AND variant <> 'raw'))\n"
    "GROUP BY measure, variant ORDER BY change DESC, measure, variant",
)


class FlatnessDependsOnParametrization(BuiltIn, name="flatness_depends_on_parametrization"):
    """Compares both measures before and after changes that leave the function unchanged."""

    figure = "fragility"
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
