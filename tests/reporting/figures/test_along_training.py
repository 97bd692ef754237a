import numpy as np
import pytest
from scipy import stats

from orchestrator.reporting.data.hue import choose_hue
from orchestrator.reporting.data.open_results import open_source
from orchestrator.reporting.figures.along_training import training_figure
from tests.reporting.simulated import simulate


def values(source, what, batch_size, epoch):
    rows = source.connection.sql(
        f"SELECT {what} FROM wide WHERE batch_size = {batch_size} AND epoch = {epoch}"
    ).fetchall()
    return np.array(rows)[:, 0]


def row_of(figure, *key):
    (row,) = (row for row in rows_of(figure) if row[:4] == key)
    return row


def rows_of(figure):
    names = ("measure", "time", "hue", "at", "mean", "low", "high", "n")
    records = [r for panel in figure.chart["concat"] for r in panel["data"]["values"]]
    return [tuple(record[name] for name in names) for record in records]


def test_curves_are_means_with_student_intervals_over_networks(source):
    figure = training_figure(source, choose_hue(source))
    margins = values(source, "margin_mean", 64, 8)
    mean, low, high, n = row_of(figure, "margin_mean", "epoch", "64", 8.0)[4:]
    interval = stats.t.interval(0.95, 2, margins.mean(), stats.sem(margins))
    assert (mean, low, high) == pytest.approx((margins.mean(), *interval), rel=1e-5)
    assert n == 3
    traces = values(source, "log10(hessian_trace)", 64, 8)
    mean, low, high, _ = row_of(figure, "hessian_trace", "step", "64", 512.0)[4:]
    interval = stats.t.interval(0.95, 2, traces.mean(), stats.sem(traces))
    assert np.log10([mean, low, high]) == pytest.approx([traces.mean(), *interval], rel=1e-5)


def test_both_measures_and_both_times_have_panels(source):
    figure = training_figure(source, choose_hue(source))
    assert len(figure.chart["concat"]) == 4
    assert "same number of updates" in figure.caption
    assert "batch size 16, mean margin" in figure.alternative


def test_single_networks_have_no_band(without_trace, tmp_path):
    with open_source(simulate(tmp_path / "r", batch_sizes=[64], seeds=1)) as source:
        rows = rows_of(training_figure(source, None))
    assert {(row[5], row[6], row[7]) for row in rows} == {(None, None, 1)}
    with open_source(without_trace) as source:
        assert "No snapshot has a hessian_trace" in training_figure(source, None).caption


def test_huge_intervals_do_not_stretch_the_axis(tmp_path):
    def spoil(rows):
        for row in rows["measures"]:
            if row["measure"] == "hessian_trace" and row["trial_id"] == "trial000":
                row["value"] = 1e-60

    with open_source(simulate(tmp_path / "r", batch_sizes=[64], seeds=2, change=spoil)) as source:
        figure = training_figure(source, None)
    low, high = figure.chart["concat"][2]["layer"][0]["encoding"]["y"]["scale"]["domain"]
    assert 1e-40 < low < high < 1e10


def test_unfinished_trials_have_no_curves(empty):
    with open_source(empty) as source:
        assert training_figure(source, None).chart is None
