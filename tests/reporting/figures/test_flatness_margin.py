from orchestrator.reporting.data.hue import choose_hue
from orchestrator.reporting.data.open_results import open_source
from orchestrator.reporting.figures.flatness_margin import flatness_margin_figure
from tests.reporting.simulated import simulate


def test_every_snapshot_is_a_point(source):
    figure = flatness_margin_figure(source, choose_hue(source))
    values = figure.chart["data"]["values"]
    assert len(values) == 96
    assert len(figure.table.rows) == 96
    assert "coloured by batch size" in figure.caption
    encoding = figure.chart["encoding"]
    assert encoding["color"]["scale"]["domain"] == ["16", "64", "256", "1024"]
    assert encoding["x"]["scale"]["type"] == "log"
    assert [parameter["name"] for parameter in figure.chart["params"]] == ["chosen"]


def test_without_a_hue_all_points_have_one_colour(source):
    figure = flatness_margin_figure(source, None)
    assert "value" in figure.chart["encoding"]["color"]
    assert "coloured" not in figure.caption


def test_missing_measures_give_a_reason(without_trace):
    with open_source(without_trace) as source:
        figure = flatness_margin_figure(source, None)
    assert figure.missing == "No snapshot has a hessian_trace."


def test_many_levels_use_a_continuous_colour_scale(tmp_path):
    sizes = [2**power for power in range(3, 11)]
    path = simulate(tmp_path / "r", batch_sizes=sizes, seeds=1)
    with open_source(path) as source:
        figure = flatness_margin_figure(source, choose_hue(source))
    assert figure.chart["encoding"]["color"]["scale"]["scheme"]["name"] == "viridis"
