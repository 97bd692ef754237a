import struct
import xml.etree.ElementTree as ElementTree

import pytest

from orchestrator.reporting.export.paper import on_paper, paper_pdf, paper_png, paper_svg
from orchestrator.reporting.figures.threshold import threshold_figure


@pytest.fixture(scope="module")
def svg(source):
    return paper_svg(threshold_figure(source))


def test_paper_figures_have_black_ink_on_white_paper(svg):
    root = ElementTree.fromstring(svg)
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert root.get("aria-label").startswith("Two line charts")
    assert "currentColor" not in svg
    assert 'fill="black"' in svg
    paper = root.find("{http://www.w3.org/2000/svg}rect")
    assert paper.get("fill") == "white"
    assert paper.get("width") == root.get("width")


def test_only_the_appearance_is_changed():
    chart = {
        "data": {"values": [{"name": "currentColor"}]},
        "mark": {"type": "point", "color": "currentColor"},
        "encoding": {
            "color": {"scale": {"domain": ["currentColor"], "range": ["currentColor"]}},
            "y": {"value": "currentColor"},
        },
        "layer": [{"mark": {"fill": "currentColor"}}],
        "config": {"axis": {"labelColor": "currentColor"}, "background": "transparent"},
    }
    printed = on_paper(chart)
    assert printed["data"] == chart["data"]
    assert printed["mark"]["color"] == "black"
    assert printed["encoding"]["color"]["scale"] == {"domain": ["currentColor"], "range": ["black"]}
    assert printed["encoding"]["y"]["value"] == "black"
    assert printed["layer"][0]["mark"]["fill"] == "black"
    assert printed["config"]["axis"]["labelColor"] == "black"
    assert printed["config"]["background"] == "white"
    assert chart["config"]["background"] == "transparent"


def test_pdf_files_embed_their_fonts(svg):
    pdf = paper_pdf(svg)
    assert pdf.startswith(b"%PDF-")
    assert pdf.rstrip().endswith(b"%%EOF")
    assert b"LiberationSans" in pdf
    assert pdf.count(b"/FontFile") >= 1


@pytest.mark.parametrize("ppi", [72, 300])
def test_png_files_have_the_requested_resolution(svg, ppi):
    png = paper_png(svg, ppi)
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    width, height = struct.unpack(">II", png[16:24])
    root = ElementTree.fromstring(svg)
    assert width == pytest.approx(float(root.get("width")) * ppi / 72, abs=1)
    assert height == pytest.approx(float(root.get("height")) * ppi / 72, abs=1)
    assert png == paper_png(svg, ppi)
