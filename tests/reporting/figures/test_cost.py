import pytest

from orchestrator.reporting.data.open_results import open_source
from orchestrator.reporting.figures.cost import cost_figure


def test_costs_of_requests_are_shown_beside_training(source):
    figure = cost_figure(source)
    rows = {row[0]: row[1:] for row in figure.table.rows}
    assert list(rows) == [
        "training, whole network",
        "training, one epoch",
        "evaluation, whole network",
        "hessian_spectrum(top=1)",
        "hessian_trace",
        "margin",
        "norms",
    ]
    ((middle, total, n),) = source.connection.sql(
        "SELECT median(seconds), sum(seconds), count(*) FROM measures WHERE measure = 'weight_norm'"
    ).fetchall()
    assert rows["norms"][0] == n == 96
    assert rows["norms"][2] == middle
    assert rows["norms"][4] == pytest.approx(total, rel=1e-12)
    assert rows["training, one epoch"][4] is None


def test_the_caption_compares_costs_and_names_the_largest(source):
    figure = cost_figure(source)
    assert "times as long" in figure.caption
    assert "Costliest measure: hessian_spectrum(top=1)" in figure.alternative


def test_a_study_without_measurements_gives_a_reason(empty):
    with open_source(empty) as source:
        assert "No stored measurement took any time" in cost_figure(source).missing
