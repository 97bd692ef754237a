"""Where each figure of the report stands."""

from orchestrator.reporting.claims.evidence import Judged
from orchestrator.reporting.data.queries import Query
from orchestrator.reporting.figures import Figure
from orchestrator.reporting.page.arrangement import arrange
from orchestrator.statistics import Claim, Estimate


def judged(name, figure):
    estimate = Estimate(0.5, 0.4, 0.6, 0.95, 9, 3, 0)
    return Judged(Claim(name, "", "", estimate, 0, "holds", ""), Query("", "", ""), figure)


def drawn(key):
    return Figure(key, key, chart={"mark": "point"})


def test_every_shown_figure_stands_in_exactly_one_section():
    keys = ["threshold", "flatness-margin", "gaps", "coverage", "cost"]
    arranged = arrange(
        [*map(drawn, keys), Figure("loss-planes", "", missing="not asked", asked=False)],
        [judged("one", "gaps"), judged("two", "gaps"), judged("three", "fragility")],
    )
    assert arranged.headline.key == "flatness-margin"
    assert {name: figure.key for name, figure in arranged.of_claims.items()} == {"one": "gaps"}
    assert [figure.key for figure in arranged.others] == ["threshold", "cost"]
    assert [figure.key for figure in arranged.limits] == ["coverage"]
    assert sorted(figure.key for figure in arranged.in_order) == sorted(keys)


def test_a_headline_that_cannot_be_drawn_is_explained_among_the_others():
    arranged = arrange([Figure("flatness-margin", "", missing="no trace")], [])
    assert arranged.headline is None
    assert [figure.key for figure in arranged.others] == ["flatness-margin"]
