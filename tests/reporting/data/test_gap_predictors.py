import json

import numpy as np
import pytest
from scipy import stats

from orchestrator.reporting.data.gap_predictors import (
    GAPS,
    as_tau,
    ceilings,
    rank,
    trained_networks,
)
from orchestrator.reporting.data.open_results import open_source
from orchestrator.reporting.data.queries import CATALOG
from orchestrator.reporting.figures.by_hyperparameter import granulated_figure
from orchestrator.reporting.figures.worst_pairs import environments_figure
from tests.reporting.simulated import simulate, study_content


@pytest.fixture(scope="module")
def trained(source):
    return trained_networks(source)


def test_each_final_network_has_a_row_with_every_varying_measure(trained):
    assert len(trained.rows) == 12
    assert [(one.column, one.sign) for one in trained.predictors] == [
        ("margin_mean", -1),
        ("margin_mean_spectral", -1),
        ("hessian_eigenvalue_1", 1),
        ("hessian_trace", 1),
        ("weight_norm", 1),
    ]
    assert trained.more == 0
    assert list(trained.axes) == ["batch size"]
    assert sorted(set(trained.axes["batch size"])) == ["1024", "16", "256", "64"]


def test_values_of_custom_functions_are_shown_without_a_catalog_entry(tmp_path):
    def own(rows):
        rows["measures"] = [
            {**row, "measure": "mine", "split": None} if row["measure"] == "weight_norm" else row
            for row in rows["measures"]
        ]

    with open_source(simulate(tmp_path / "r", change=own)) as source:
        trained = trained_networks(source)
        (mine,) = (one for one in trained.predictors if one.column == "mine")
        assert (mine.family, mine.sign, mine.directed) == ("own", 1, False)
        assert "mine" in {one.predictor.column for one in rank(trained)}
        figure = granulated_figure(trained)
        assert "No order is expected of mine: signs are as measured." in figure.caption
        assert "mine" in {row[0] for row in figure.table.rows}
        # Nothing can be the wrong way round where no way is expected.
        assert "mine" not in {row[0] for row in environments_figure(source, trained).table.rows}
        assert ("mine", "own") in [row[:2] for row in source.rows(CATALOG).tuples()]


def test_ranks_have_p_values_adjusted_for_all_measures(trained):
    found = rank(trained)
    assert [(one.predictor.column, one.gap) for one in found] == [
        (predictor.column, gap) for predictor in trained.predictors for gap in GAPS
    ]
    for one in found:
        x, y = trained.rows.floats(one.predictor.column), trained.rows.floats(one.gap)
        assert one.tau.value == pytest.approx(stats.kendalltau(x, y).statistic)
        if one.predictor.column == "weight_norm":  # Every resample ranks perfectly.
            assert (one.tau.p_value, one.holm, one.fdr) == (None, None, None)
        else:
            assert one.tau.p_value <= one.fdr <= one.holm <= 1
    smallest = min(one.tau.p_value for one in found if one.tau.p_value is not None)
    assert min(one.holm for one in found if one.holm is not None) == pytest.approx(8 * smallest)


def test_ceilings_are_computed_from_the_seeds(trained):
    for gap, limit in ceilings(trained).items():
        assert 0 <= limit.correlation.value <= 1
        assert limit.reliability.n == 12
        assert gap in ("loss_gap", "error_gap")


def test_the_tau_of_a_normal_pair_follows_from_its_correlation():
    generator = np.random.default_rng(0)
    x = generator.normal(size=4000)
    y = 0.6 * x + 0.8 * generator.normal(size=4000)
    assert as_tau(0.6) == pytest.approx(stats.kendalltau(x, y).statistic, abs=0.02)
    assert (as_tau(1.0), as_tau(0.0), as_tau(1 + 1e-12)) == (1, 0, 1)


def test_without_final_networks_nothing_is_ranked(empty):
    with open_source(empty) as source:
        trained = trained_networks(source)
    assert (len(trained.rows), trained.predictors, trained.axes) == (0, (), {})
    assert rank(trained) == []


def test_an_exact_value_and_its_estimate_are_one_measure(tmp_path):
    def estimated(rows):
        exact = [row for row in rows["measures"] if row["measure"] == "hessian_trace"]
        rows["measures"] += [
            {**row, "variant": "hutchinson", "request": "hessian_trace(probes=2)"} for row in exact
        ]

    with open_source(simulate(tmp_path / "r", change=estimated)) as source:
        columns = [one.column for one in trained_networks(source).predictors]
    assert columns.count("hessian_trace") == 1


def test_a_swept_optimizer_is_one_axis(tmp_path):
    """Two optimizers of one name: their column alone would not tell conditions apart."""
    plain = {"name": "sgd", "learning_rate": 0.05}
    study = study_content(sweep={"training.optimizer": [plain, {**plain, "weight_decay": 0.1}]})

    def decayed(rows):
        for trial in rows["trials"]:
            decay = 0.1 if trial["batch_size"] == 64 else 0.0
            trial["condition_id"] = f"decay{decay:g}"
            optimizer = {**plain, "weight_decay": decay}
            trial["params_json"] = json.dumps({"training": {"optimizer": optimizer}})
            trial |= {"batch_size": 16, "optimizer": "sgd", "weight_decay": decay}

    path = simulate(tmp_path / "r", study=study, batch_sizes=[16, 64], change=decayed)
    with open_source(path) as source:
        trained = trained_networks(source)
    assert trained.axes == {"optimizer": ("0",) * 3 + ("0.1",) * 3}
    assert trained.grid.axes == ("optimizer",)


def test_conditions_that_the_grid_cannot_distinguish_form_no_grid(tmp_path):
    def other(rows):
        rows["trials"][0]["condition_id"] = "another"

    with open_source(simulate(tmp_path / "r", change=other)) as source:
        trained = trained_networks(source)
        assert trained.grid is None
        assert granulated_figure(trained).chart is None
        assert environments_figure(source, trained).chart is None


def test_constant_measures_are_not_ranked(tmp_path):
    def flatten(rows):
        for row in rows["measures"]:
            if row["measure"] == "weight_norm":
                row["value"] = 3.0

    with open_source(simulate(tmp_path / "r", change=flatten)) as source:
        columns = [one.column for one in trained_networks(source).predictors]
    assert "weight_norm" not in columns
