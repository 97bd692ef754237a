from orchestrator.report.figures import all_figures
from orchestrator.report.figures.figure import MOST_TABLE_ROWS, Table
from orchestrator.report.source import open_source
from tests.report.simulated import simulate, study_content


def test_tables_are_bounded_and_say_how_many_rows_there_are():
    table = Table.of(["a"], [(number,) for number in range(500)])
    assert len(table.rows) == MOST_TABLE_ROWS
    assert table.total == 500


def test_figures_of_one_request_are_there_if_it_is_asked_for(curve_source, source, tmp_path):
    keys = [figure.key for figure in all_figures(curve_source)]
    assert keys[:5] == [figure.key for figure in all_figures(source)]
    assert keys[5:] == [
        *("margin-distribution", "smallest-margins", "spectral-density"),
        *("loss-slices", "loss-planes"),
    ]
    for figure in all_figures(curve_source):
        assert figure.chart is not None
        assert figure.caption
        assert figure.alternative
        assert figure.queries
        assert figure.table.rows
    study = study_content(measures=[{"name": "margin"}, {"name": "loss_slice", "dimensions": 2}])
    with open_source(simulate(tmp_path / "r", study=study)) as opened:
        *_, last = all_figures(opened)
    assert (last.key, last.chart) == ("loss-planes", None)


def test_every_figure_is_there_or_says_why_not(source, empty):
    for figure in all_figures(source):
        assert figure.chart is not None
        assert figure.caption
        assert figure.alternative
        assert figure.queries
        assert figure.table.rows
    with open_source(empty) as nothing:
        figures = all_figures(nothing)
    assert len(figures) == 5
    assert all(figure.chart is None and figure.missing.endswith(".") for figure in figures)
