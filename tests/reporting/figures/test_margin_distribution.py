import pytest

from orchestrator.reporting.data.hue import choose_hue
from orchestrator.reporting.data.open_results import open_source
from orchestrator.reporting.figures.figure import not_yet
from orchestrator.reporting.figures.margin_distribution import margin_distribution_figure
from tests.reporting.simulated import EPOCHS, simulate
from tests.reporting.simulated_curves import curve_study, with_curves


def test_final_margins_and_bands_over_epochs_are_shown(curve_source):
    figure = margin_distribution_figure(curve_source, choose_hue(curve_source))
    final, along = figure.chart["vconcat"]
    records = final["layer"][1]["data"]["values"]
    assert len(records) == 4 * 11
    assert all(r["low"] < r["margin"] < r["high"] for r in records)
    assert [panel["title"]["text"] for panel in along["concat"]] == [
        *("batch size 16", "batch size 64", "batch size 256", "batch size 1024"),
    ]
    for panel in along["concat"]:
        values = panel["layer"][1]["data"]["values"]
        assert [record["epoch"] for record in values] == list(EPOCHS)
        assert all(r["q05"] < r["q25"] < r["q50"] < r["q75"] < r["q95"] for r in values)
    assert "batch size 64: smallest -11, median 19, largest 49" in figure.alternative
    assert len(figure.table.rows) == 4 * len(EPOCHS)


def test_outliers_do_not_stretch_the_axis(tmp_path):
    def stretch(rows):
        with_curves(rows)
        for row in rows["curves"]:
            if row["curve"] == "margin_quantiles":
                row["value"][-1] = 1e9

    with open_source(simulate(tmp_path / "r", study=curve_study(), change=stretch)) as source:
        figure = margin_distribution_figure(source, choose_hue(source))
    low, high = figure.chart["vconcat"][0]["layer"][1]["encoding"]["x"]["scale"]["domain"]
    assert low == pytest.approx(-5, abs=8)
    assert 40 < high < 60


def test_another_normalization_is_named_in_the_caption(tmp_path):
    def divide(rows):
        with_curves(rows)
        for row in rows["curves"]:
            row["variant"] = "logit_norm" if row["curve"] == "margin_quantiles" else row["variant"]

    with open_source(simulate(tmp_path / "r", study=curve_study(), change=divide)) as source:
        figure = margin_distribution_figure(source, None)
    assert "the largest other, divided by logit norm" in figure.caption


def test_a_missing_distribution_gives_the_command_that_adds_it(source):
    figure = margin_distribution_figure(source, None)
    assert figure.missing == not_yet("margin_distribution")
