from orchestrator.reporting.data.hue import choose_hue
from orchestrator.reporting.data.open_results import open_source
from orchestrator.reporting.figures.loss_slices import loss_planes_figure, loss_slices_figure
from tests.reporting.simulated import simulate
from tests.reporting.simulated_curves import curve_study, with_curves


def zero_in_the_middle(rows):
    with_curves(rows)
    for row in rows["curves"]:
        if row["curve"] == "loss_slice":
            row["value"][len(row["value"]) // 2] = 0.0


def test_lines_show_the_range_over_networks(curve_source):
    figure = loss_slices_figure(curve_source, choose_hue(curve_source))
    records = figure.chart["data"]["values"]
    assert len(records) == 4 * 5
    assert all(record["low"] < record["loss"] < record["high"] for record in records)
    assert "batch size 16: 0.2 in the middle, 0.4 and 0.4 at the ends" in figure.alternative
    assert "Not drawn" not in figure.caption
    assert len(figure.table.rows) == 20


def test_each_level_has_a_panel_with_a_common_colour_scale(curve_source):
    figure = loss_planes_figure(curve_source, choose_hue(curve_source))
    panels = figure.chart["concat"]
    assert [panel["title"]["text"] for panel in panels] == [
        *("batch size 16", "batch size 64", "batch size 256", "batch size 1024"),
    ]
    domains = [panel["layer"][0]["encoding"]["color"]["scale"]["domain"] for panel in panels]
    assert domains == [[1.6, 102.4 * 4]] * 4
    assert all(panel["width"] % 5 == 0 for panel in panels)
    assert {row[-1] for row in figure.table.rows} == {25}
    assert "median training loss of its batch size" in figure.caption


def test_points_with_a_loss_of_zero_are_not_drawn_but_counted(tmp_path):
    with open_source(
        simulate(tmp_path / "r", study=curve_study(), change=zero_in_the_middle)
    ) as source:
        lines = loss_slices_figure(source, None)
        plane = loss_planes_figure(source, None)
    assert "Not drawn: 1 point where" in lines.caption
    assert len(lines.table.rows) == 5
    assert len(plane.chart["concat"]) == 1
    assert len(plane.chart["data"]["values"]) == 24


def test_a_missing_slice_gives_the_command_that_adds_it(source):
    assert loss_slices_figure(source, None).missing == (
        "No final network has loss_slice yet; to add it: measure RESULTS loss_slice."
    )
    assert "to add it: measure RESULTS '{loss_slice: {dimensions: 2}}'." in (
        loss_planes_figure(source, None).missing
    )
