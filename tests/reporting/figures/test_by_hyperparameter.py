import pytest
from scipy import stats

from orchestrator.reporting.data.gap_predictors import trained_networks
from orchestrator.reporting.data.open_results import open_source
from orchestrator.reporting.figures.by_hyperparameter import granulated_figure
from tests.reporting.simulated import simulate, study_content


@pytest.fixture(scope="module")
def two_axes(tmp_path_factory):
    sweep = {"training.batch_size": [16, 64, 256], "training.optimizer.learning_rate": [0.05, 0.1]}
    path = tmp_path_factory.mktemp("results") / "two_axes"
    simulate(
        path,
        study=study_content(sweep=sweep),
        batch_sizes=(16, 64, 256),
        learning_rates=(0.05, 0.1),
    )
    with open_source(path) as source:
        yield trained_networks(source)


def test_each_axis_and_their_mean_are_shown(two_axes):
    figure = granulated_figure(two_axes)
    cells = {row[:3]: row[3] for row in figure.table.rows}
    for measure in ("margin_mean", "hessian_trace"):
        psi = [cells[measure, "loss gap", axis] for axis in ("batch size", "learning rate")]
        assert cells[measure, "loss gap", "Ψ, mean"] == pytest.approx(sum(psi) / 2)
    assert len(cells) == 4 * 2 * len(two_axes.predictors)


def test_conditional_information_is_shown_beside_shuffled_measures(two_axes):
    rows = [row for row in granulated_figure(two_axes).table.rows if row[2] == "K, information"]
    assert len(rows) == 2 * len(two_axes.predictors)
    for row in rows:
        assert 0 <= row[3] <= 1 + 1e-9
        assert row[8].startswith("shuffled: mean ")


def test_psi_is_the_mean_tau_over_groups_of_conditions(two_axes):
    figure = granulated_figure(two_axes)
    cells = {row[:3]: row[3] for row in figure.table.rows}
    rows = two_axes.rows
    means = {}
    for batch, rate, margin, gap in zip(
        two_axes.axes["batch size"],
        two_axes.axes["learning rate"],
        rows["margin_mean"],
        rows["error_gap"],
        strict=True,
    ):
        means.setdefault((rate, batch), []).append((margin, gap))
    taus = []
    for rate in ("0.05", "0.1"):
        points = [
            [sum(column) / len(column) for column in zip(*means[rate, batch], strict=True)]
            for batch in ("16", "64", "256")
        ]
        x, y = zip(*points, strict=True)
        taus.append(-stats.kendalltau(x, y).statistic)  # Larger margins, smaller gaps.
    assert cells["margin_mean", "error gap", "batch size"] == pytest.approx(sum(taus) / 2)


def test_a_single_axis_has_no_mean(source):
    figure = granulated_figure(trained_networks(source))
    scale = figure.chart["layer"][0]["encoding"]["x"]["scale"]
    assert scale["domain"] == ["loss gap: batch size", "error gap: batch size"]


def test_an_incomplete_grid_is_reported(tmp_path):
    def remove(rows):
        gone = {
            r["trial_id"]
            for r in rows["trials"]
            if r["batch_size"] == 16 and r["learning_rate"] == 0.1
        }
        for table in rows:
            rows[table] = [row for row in rows[table] if row["trial_id"] not in gone]

    sweep = {"training.batch_size": [16, 64, 256], "training.optimizer.learning_rate": [0.05, 0.1]}
    path = simulate(
        tmp_path / "r",
        study=study_content(sweep=sweep),
        batch_sizes=(16, 64, 256),
        learning_rates=(0.05, 0.1),
        change=remove,
    )
    with open_source(path) as source:
        figure = granulated_figure(trained_networks(source))
    assert "The grid lacks 1 combination of levels" in figure.caption
    singles = {row[7] for row in figure.table.rows if row[2] == "learning rate"}
    assert singles == {1}


def test_a_study_without_variation_gives_a_reason(without_trace):
    with open_source(without_trace) as source:
        assert (
            "differ in the swept hyperparameters"
            in granulated_figure(trained_networks(source)).missing
        )
