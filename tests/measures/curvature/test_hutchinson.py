import doctest
from itertools import product

import numpy as np
import pytest
import torch
from scipy import stats

from orchestrator.measures.curvature import hutchinson as module
from orchestrator.measures.curvature.hutchinson import (
    carried_by_few,
    hutchinson,
    probe_mean,
    probe_means,
    stated_error,
)
from orchestrator.measures.symmetric_operator import SymmetricOperator
from tests.binomial import assert_covers, with_simulations


def symmetric(dimension, seed=0):
    matrix = torch.randn(dimension, dimension, generator=torch.Generator().manual_seed(seed))
    return (matrix + matrix.T).double()


def spread_spectrum(dimension=50, seed=0):
    """Five large eigenvalues over a bulk that fades to zero, in random directions."""
    random = np.random.default_rng(seed)
    values = np.concatenate([np.linspace(3, 1, 5), np.linspace(0.3, 0, dimension - 5)])
    rotation, _ = np.linalg.qr(random.normal(size=(dimension, dimension)))
    return torch.from_numpy(rotation @ np.diag(values) @ rotation.T)


def signs(dimension, seed, index):
    generator = torch.Generator().manual_seed(1000 * seed + index)
    return torch.randint(0, 2, (dimension,), generator=generator).double() * 2 - 1


def test_the_example_in_the_docstring_runs():
    assert doctest.testmod(module).failed == 0


@pytest.mark.parametrize("seed", range(3))
def test_mean_and_variance_over_all_possible_probes_are_exact(seed):
    matrix = symmetric(6, seed)
    every = torch.tensor(list(product([-1.0, 1.0], repeat=6)), dtype=torch.float64)
    found = hutchinson(matrix, lambda index: every[index], probes=len(every))
    variance = 2 * (matrix.square().sum() - matrix.diagonal().square().sum())
    assert found.value == pytest.approx(matrix.trace().item(), abs=1e-12)
    # The sample variance divides by n − 1 what the population divides by n.
    error = found.standard_error / stated_error(1.0, len(every) - 1)
    population = error**2 * (len(every) - 1)
    assert population == pytest.approx(variance.item(), rel=1e-12)


def test_the_variance_formula_agrees_with_sampling():
    matrix = spread_spectrum()
    found = hutchinson(matrix, lambda index: signs(50, 1, index), probes=4000)
    variance = 2 * (matrix.square().sum() - matrix.diagonal().square().sum()).item()
    assert found.standard_error**2 * 4000 == pytest.approx(variance, rel=0.1)
    assert abs(found.value - matrix.trace()) < 4 * found.standard_error


@with_simulations(100, 2000)
@pytest.mark.parametrize("relative_error", [0.0, 0.03])
def test_intervals_cover_the_trace(relative_error, simulations):
    matrix = spread_spectrum()
    truth = matrix.trace().item()
    covered, used = [], []
    for seed in range(simulations):
        found = hutchinson(
            matrix,
            lambda index, seed=seed: signs(50, seed, index),
            probes=64 if relative_error == 0 else 256,
            relative_error=relative_error,
        )
        covered.append(abs(found.value - truth) <= 1.96 * found.standard_error)
        used.append(found.probes)
    assert_covers(sum(covered), simulations)
    # With a stopping rule the intervals above are those of runs of different lengths.
    assert (len(set(used)) > 1) == (relative_error > 0)


def test_sampling_stops_at_a_doubling_once_precise_enough():
    matrix = spread_spectrum()
    found = [
        hutchinson(matrix, lambda i: signs(50, 0, i), probes=300, relative_error=error)
        for error in (0.2, 0.1, 0.05, 0.025, 1e-6)
    ]
    assert [estimate.probes for estimate in found] == sorted(e.probes for e in found)
    assert {estimate.probes for estimate in found} <= {16, 32, 64, 128, 256, 300}
    assert found[0].probes == 16
    assert found[-1].probes == 300
    for estimate, error in zip(found[:-1], (0.2, 0.1, 0.05, 0.025), strict=True):
        assert estimate.standard_error <= error * abs(estimate.value)


def test_a_diagonal_matrix_needs_only_the_fewest_probes():
    matrix = torch.diag(torch.arange(5.0))
    found = hutchinson(matrix, lambda i: signs(5, 0, i).float(), probes=100)
    assert (found.value, found.standard_error, found.probes) == (10.0, 0.0, 16)


def test_fewer_probes_than_the_first_check_are_all_used():
    found = hutchinson(symmetric(4), lambda i: signs(4, 0, i), probes=3, relative_error=1e9)
    assert found.probes == 3


@pytest.mark.parametrize("broken", [float("nan"), float("inf")])
def test_nonfinite_products_end_sampling_with_nan(broken):
    def matvec(vector):
        return vector * broken if vector[0] > 0 else vector

    found = hutchinson(SymmetricOperator(matvec, 4), lambda i: signs(4, 0, i), probes=50)
    assert np.isnan(found.value)
    assert np.isnan(found.standard_error)
    assert found.probes < 50


def test_a_single_probe_is_refused():
    with pytest.raises(ValueError, match="at least 2 probes, got 1"):
        hutchinson(symmetric(3), lambda i: signs(3, 0, i), probes=1)


def test_several_means_equal_those_computed_alone():
    random = np.random.default_rng(0)
    samples = random.normal([5.0, 1.0], [0.5, 3.0], size=(256, 2))
    both = probe_means(samples.tolist().__getitem__, relative_error=0.0)
    for column, estimate in enumerate(both):
        alone = probe_mean(samples[:, column].tolist().__getitem__, relative_error=0.0)
        assert alone == estimate


def test_only_the_deciding_means_stop_the_sampling():
    random = np.random.default_rng(0)
    samples = random.normal([5.0, 1.0], [0.5, 3.0], size=(256, 2)).tolist()
    used = {
        deciding: probe_means(samples.__getitem__, relative_error=0.05, deciding=deciding)[0].probes
        for deciding in (None, 1)
    }
    assert used == {None: 256, 1: 16}


def test_one_nonfinite_number_ends_all_means():
    found = probe_means(lambda index: (1.0, float("nan") if index == 3 else 1.0))
    assert [estimate.probes for estimate in found] == [4, 4]
    assert all(np.isnan(estimate.value) for estimate in found)


@pytest.mark.parametrize("freedom", [1, 2.5, 15, 255, 1e9])
def test_an_interval_of_1_96_stated_errors_is_students(freedom):
    half = stats.norm.ppf(0.975) * stated_error(0.3, freedom)
    assert half == pytest.approx(stats.t.ppf(0.975, freedom) * 0.3, rel=1e-12)


def test_means_carried_by_few_draws_are_detected():
    generator = np.random.default_rng(0)
    heavy = [carried_by_few(np.exp(5 * generator.normal(size=64)).tolist()) for _ in range(100)]
    assert sum(heavy) >= 99
    light = [
        carried_by_few(draw(size=64).tolist())
        for draw in (generator.normal, lambda size: generator.normal(size=size) ** 2)
        for _ in range(100)
    ]
    assert sum(light) <= 6  # a χ² of 64 draws: 0.7 %
    assert not carried_by_few([0.0] * 16)
    assert carried_by_few([0.0] * 15 + [1.0])
