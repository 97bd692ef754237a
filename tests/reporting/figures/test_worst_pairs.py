import pytest

from orchestrator.reporting.data.gap_predictors import trained_networks
from orchestrator.reporting.data.open_results import open_source
from orchestrator.reporting.figures.worst_pairs import environments_figure
from orchestrator.statistics import sign_error
from tests.reporting.simulated import simulate


def test_sign_errors_of_every_measure_and_both_gaps_are_shown(source):
    trained = trained_networks(source)
    figure = environments_figure(source, trained)
    assert len(figure.table.rows) == 2 * len(trained.predictors)
    rows = {row[:2]: row for row in figure.table.rows}
    grid = trained.grid
    expected = sign_error(
        -trained.rows.floats("margin_mean"), trained.rows.floats("loss_gap"), grid, None, 4
    )
    row = rows["margin_mean", "loss gap"]
    assert row[2] == pytest.approx(expected.overall.mean.value)
    assert row[6] == pytest.approx(expected.overall.worst.error)
    assert (row[8], row[9]) == (6, 0)


def test_cumulative_shares_rise_to_one(source):
    figure = environments_figure(source, trained_networks(source))
    for panel in figure.chart["concat"]:
        curves = {}
        for record in panel["data"]["values"]:
            curves.setdefault(record["measure"], []).append((record["error"], record["share"]))
        assert "margin_mean" in curves
        assert "hessian_trace" in curves
        for curve in curves.values():
            shares = [share for _, share in sorted(curve)]
            assert shares == sorted(shares)
            assert shares[-1] == 1


def test_gaps_within_the_noise_of_the_test_set_are_dropped(tmp_path):
    def measured(rows):
        rows["measures"].append({**rows["measures"][0], "split": "test", "n_examples": 50})

    with open_source(simulate(tmp_path / "r", change=measured)) as source:
        figure = environments_figure(source, trained_networks(source))
    assert "on 50 test examples" in figure.caption
    dropped = {row[1]: row[9] for row in figure.table.rows}
    assert dropped["error gap"] > 0
    assert dropped["loss gap"] == 0


def test_without_pairs_to_compare_there_is_a_reason(without_trace, empty):
    for path in (without_trace, empty):
        with open_source(path) as source:
            figure = environments_figure(source, trained_networks(source))
        assert "differ in a hyperparameter" in figure.missing
