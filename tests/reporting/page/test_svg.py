import json
import xml.etree.ElementTree as ElementTree

import pytest

from orchestrator.reporting.page.svg import embedded_json, scripts, static_svg

SPECIFICATION = {
    "data": {"values": [{"x": 1, "y": 2, "name": "<b>&\"'"}, {"x": 2, "y": 3, "name": "b"}]},
    "mark": {"type": "point", "clip": True},
    "encoding": {
        "x": {"field": "x", "type": "quantitative"},
        "y": {"field": "y", "type": "quantitative"},
        "color": {"field": "name", "type": "nominal"},
    },
}


def test_drawings_are_reproducible_and_have_unique_ids():
    first, again = (static_svg(SPECIFICATION, "one", "A chart") for _ in range(2))
    assert first == again
    assert 'id="one-0"' in first
    assert "url(#one-0)" in first
    other = static_svg(SPECIFICATION, "two", "A chart")
    assert "one-" not in other


def test_text_from_data_is_escaped():
    drawn = static_svg(SPECIFICATION, "one", 'A "chart" <of> & more')
    assert "<b>" not in drawn
    root = ElementTree.fromstring(drawn)  # well-formed
    assert root.get("aria-label") == 'A "chart" <of> & more'
    assert any(element.text == "<b>&\"'" for element in root.iter())


def test_characters_invalid_in_xml_are_replaced():
    """The renderer would end the process, and the drawing would be no SVG."""
    coloured = "\x1b[31mred\x1b[0m \x00 \ud800 \N{COLLISION SYMBOL}"
    chart = {**SPECIFICATION, "title": coloured}
    root = ElementTree.fromstring(static_svg(chart, "one", coloured))
    shown = "\ufffd[31mred\ufffd[0m \ufffd \ufffd \N{COLLISION SYMBOL}"
    assert root.get("aria-label") == shown
    assert any(element.text == shown for element in root.iter())


def test_json_cannot_end_its_script_element():
    value = {"text": "</script><!-- & \u2028"}
    text = embedded_json(value)
    assert not set("<>&\u2028") & set(text)
    assert json.loads(text) == value
    with pytest.raises(ValueError, match="JSON"):
        embedded_json(float("nan"))


def test_the_bundle_cannot_end_its_script_element():
    bundle = scripts()
    assert "vegaEmbed" in bundle
    assert "</script" not in bundle.lower()
    assert "<!--" not in bundle
