from dataclasses import replace

import pytest

from orchestrator.reporting.figures import Figure, Table
from orchestrator.reporting.page import drawings as page_drawings
from orchestrator.reporting.page.drawings import Drawings
from orchestrator.reporting.page.svg import scripts, static_svg

CHART = {
    "data": {"values": [{"a": 1}]},
    "mark": "point",
    "encoding": {"x": {"field": "a", "type": "quantitative"}},
}
FIGURE = Figure("one", "One", chart=CHART, table=Table.of(["a"], [(1,)]), alternative="A point")


@pytest.mark.parametrize("begun", [True, False])
def test_a_drawing_is_that_of_the_figure_whether_begun_or_not(begun):
    with Drawings() as drawings:
        if begun:
            drawings.begin(FIGURE)
        assert drawings.svg(FIGURE) == static_svg(CHART, "one", "A point")
        assert drawings.scripts() == scripts()


def test_a_figure_that_changed_after_it_was_begun_is_drawn_again():
    """Results are read again if they were compacted meanwhile."""
    other = replace(FIGURE, chart={**CHART, "mark": "bar"})
    with Drawings() as drawings:
        drawings.begin(FIGURE)
        assert drawings.svg(other) == static_svg(other.chart, "one", "A point")


def test_a_figure_that_is_not_drawn_begins_nothing(monkeypatch):
    def refuse(*_):
        raise AssertionError("drawn")

    monkeypatch.setattr(page_drawings, "static_svg", refuse)
    with Drawings() as drawings:
        drawings.begin(replace(FIGURE, chart=None, missing="Nothing is measured."))
        drawings.begin(FIGURE)
        with pytest.raises(AssertionError, match="drawn"):
            drawings.svg(FIGURE)
