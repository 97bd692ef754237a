import pytest

from orchestrator.reporting.data.open_results import open_source
from orchestrator.reporting.figures.compared_threshold import compared_threshold_figure
from orchestrator.reporting.figures.threshold import threshold_figure
from tests.reporting.simulated import simulate


@pytest.fixture(scope="module")
def second(tmp_path_factory):
    path = simulate(tmp_path_factory.mktemp("second") / "r", learning_rates=[0.1], seeds=2)
    with open_source(path) as opened:
        yield opened


def test_each_study_has_one_line_with_the_numbers_of_its_own_report(source, second):
    figure = compared_threshold_figure({"one": source, "two": second})
    for name, alone in (("one", source), ("two", second)):
        expected = [
            row[1:] for row in threshold_figure(alone).table.rows if row[0] == "Hessian trace"
        ]
        assert [row[1:] for row in figure.table.rows if row[0] == name] == expected
    color = figure.chart["concat"][0]["layer"][1]["encoding"]["color"]
    assert color["scale"]["domain"] == ["one", "two"]
    assert len(set(color["scale"]["range"])) == 2
    marks = [layer["mark"]["type"] for layer in figure.chart["concat"][0]["layer"]]
    assert "text" not in marks
    assert "At the tightest threshold: one −0.80 [−0.96, −0.25] at 0.005 (14" in figure.caption


def test_studies_without_a_line_are_named(source, empty, without_trace):
    with open_source(without_trace) as plain:
        figure = compared_threshold_figure({"one": source, "plain": plain})
        assert "Not shown for lack of snapshots: plain" in figure.caption
        assert {row[0] for row in figure.table.rows} == {"one"}
        assert compared_threshold_figure({"plain": plain}).chart is None
    with open_source(empty) as nothing:
        assert compared_threshold_figure({"none": nothing}).missing.endswith(".")
