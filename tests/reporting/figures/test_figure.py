import math

import pytest

from orchestrator.reporting.data.open_results import open_source
from orchestrator.reporting.figures import FIGURES, all_figures
from orchestrator.reporting.figures.figure import MOST_TABLE_ROWS, Table, cell
from tests.reporting.simulated import simulate, study_content
from tests.reporting.test_random_results import check_chart


def test_tables_contain_all_rows_and_pages_show_the_first():
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
def test_cells_are_formatted_as_text(value, text):
    assert cell(value) == text


def test_cells_show_as_many_digits_as_their_table_states():
    assert cell(0.12345, 2, 0.0005) == "0.12"
    assert cell(-0.0004, 2, 0.0005) == "0"
    assert cell(0.0006, 2, 0.0005) == "0.0006"


ON_THE_END = "Magnitudes below 1e-300 or above 1e+300 are drawn at the end of the axis."

OF_REQUESTS = [key for key, one in FIGURES.items() if one.request]


def test_figures_of_a_request_are_shown_only_if_it_was_made(curve_figures, figures, tmp_path):
    assert [figure.key for figure in curve_figures] == list(FIGURES)
    shown = [figure.key for figure in figures if figure.shown]
    further = [figure for figure in curve_figures if figure.key in OF_REQUESTS]
    assert not set(shown) & set(OF_REQUESTS)
    assert [figure.key for figure in further] == OF_REQUESTS
    for figure in further:
        check_chart(figure.chart)
        assert figure.caption
        assert figure.alternative
        assert figure.queries
        assert figure.table.rows
    study = study_content(measures=[{"name": "margin"}, {"name": "loss_slice", "dimensions": 2}])
    with open_source(simulate(tmp_path / "r", study=study, batch_sizes=[])) as opened:
        shown = {figure.key: figure.shown for figure in all_figures(opened)}
    assert [key for key in OF_REQUESTS if shown[key]] == ["loss-planes"]


def test_every_figure_is_drawn_or_gives_a_reason(figures, empty):
    assert [figure.key for figure in figures] == list(FIGURES)
    for figure in figures:
        if not figure.shown:
            assert figure.key in {"interventions", *OF_REQUESTS}
            continue
        check_chart(figure.chart)
        assert figure.caption
        assert figure.alternative
        assert figure.queries
        assert figure.table.rows
    with open_source(empty) as nothing:
        missing = list(all_figures(nothing))
    assert [figure.key for figure in missing] == list(FIGURES)
    assert all(figure.chart is None and figure.missing.endswith(".") for figure in missing)


def test_marks_at_the_end_of_an_axis_are_mentioned(tmp_path, figures):
    def one_huge(rows):
        traces = [row for row in rows["measures"] if row["measure"] == "hessian_trace"]
        traces[-1]["value"] = 1e305

    with open_source(simulate(tmp_path / "huge", change=one_huge)) as source:
        cut = [figure.key for figure in all_figures(source) if ON_THE_END in figure.caption]
    assert "flatness-margin" in cut
    assert "training" not in cut
    assert not any(ON_THE_END in figure.caption for figure in figures)
