"""No figure makes a quantitative scale of its own."""

import pytest

from tests.reporting.test_random_results import parts


@pytest.fixture
def charts(figures, curve_figures):
    return [figure.chart for figure in (*figures, *curve_figures) if figure.chart is not None]


def test_every_quantitative_axis_has_its_own_domain(charts):
    for chart in charts:
        for layered in parts({name: one for name, one in chart.items() if name != "datasets"}):
            layers = layered.get("layer", [layered] if "mark" in layered else [])
            for channel in ("x", "y"):
                found = [
                    layer["encoding"][channel]
                    for layer in layers
                    if channel in layer.get("encoding", {})
                ]
                quantitative = [one for one in found if one.get("type") == "quantitative"]
                if quantitative and "layer" in layered:
                    assert any("domain" in (one.get("scale") or {}) for one in quantitative)
