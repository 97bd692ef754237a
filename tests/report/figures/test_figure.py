from orchestrator.report.figures import all_figures
from orchestrator.report.figures.figure import MOST_TABLE_ROWS, Table
from orchestrator.report.source import open_source


def test_tables_are_bounded_and_say_how_many_rows_there_are():
    table = Table.of(["a"], [(number,) for number in range(500)])
    assert len(table.rows) == MOST_TABLE_ROWS
    assert table.total == 500


def test_every_figure_is_there_or_says_why_not(source, empty):
    for figure in all_figures(source):
        assert figure.chart is not None
        assert figure.caption
        assert figure.alternative
        assert figure.queries
        assert figure.table.rows
    with open_source(empty) as nothing:
        figures = all_figures(nothing)
    assert len(figures) == 9
    assert all(figure.chart is None and figure.missing.endswith(".") for figure in figures)
