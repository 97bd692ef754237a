import pytest

from orchestrator.reporting.data.hue import choose_hue
from orchestrator.reporting.data.open_results import open_source
from orchestrator.reporting.figures.figure import not_yet
from orchestrator.reporting.figures.spectral_density import spectral_density_figure
from tests.reporting.simulated import simulate
from tests.reporting.simulated_curves import curve_study, with_curves


def layers_of(figure):
    return [layer["data"]["values"] for layer in figure.chart["layer"]]


def test_curves_have_bands_and_the_largest_eigenvalues(curve_source):
    figure = spectral_density_figure(curve_source, choose_hue(curve_source))
    band, line, spread, point = layers_of(figure)
    assert {record["hue"] for record in line} == {"16", "64", "256", "1024"}
    assert len({record["at"] for record in point}) == 4
    assert all(record["low"] <= record["density"] <= record["high"] for record in band)
    encoding = figure.chart["layer"][1]["encoding"]["y"]
    low, high = encoding["scale"]["domain"]
    assert min(record["low"] for record in band) == pytest.approx(low, rel=1e-5)
    assert max(record["high"] for record in band) < high
    assert spread[0]["low"] <= spread[0]["eigenvalue"] <= spread[0]["high"]
    assert "batch size 16: 3" in figure.caption
    assert len(figure.table.rows) == 4
    assert figure.table.rows[0][6] == pytest.approx(point[0]["eigenvalue"], rel=1e-5)


def test_eigenvalues_and_levels_may_be_missing(tmp_path):
    study = curve_study(sweep={})
    path = simulate(
        tmp_path / "r", study=study, batch_sizes=[64], requests=["margin"], change=with_curves
    )
    with open_source(path) as source:
        figure = spectral_density_figure(source, None)
    assert len(figure.chart["layer"]) == 2
    assert "Marks at the bottom" not in figure.caption
    assert figure.table.rows[0][0] == "all networks"
    assert figure.table.rows[0][6] is None


def test_a_spectrum_below_zero_is_drawn(tmp_path):
    def negate(rows):
        with_curves(rows)
        for row in rows["curves"]:
            if row["curve"] == "hessian_spectral_density":
                row["x"] = [value - 50 for value in row["x"]]

    with open_source(simulate(tmp_path / "r", study=curve_study(), change=negate)) as source:
        figure = spectral_density_figure(source, choose_hue(source))
    ticks = figure.chart["layer"][1]["encoding"]["x"]["axis"]["values"]
    assert ticks[0] == -50
    assert 0 in ticks


def test_a_missing_density_gives_the_command_that_adds_it(source, tmp_path):
    figure = spectral_density_figure(source, None)
    assert figure.missing == not_yet("hessian_spectral_density")

    def spoil(rows):
        with_curves(rows)
        for row in rows["curves"]:
            if row["curve"] == "hessian_spectral_density":
                row |= {"x": [2.0], "value": [float("nan")], "status": "nonfinite"}

    with open_source(simulate(tmp_path / "r", study=curve_study(), change=spoil)) as opened:
        figure = spectral_density_figure(opened, choose_hue(opened))
    assert figure.missing.endswith("hessian_spectral_density with finite, positive values.")
