import math

import pytest

from orchestrator.report.figures import all_figures
from orchestrator.report.figures.figure import MOST_TABLE_ROWS, Table, cell
from orchestrator.report.source import open_source


def test_tables_have_all_rows_and_pages_show_the_first():
    table = Table.of(["a"], [(number,) for number in range(500)])
    assert len(table.rows) == 500
    assert table.first == table.rows[:MOST_TABLE_ROWS]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"),
        ("", "–"),
        ("mlp", "mlp"),
        (True, "True"),
        (1024, "1024"),
        (23050, "23,050"),
        (-0.123456, "−0.1235"),
        (1e-7, "1e−07"),
        (math.inf, "∞"),
        (-math.inf, "−∞"),
        (math.nan, "NaN"),
    ],
)
def test_cells_read_as_text(value, text):
    assert cell(value) == text


def test_cells_show_as_many_digits_as_their_table_says():
    assert cell(0.12345, 2, 0.0005) == "0.12"
    assert cell(-0.0004, 2, 0.0005) == "0"
    assert cell(0.0006, 2, 0.0005) == "0.0006"


def test_every_figure_is_there_or_says_why_not(source, empty):
    for figure in all_figures(source):
        if not figure.shown:
            assert figure.key == "interventions"
            continue
        assert figure.chart is not None
        assert figure.caption
        assert figure.alternative
        assert figure.queries
        assert figure.table.rows
    with open_source(empty) as nothing:
        figures = all_figures(nothing)
    assert len(figures) == 10
    assert all(figure.chart is None and figure.missing.endswith(".") for figure in figures)
