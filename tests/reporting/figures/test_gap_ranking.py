import pytest

from orchestrator.reporting.data.gap_predictors import as_tau, ceilings, trained_networks
from orchestrator.reporting.data.open_results import open_source
from orchestrator.reporting.figures.gap_ranking import predictors_figure
from tests.reporting.simulated import simulate


def test_every_measure_is_ranked_with_both_gaps(source):
    trained = trained_networks(source)
    figure = predictors_figure(trained)
    assert len(figure.table.rows) == 2 * len(trained.predictors)
    strengths = [abs(row[3]) for row in figure.table.rows]
    assert max(strengths) == max(strengths[:2])
    for _, _, gap, tau, low, high, _, _, _, n, _, reliability, _ in figure.table.rows:
        assert gap in ("loss gap", "error gap")
        assert -1 <= low <= tau <= high <= 1
        assert (n, reliability) == (12, 1)


def test_uncertain_estimates_limit_the_reachable_correlation(tmp_path):
    def uncertain(rows):
        for row in rows["measures"]:
            if row["measure"] == "hessian_trace":
                row["standard_error"] = 60.0

    with open_source(simulate(tmp_path / "r", change=uncertain)) as source:
        trained = trained_networks(source)
        figure = predictors_figure(trained)
    share = trained.reliability["hessian_trace"]
    assert 0 <= share < 0.9
    assert f"hessian_trace at most {share**0.5:.2f}" in figure.caption
    assert {row[11] for row in figure.table.rows if row[0] == "hessian_trace"} == {share}


def test_the_ceiling_is_drawn_on_both_sides(source):
    trained = trained_networks(source)
    figure = predictors_figure(trained)
    (ceiling,) = [
        layer for layer in figure.chart["layer"] if layer["mark"].get("strokeDash") == [5, 4]
    ]
    drawn = {(row["gap"], row["at"]) for row in ceiling["data"]["values"]}
    for gap, limit in ceilings(trained).items():
        reach = as_tau(limit.correlation.value)
        drawn_here = sorted(at for name, at in drawn if name == gap.replace("_", " "))
        assert drawn_here == pytest.approx([-reach, reach], rel=1e-5)
    assert "A function of hyperparameters alone could reach" in figure.caption


def test_single_seeds_have_no_ceiling_but_a_reason(tmp_path):
    path = simulate(tmp_path / "r", seeds=1, batch_sizes=[16, 32, 64, 128, 256, 512, 1024])
    with open_source(path) as source:
        figure = predictors_figure(trained_networks(source))
    assert "No noise ceiling for the loss gap: fewer than two conditions" in figure.caption
    assert all(layer["mark"].get("strokeDash") is None for layer in figure.chart["layer"])


def test_too_few_networks_give_a_reason(tmp_path):
    with open_source(simulate(tmp_path / "r", seeds=1)) as source:
        figure = predictors_figure(trained_networks(source))
    assert figure.chart is None
    assert "Fewer than 6 trained networks" in figure.missing


@pytest.mark.parametrize("word", ["Forest plot", "loss gap", "error gap"])
def test_the_alternative_text_names_chart_and_gaps(source, word):
    assert word in predictors_figure(trained_networks(source)).alternative
