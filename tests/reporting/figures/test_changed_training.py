import numpy as np
import pytest

from orchestrator.reporting.data.open_results import open_source
from orchestrator.reporting.figures.changed_training import interventions_figure
from orchestrator.reporting.page.html import render
from orchestrator.reporting.page.report import compose
from tests.reporting.claims.test_evidence import intervened
from tests.reporting.simulated import draw_only, simulate, study_content


@pytest.fixture(scope="module")
def trained_in_two_ways(tmp_path_factory):
    path = tmp_path_factory.mktemp("results") / "two_ways"
    study = study_content(claims=["flatness_is_an_epiphenomenon"])
    return simulate(path, study=study, seeds=4, change=intervened)


def test_each_way_of_training_and_all_together_are_shown(trained_in_two_ways):
    with open_source(trained_in_two_ways) as source:
        figure = interventions_figure(source)
        ((r, n),) = source.connection.sql(
            "SELECT corr(log10(hessian_trace), margin_mean), count(*) FROM wide "
            "WHERE step > 0 AND train_error <= 0.1"
        ).fetchall()
    assert [row[0] for row in figure.table.rows] == [
        "sgd",
        "sam, rho 0.05",
        "all together",
    ]
    together = figure.table.rows[-1]
    assert np.isclose(together[1], r, atol=1e-12)
    assert together[4] == n
    points = figure.chart["concat"][0]["data"]["values"]
    assert len(points) == n
    assert {point["way"] for point in points} == {"sgd", "sam, rho 0.05"}
    assert "if the margin determined the flatness" in figure.caption.lower()


def test_the_figure_stands_in_the_section_of_its_claim(trained_in_two_ways, monkeypatch):
    draw_only(monkeypatch, interventions_figure)
    with open_source(trained_in_two_ways) as source:
        page = compose(source)
    (judged,) = page.claims
    assert judged.figure == "interventions"
    section = render(page).partition(f'<section class="claim" id="claim-{judged.claim.name}">')[2]
    assert 'id="figure-interventions"' in section.partition("</section>")[0]


def test_the_figure_is_hidden_unless_a_claim_needs_it(source, tmp_path):
    figure = interventions_figure(source)
    assert figure.missing
    assert not figure.shown
    study = study_content(claims=["flatness_is_an_epiphenomenon"])
    with open_source(simulate(tmp_path / "r", study=study)) as claimed:
        assert interventions_figure(claimed).shown


def test_a_lack_of_small_training_errors_gives_a_reason(tmp_path):
    def undertrained(rows):
        intervened(rows)
        for row in rows["checkpoints"]:
            row["train_error"] = 0.5

    with open_source(simulate(tmp_path / "r", seeds=4, change=undertrained)) as source:
        assert "at most 0.1: 0 rows" in interventions_figure(source).missing
