import pytest

from orchestrator.reporting.data.queries import Query
from orchestrator.reporting.figures import FIGURES
from orchestrator.reporting.figures.figure import Figure, Table
from orchestrator.reporting.figures.report_figure import (
    REGISTERED,
    Drawn,
    Missing,
    ReportFigure,
    curves_of,
    measured,
)

QUERY = Query("one", "the number one", "SELECT 1")
TABLE = Table.of(["a"], [(1,)])


@pytest.fixture(autouse=True)
def forgotten(monkeypatch):
    """What a test registers is forgotten after it."""
    monkeypatch.setattr("orchestrator.reporting.figures.report_figure.REGISTERED", {**REGISTERED})


def test_the_order_of_the_report_is_that_of_the_places():
    argument = ["threshold", "gaps", "training", "cost", "coverage", "loss-planes"]
    assert [key for key in FIGURES if key in argument] == argument
    places = [one.place for one in FIGURES.values()]
    assert places == sorted(set(places))


def test_what_a_function_returns_gets_its_key_and_title():
    @ReportFigure("new", "A title", place=1)
    def draw(source) -> Drawn:
        return Drawn({}, TABLE, f"Caption of {source}.", "A chart.", (QUERY,))

    assert draw("it") == Figure(
        "new", "A title", "Caption of it.", "", "A chart.", (QUERY,), TABLE, {}
    )
    assert draw.__name__ == "draw"


def test_a_reason_becomes_a_missing_figure():
    @ReportFigure("new", "A title", place=1)
    def draw(hue) -> Drawn:
        raise Missing(f"There is no {hue}.", QUERY, table=TABLE, asked=False)

    assert draw("hue") == Figure(
        "new", "A title", queries=(QUERY,), table=TABLE, missing="There is no hue.", asked=False
    )


def test_a_function_is_given_what_it_names():
    one = ReportFigure("new", "A title", place=1)

    @one
    def draw(trained, source) -> Drawn:
        raise Missing(f"{source} and {trained}.")

    assert one.draw_with(source="s", hue="h", trained="t").missing == "s and t."


def test_a_key_that_is_taken_and_an_unknown_argument_are_refused():
    with pytest.raises(TypeError, match="figure 'cost': the key is taken"):
        ReportFigure("cost", "A title", place=1)(lambda source: None)
    with pytest.raises(TypeError, match="takes 'sauce', expected arguments named source, hue"):
        ReportFigure("new", "A title", place=1)(lambda sauce: None)


def test_what_no_snapshot_has_is_missing(source):
    assert measured(source, ["nonsense", "margin_mean"]) == ["margin_mean"]
    with pytest.raises(Missing, match=r"^No snapshot has a nonsense or a twaddle\.$"):
        measured(source, ["nonsense", "twaddle"])


def test_curves_that_no_final_network_has_are_missing(source, curve_source):
    assert curves_of(curve_source, "margin_distribution", "margin_quantiles").variant == "raw"
    assert curves_of(curve_source, "loss_slice", dimensions=2).variant == "dimensions=2"
    with pytest.raises(Missing, match=r"add it: measure RESULTS loss_slice\."):
        curves_of(source, "loss_slice", dimensions=1)
    with pytest.raises(Missing, match=r"RESULTS '\{loss_slice: \{dimensions: 2\}\}'\."):
        curves_of(source, "loss_slice", dimensions=2)
