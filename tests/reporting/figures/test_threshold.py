import pytest

from orchestrator.reporting.data.open_results import open_source
from orchestrator.reporting.figures.threshold import threshold_figure
from tests.reporting.simulated import simulate


@pytest.fixture
def figure(source):
    return threshold_figure(source)


def test_tighter_thresholds_have_fewer_snapshots(figure):
    rows = [row for row in figure.table.rows if row[0] == "Hessian trace"]
    thresholds, snapshots = [row[1] for row in rows], [row[11] for row in rows]
    assert thresholds[0] == 1.0
    assert snapshots[0] == 96
    assert thresholds == sorted(thresholds, reverse=True)
    assert snapshots == sorted(set(snapshots), reverse=True)
    assert {row[0] for row in figure.table.rows} == {"Hessian trace", "largest eigenvalue"}


def test_numbers_agree_with_the_headline_in_sql(figure, source):
    in_sql = {float(t): (n, r) for t, n, r in source.rows(figure.queries[1]).tuples()}
    for row in figure.table.rows:
        if row[0] == "Hessian trace":
            assert in_sql[row[1]] == (row[11], pytest.approx(row[2], abs=1e-12))


def test_the_caption_states_numbers_and_both_panels_have_bands(figure):
    assert "96 snapshots" in figure.caption
    assert "training loss held fixed" in figure.caption
    assert "r −0.9" in figure.alternative
    plain, partial = figure.chart["concat"]
    assert plain["title"]["text"] == "Pearson’s r"
    assert partial["title"]["text"].startswith("Partial r")
    marks = [layer["mark"]["type"] for layer in plain["layer"]]
    assert marks == ["rule", "area", "line", "point", "text"]


def test_missing_margin_or_flatness_gives_a_reason(without_trace, tmp_path):
    with open_source(without_trace) as source:
        assert "hessian_trace or hessian_eigenvalue_1" in threshold_figure(source).missing
    with open_source(simulate(tmp_path / "r", requests=["norms"], batch_sizes=[64])) as source:
        assert threshold_figure(source).chart is None


def test_too_few_positive_traces_give_a_reason(tmp_path):
    def spoil(rows):
        for row in rows["measures"]:
            if row["measure"] == "hessian_trace":
                row["value"] = -1.0

    path = simulate(
        tmp_path / "r", requests=["margin", "hessian_trace"], batch_sizes=[64], change=spoil
    )
    with open_source(path) as source:
        assert threshold_figure(source).missing.startswith("Fewer than 6 snapshots")
