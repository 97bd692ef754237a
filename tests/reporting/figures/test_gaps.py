import pytest

from orchestrator.reporting.data.hue import choose_hue
from orchestrator.reporting.data.open_results import open_source
from orchestrator.reporting.figures.gaps import gaps_figure


def test_all_four_panels_share_one_brush(source):
    figure = gaps_figure(source, choose_hue(source))
    names = [panel["name"] for panel in figure.chart["concat"]]
    assert names == [
        "margin_mean_loss_gap",
        "hessian_trace_loss_gap",
        "margin_mean_error_gap",
        "hessian_trace_error_gap",
    ]
    (brush,) = figure.chart["params"]
    assert (brush["name"], brush["views"]) == ("brush", names)
    assert len(figure.chart["datasets"]["snapshots"]) == 96
    domains = [panel["encoding"]["x"]["scale"]["domain"] for panel in figure.chart["concat"]]
    assert domains[0] == domains[2]


def test_rank_correlations_equal_those_in_sql(source):
    figure = gaps_figure(source, None)
    for measure, gap, tau, low, high, n, *_ in figure.table.rows:
        ((expected,),) = source.connection.sql(
            f"SELECT kendall(list({measure}), list({gap})) FROM wide "
            "SEMI JOIN final USING (checkpoint_id)"
        ).fetchall()
        assert tau == pytest.approx(expected, abs=1e-12)
        assert low <= tau <= high
        assert n == 12
    assert "The two gaps can differ in sign" in figure.caption


def test_without_traces_only_margins_have_panels(without_trace):
    with open_source(without_trace) as source:
        figure = gaps_figure(source, None)
    assert len(figure.chart["concat"]) == 2
    assert "No snapshot has a hessian_trace, so its panels are omitted." in figure.caption
