import altair as alt
import pytest

from orchestrator.report.figures.theme import (
    OKABE_ITO,
    SHAPES,
    hue_color,
    hue_shape,
    log_axis,
    padded,
    padded_log,
    rounded,
    themed,
)
from orchestrator.report.hue import Hue


@pytest.mark.parametrize(
    ("values", "ticks"),
    [
        ([1, 10], [1, 2, 5, 10]),
        ([1, 1000], [1, 3, 10, 30, 100, 300, 1000]),
        ([1e-3, 1e4], [0.001, 0.1, 10, 1000]),
    ],
)
def test_logarithmic_axes_have_few_round_labels(values, ticks):
    assert log_axis(values).to_dict()["values"] == pytest.approx(ticks)


def test_domains_leave_room():
    assert padded([0, 10]) == [-0.5, 10.5]
    assert padded([2, 2]) == [1.9, 2.1]
    assert padded([0, 0]) == [-1, 1]
    assert padded_log([1, 10], factor=2) == [0.5, 20]


def test_levels_keep_their_order_and_have_one_colour_each():
    hue = Hue("batch_size", "batch size", ("16", "1024"))
    colour = hue_color(hue).to_dict()
    assert colour["scale"] == {"domain": ["16", "1024"], "range": list(OKABE_ITO[:2])}
    assert hue_color(None) == {"value": OKABE_ITO[4]}


def test_shapes_go_with_the_levels_as_colours_do():
    hue = Hue("batch_size", "batch size", ("16", "1024"))
    assert hue_shape(hue).to_dict()["scale"] == {
        "domain": ["16", "1024"],
        "range": list(SHAPES[:2]),
    }
    assert hue_shape(None) == {"value": SHAPES[0]}


def test_charts_name_no_address_and_use_the_ink_of_the_page():
    chart = themed(alt.Chart(alt.Data(values=[{"x": 1}])).mark_point().encode(x="x:Q"))
    assert "$schema" not in chart
    assert chart["config"]["axis"]["labelColor"] == "currentColor"


def test_charts_get_six_digits():
    assert rounded([{"x": 1234.56789, "name": "a", "n": 12345678, "none": None}]) == [
        {"x": 1234.57, "name": "a", "n": 12345678, "none": None}
    ]
    assert padded([0.123456789, 1]) == [0.0796296, 1.04383]
