import json

import pytest

from orchestrator.reporting.data.open_results import open_source
from orchestrator.reporting.figures.figure import not_yet
from orchestrator.reporting.figures.smallest_margins import smallest_margins_figure
from tests.reporting.simulated import simulate
from tests.reporting.simulated_curves import curve_study, with_curves, with_examples


def of_shape(path, shape, spoil=lambda rows: None):
    def change(rows):
        with_curves(rows)
        with_examples(shape)(rows)
        spoil(rows)

    with open_source(simulate(path, study=curve_study(), change=change)) as source:
        return smallest_margins_figure(source)


def test_signals_are_lines_on_one_scale(curve_source):
    figure = smallest_margins_figure(curve_source)
    panels = figure.chart["concat"]
    assert [panel["title"]["text"] for panel in panels] == [
        *("0, predicted 1", "1, predicted 1", "2, predicted 2", "0, predicted 2", "1, predicted 2"),
    ]
    assert panels[0]["title"]["subtitle"] == ["12 of 12", "margin −3.00"]
    assert len(panels[0]["data"]["values"]) == 40
    assert len({str(panel["encoding"]["y"]["scale"]) for panel in panels}) == 1
    assert figure.table.rows[0] == (0, 0, 1, 12, 12, 12, -3)
    assert "12 final networks" in figure.caption


@pytest.mark.parametrize("shape", [(1, 8, 6), (3, 5, 5), (9, 9)])
def test_pictures_are_embedded(tmp_path, shape):
    figure = of_shape(tmp_path / "r", shape)
    marks = [panel["mark"] for panel in figure.chart["concat"]]
    assert {mark["type"] for mark in marks} == {"image"}
    assert not any(mark["smooth"] for mark in marks)
    (value,) = figure.chart["concat"][0]["data"]["values"]
    assert value["picture"].startswith("data:image/png;base64,")


@pytest.mark.parametrize("shape", [(4,), (2, 3, 3, 3)])
def test_other_data_are_shown_as_a_table(tmp_path, shape):
    figure = of_shape(tmp_path / "r", shape)
    assert figure.chart is None
    assert "The table of this figure lists them" in figure.missing
    assert len(figure.table.rows) == 5


def test_examples_that_were_not_kept_or_are_nonfinite_are_counted(tmp_path):
    def spoil(rows):
        del rows["examples"][0]
        rows["examples"][0]["inputs"][3] = float("inf")

    figure = of_shape(tmp_path / "r", (40,), spoil)
    assert len(figure.chart["concat"]) == 3
    assert "2 examples can’t be drawn." in figure.caption
    assert figure.table.rows[0][:3] == (0, None, 1)


def test_pictures_load_nothing_from_elsewhere(tmp_path):
    figure = of_shape(tmp_path / "r", (3, 5, 5))
    assert "http" not in json.dumps(figure.chart)


def test_a_missing_distribution_gives_the_command_that_adds_it(source):
    figure = smallest_margins_figure(source)
    assert figure.missing == not_yet("margin_distribution")
