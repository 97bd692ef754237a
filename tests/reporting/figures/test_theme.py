import math

import altair as alt
import pytest
from altair.utils.schemapi import SchemaValidationError, debug_mode

from orchestrator.reporting.data.hue import Hue
from orchestrator.reporting.figures.theme import (
    OKABE_ITO,
    SHAPES,
    hue_color,
    hue_shape,
    rounded,
    themed,
)


def test_levels_keep_their_order_and_colour():
    hue = Hue("batch_size", "batch size", ("16", "1024"))
    colour = hue_color(hue).to_dict()
    assert colour["scale"] == {"domain": ["16", "1024"], "range": list(OKABE_ITO[:2])}
    assert hue_color(None) == {"value": OKABE_ITO[4]}


def test_the_legend_of_many_numbers_names_some_of_them():
    def named(levels):
        return hue_color(Hue("x", "x", levels)).to_dict()["legend"].get("values")

    numbers = tuple(map(str, range(24)))
    assert named(numbers) == ["0", "4", "8", "12", "15", "19", "23"]
    assert named(numbers[:7]) is None
    assert named(tuple("abcdefghij")) is None


def test_shapes_follow_the_levels_like_colours():
    hue = Hue("batch_size", "batch size", ("16", "1024"))
    assert hue_shape(hue).to_dict()["scale"] == {
        "domain": ["16", "1024"],
        "range": list(SHAPES[:2]),
    }
    assert hue_shape(None) == {"value": SHAPES[0]}


def test_charts_contain_no_address_and_use_the_colour_of_the_page():
    chart = themed(alt.Chart(alt.Data(values=[{"x": 1}])).mark_point().encode(x="x:Q"))
    assert "$schema" not in chart
    assert chart["config"]["axis"]["labelColor"] == "currentColor"


def test_a_theme_that_the_caller_enabled_stays_and_has_no_effect():
    chart = alt.Chart(alt.Data(values=[{"x": 1}])).mark_point().encode(x="x:Q")
    plain = themed(chart)
    with alt.theme.enable("dark"):
        assert themed(chart) == plain
        assert alt.theme.active == "dark"
    assert plain["config"]["legend"]["layout"]["bottom"]["direction"] == "vertical"


def test_charts_contain_six_digits():
    assert rounded([{"x": 1234.56789, "name": "a", "n": 12345678, "none": None}]) == [
        {"x": 1234.57, "name": "a", "n": 12345678, "none": None}
    ]


def test_nonfinite_numbers_become_null():
    assert rounded([{"x": math.nan, "y": math.inf, "z": -math.inf}]) == [dict.fromkeys("xyz")]


def test_a_chart_is_validated_unless_a_report_is_drawn():
    with debug_mode(False):
        wrong = alt.X("a:Q", scale=alt.Scale(type="nonsense"))
        part = alt.Chart(alt.Data(values=[{"a": 1}])).mark_point().encode(x=wrong)
        chart = alt.concat(alt.layer(part))
        themed(chart)
    with pytest.raises(SchemaValidationError, match="nonsense"):
        themed(chart)
