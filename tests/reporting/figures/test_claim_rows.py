"""Figures of claims that a study states itself."""

import math

import pytest

from orchestrator.reporting.claims.evidence import judge_claims
from orchestrator.reporting.data.open_results import open_source
from orchestrator.reporting.figures.claim_rows import MOST_POINTS, stated_claim_figures
from tests.reporting.simulated import simulate, study_content


def stated(**changes):
    claim = {"name": "mine", "statement": "It falls", "x": "margin_mean", "y": "hessian_trace"}
    return claim | {"below": 0} | changes


def figures(tmp_path, *claims, **options):
    path = simulate(tmp_path / "r", study=study_content(claims=list(claims)), **options)
    with open_source(path) as source:
        return stated_claim_figures(source, judge_claims(source)), source


def points(figure):
    layers = figure.chart.get("layer", [figure.chart])
    return layers[0]["data"]["values"]


def test_every_row_of_the_query_is_a_point(tmp_path):
    (figure,), _ = figures(tmp_path, "margin_is_cheaper", stated(log=["hessian_trace"]))
    assert (figure.key, figure.title) == ("claim-mine", "hessian_trace against margin_mean")
    assert len(points(figure)) == len(figure.table.rows) == 96
    assert figure.table.columns == ("trial", "condition", "margin_mean", "hessian_trace")
    encoding = figure.chart["encoding"]
    assert encoding["y"]["scale"]["type"] == "log"
    assert "type" not in encoding["x"]["scale"]
    assert "Kendall τ_b between margin_mean and log10 hessian_trace" in figure.caption
    shown = {(row["x"], row["y"]) for row in points(figure)}
    assert {(float(f"{x:.6g}"), float(f"{y:.6g}")) for *_, x, y in figure.table.rows} == shown


def test_matched_networks_are_coloured_by_their_training_loss(tmp_path):
    (figure,), _ = figures(tmp_path, stated(design="matched_loss"))
    assert figure.chart["encoding"]["color"]["title"] == "training loss"
    assert {row["stage"] for row in points(figure)} == {"0.1", "0.5"}
    assert figure.table.columns[-1] == "training loss"


def test_a_mean_is_drawn_condition_by_condition_beside_its_threshold(tmp_path):
    claim = stated(y="", x="test_error", statistic="mean", below=0.5, design="final")
    (figure,), _ = figures(tmp_path, claim)
    means = {}
    for row in points(figure):
        means.setdefault(row["place"], []).append(row["x"])
    sizes = [math.fsum(means[place]) / len(means[place]) for place in sorted(means)]
    assert len(means) == 4
    assert sizes == sorted(sizes)
    assert figure.chart["layer"][1]["data"]["values"] == [{"threshold": 0.5}]


def test_rows_that_an_axis_cannot_show_are_counted(tmp_path):
    def spoil(rows):
        traces = [row for row in rows["measures"] if row["measure"] == "hessian_trace"]
        traces[20]["value"] = -0.5
        traces[21] |= {"value": math.nan, "status": "nonfinite", "error": "no"}

    (figure,), _ = figures(tmp_path, stated(log=["hessian_trace"]), change=spoil)
    assert len(points(figure)) == 94
    assert "Not drawn: 2 rows with a non-finite or, on a logarithmic axis, non-posit" in (
        figure.caption
    )


def test_many_rows_are_sampled_by_whole_trials(tmp_path):
    study = study_content(claims=[stated()], seeds=40)
    path = simulate(tmp_path / "r", study=study, seeds=40)
    with open_source(path) as source:
        (figure,) = stated_claim_figures(source, judge_claims(source))
    assert len(points(figure)) == MOST_POINTS
    assert "Shown: 1,000 of 1,280 rows" in figure.caption
    assert len(figure.table.rows) == 1280
    assert len({row["trial"] for row in points(figure)}) == -(-MOST_POINTS // 8)


@pytest.mark.parametrize(
    ("claim", "why"),
    [
        (stated(y="nowhere"), "The rows of the claim cannot be read"),
        (stated(query="SELECT 1 AS x"), "The rows of the claim cannot be read"),
        (stated(query="SELEKT"), "The rows of the claim cannot be read"),
        (stated(where="step < 0 AND step > 0"), "No row has finite values."),
        (stated(x="model"), "The rows of the claim cannot be read"),
    ],
)
def test_a_claim_without_readable_rows_has_a_reason_instead(tmp_path, claim, why):
    (figure,), _ = figures(tmp_path, claim)
    assert figure.chart is None
    assert figure.missing.startswith(why)
    assert figure.queries
