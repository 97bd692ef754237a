import numpy as np
import pytest
from scipy import stats

from orchestrator.report.predictors import as_tau, ceilings, rank, trained_networks
from orchestrator.report.source import open_source
from tests.report.simulated import simulate


@pytest.fixture(scope="module")
def trained(source):
    return trained_networks(source)


def test_one_row_a_trained_network_with_every_measure_that_varies(trained):
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


def test_ranks_with_p_values_adjusted_for_all_of_them(trained):
    found = rank(trained)
    assert len(found) == 10
    for one in found:
        x, y = trained.rows.floats(one.predictor.column), trained.rows.floats(one.gap)
        assert one.tau.value == pytest.approx(stats.kendalltau(x, y).statistic)
        if one.predictor.column == "weight_norm":  # Every resample ranks perfectly.
            assert (one.tau.p_value, one.holm, one.fdr) == (None, None, None)
        else:
            assert one.tau.p_value <= one.fdr <= one.holm <= 1
    smallest = min(one.tau.p_value for one in found if one.tau.p_value is not None)
    assert min(one.holm for one in found if one.holm is not None) == pytest.approx(8 * smallest)


def test_ceilings_come_from_the_seeds(trained):
    for gap, limit in ceilings(trained).items():
        assert 0 <= limit.correlation.value <= 1
        assert limit.reliability.n == 12
        assert gap in ("loss_gap", "error_gap")


def test_the_tau_of_a_normal_pair():
    generator = np.random.default_rng(0)
    x = generator.normal(size=4000)
    y = 0.6 * x + 0.8 * generator.normal(size=4000)
    assert as_tau(0.6) == pytest.approx(stats.kendalltau(x, y).statistic, abs=0.02)
    assert (as_tau(1.0), as_tau(0.0), as_tau(1 + 1e-12)) == (1, 0, 1)


def test_without_trained_networks_nothing_ranks(empty):
    with open_source(empty) as source:
        trained = trained_networks(source)
    assert (len(trained.rows), trained.predictors, trained.axes) == (0, (), {})
    assert rank(trained) == []


def test_constant_measures_rank_nothing(tmp_path):
    def flatten(rows):
        for row in rows["measures"]:
            if row["measure"] == "weight_norm":
                row["value"] = 3.0

    with open_source(simulate(tmp_path / "r", change=flatten)) as source:
        columns = [one.column for one in trained_networks(source).predictors]
    assert "weight_norm" not in columns
