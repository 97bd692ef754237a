import math

import numpy as np
import pytest
import torch
from torch import nn

from orchestrator.errors import MeasureError
from orchestrator.measures.base import Curve
from orchestrator.measures.context import MeasureContext
from orchestrator.measures.curvature.hessian_spectral_density import (
    HessianSpectralDensity,
    spectral_quadratures,
)
from orchestrator.measures.curvature.hessian_trace import HessianTrace
from orchestrator.study.measure_options.curvature import (
    HessianSpectralDensityOptions,
    HessianTraceOptions,
)
from tests.binomial import assert_at_least, assert_covers, with_simulations
from tests.measures.cases import CROSS_ENTROPY, case, mlp, random_dataset
from tests.measures.curvature.learned import learned_context
from tests.measures.references import dense_hessian


def measured(context, **options):
    options = HessianSpectralDensityOptions(name="hessian_spectral_density", **options)
    return list(HessianSpectralDensity(options).compute(context))


def values_of(context, **options):
    return {v.measure: v for v in measured(context, **options) if not isinstance(v, Curve)}


@pytest.mark.parametrize("name", ["mlp", "tanh", "cnn", "tied", "unused_parameter"])
def test_moments_and_rank_are_within_errors_of_the_dense_ones(name):
    context = case(name).context()
    eigenvalues = torch.linalg.eigvalsh(dense_hessian(context))
    found = values_of(context, probes=32, iterations=10)
    for order in range(1, 5):
        value = found[f"hessian_spectral_moment_{order}"]
        expected = (eigenvalues**order).mean().item()
        assert abs(value.value - expected) < 4 * value.standard_error
    rank = found["hessian_effective_rank"]
    expected = (eigenvalues.sum() ** 2 / eigenvalues.square().sum()).item()
    assert abs(rank.value - expected) < 4 * rank.standard_error


def test_moments_are_means_over_the_probes():
    """vᵀHᵏv / P for each probe, and their mean and spread."""
    context = case("tanh").context()
    hessian = dense_hessian(context)
    found = values_of(context, probes=5)
    for order in range(1, 5):
        power = torch.linalg.matrix_power(hessian, order)
        forms = [
            (context.probe(i) @ power @ context.probe(i)).item() / context.n_parameters
            for i in range(5)
        ]
        value = found[f"hessian_spectral_moment_{order}"]
        assert value.value == pytest.approx(np.mean(forms), rel=1e-10)
        square = torch.linalg.matrix_power(hessian, 2 * order)
        seconds = [
            (context.probe(i) @ square @ context.probe(i)).item() / context.n_parameters
            for i in range(5)
        ]
        variance = 2 * (np.mean(seconds) - np.mean(forms) ** 2) / context.n_parameters
        assert value.standard_error == pytest.approx((variance / 5) ** 0.5, rel=1e-9)


def test_the_first_moment_is_the_trace_of_the_same_probes():
    context = case("tanh").context()
    options = HessianTraceOptions(
        name="hessian_trace", method="hutchinson", probes=16, relative_error=1e-9
    )
    (trace,) = HessianTrace(options).compute(context)
    moment = values_of(context, probes=16)["hessian_spectral_moment_1"]
    assert moment.value * context.n_parameters == pytest.approx(trace.value, rel=1e-10)
    assert moment.standard_error * context.n_parameters == pytest.approx(
        trace.standard_error, rel=0.5
    )


def test_the_curve_is_the_smoothed_spectrum():
    context = case("mlp").context()
    eigenvalues = torch.linalg.eigvalsh(dense_hessian(context))
    (curve,) = (v for v in measured(context, probes=16, width=0.05) if isinstance(v, Curve))
    grid = torch.tensor(curve.x, dtype=torch.float64)
    width = 0.05 * (eigenvalues[-1] - eigenvalues[0])
    expected = (-0.5 * ((grid[:, None] - eigenvalues) / width) ** 2).exp().mean(1)
    expected /= width * (2 * math.pi) ** 0.5
    errors = torch.tensor(curve.standard_errors)
    assert len(grid) == 256
    assert (curve.split, curve.reason) == ("train", None)
    off = (torch.tensor(curve.values) - expected).abs()
    assert (off < 4 * errors + 0.01 * expected.max()).all()


class Negated:
    def per_example(self, logits, labels):
        return -CROSS_ENTROPY.per_example(logits, labels)


def test_negating_the_loss_mirrors_the_density():
    model, data = mlp(5, 6, 3), random_dataset((5,), 9, 3)
    plus, minus = (
        measured(MeasureContext(model, data, loss)) for loss in (CROSS_ENTROPY, Negated())
    )
    for order, (one, other) in enumerate(zip(plus[:4], minus[:4], strict=True), 1):
        assert other.value == pytest.approx((-1) ** order * one.value, rel=1e-9)
    assert minus[4].value == pytest.approx(plus[4].value, rel=1e-9)
    assert minus[5].x == pytest.approx([-x for x in reversed(plus[5].x)], abs=1e-9)
    assert minus[5].values == pytest.approx(list(reversed(plus[5].values)), rel=1e-6, abs=1e-9)


def test_the_effective_rank_ignores_the_scale_of_the_loss():
    class Scaled:
        def per_example(self, logits, labels):
            return 1e-4 * CROSS_ENTROPY.per_example(logits, labels)

    model, data = mlp(5, 6, 3), random_dataset((5,), 9, 3)
    one, other = (
        values_of(MeasureContext(model, data, loss))["hessian_effective_rank"]
        for loss in (CROSS_ENTROPY, Scaled())
    )
    assert other.value == pytest.approx(one.value, rel=1e-9)
    assert other.standard_error == pytest.approx(one.standard_error, rel=1e-9)


@with_simulations(40, 2000)
@pytest.mark.parametrize("activation", [nn.ReLU, nn.Tanh])
def test_intervals_cover_the_moments_and_the_rank(activation, simulations):
    """With the default number of probes."""
    context = learned_context(activation)
    hessian = dense_hessian(context)
    eigenvalues = torch.linalg.eigvalsh(hessian)
    truth = {
        **{f"hessian_spectral_moment_{k}": (eigenvalues**k).mean().item() for k in range(1, 5)},
        "hessian_effective_rank": (eigenvalues.sum() ** 2 / eigenvalues.square().sum()).item(),
    }
    context.hessian_vector_product = hessian.mv  # the same, for less
    covered = dict.fromkeys(truth, 0)
    for seed in range(simulations):
        context.seed = seed
        context.shared = lambda key, compute: compute()
        found = values_of(context, iterations=5)
        for name, expected in truth.items():
            value = found[name]
            covered[name] += abs(value.value - expected) <= 1.96 * value.standard_error
    for name, hits in covered.items():
        assert_covers(hits, simulations, what=name)


@with_simulations(20, 2000)
@pytest.mark.parametrize("activation", [nn.ReLU, nn.Tanh])
def test_intervals_cover_the_density(activation, simulations):
    """On average over where it is not next to nothing.

    A mean of shares varies less than as many single hits: the test then fails more rarely still.
    """
    context, width = learned_context(activation), 0.1
    hessian = dense_hessian(context)
    eigenvalues = torch.linalg.eigvalsh(hessian)
    context.hessian_vector_product = hessian.mv  # the same, for less
    covered = []
    for seed in range(simulations):
        context.seed = seed
        context.shared = lambda key, compute: compute()
        curve = measured(context, width=width, grid_points=64)[-1]
        grid = torch.tensor(curve.x, dtype=torch.float64)
        sigma = width * (grid[-1] - grid[0]) / (1 + 10 * width)
        expected = (-0.5 * ((grid[:, None] - eigenvalues) / sigma) ** 2).exp().mean(1)
        expected /= sigma * (2 * math.pi) ** 0.5
        errors = torch.tensor(curve.standard_errors)
        within = (torch.tensor(curve.values) - expected).abs() <= 1.96 * errors
        covered.append(within[expected > 0.01 * expected.max()].double().mean().item())
    assert_covers(round(sum(covered)), simulations)


@with_simulations(40, 2000)
def test_intervals_cover_the_rank_even_if_the_trace_cancels(simulations):
    """Of an untrained network the mean eigenvalue may be anything around zero."""
    context = case("tanh").context()
    hessian = dense_hessian(context)
    truth = (hessian.trace() ** 2 / hessian.square().sum()).item()
    context.hessian_vector_product = hessian.mv
    covered = 0
    for seed in range(simulations):
        context.seed = seed
        context.shared = lambda key, compute: compute()
        value = values_of(context, probes=32, iterations=3, moments=2)["hessian_effective_rank"]
        covered += abs(value.value - truth) <= 1.96 * value.standard_error
    assert_at_least(0.95, covered, simulations)


def test_the_size_of_passes_does_not_change_the_moments():
    one, other = (
        values_of(case("cnn").context(examples_per_pass=size), probes=3, iterations=5)
        for size in (4, 1000)
    )
    for name, value in one.items():
        assert value.value == pytest.approx(other[name].value, rel=1e-9)


def test_moments_in_single_precision_agree_with_double():
    double, single = (
        values_of(case("cnn").context(dtype=dtype), probes=3)
        for dtype in (torch.float64, torch.float32)
    )
    for name, value in double.items():
        assert single[name].value == pytest.approx(value.value, rel=1e-4)


def test_a_spectrum_of_zeros_has_neither_rank_nor_density():
    found = measured(case("certain").context())
    assert [value.value for value in found[:4]] == [0, 0, 0, 0]
    assert math.isnan(found[4].value)
    assert found[4].reason == "all eigenvalues are zero"
    assert (found[5].x, found[5].reason) == (
        [0.0],
        "all eigenvalues are 0: a single point has no density",
    )
    assert math.isnan(found[5].values[0])


def test_a_network_that_diverged_gives_a_reason():
    network = mlp(5, 4, 3)
    nn.init.constant_(network[0].bias, math.nan)
    found = measured(MeasureContext(network, random_dataset((5,), 6, 3), CROSS_ENTROPY))
    assert len(found) == 6
    for value in found:
        numbers = value.values if isinstance(value, Curve) else [value.value]
        assert all(map(math.isnan, numbers))
        assert "is not finite" in value.reason


def test_equal_requests_share_one_lanczos_run():
    context = case("mlp").context()
    first = spectral_quadratures(context, probes=3, iterations=4)
    context.hessian_vector_product = None
    assert all(
        one is other
        for one, other in zip(
            first, spectral_quadratures(context, probes=3, iterations=4), strict=True
        )
    )


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"probes": 1}, "no standard error"),
        ({"iterations": 2, "moments": 4}, "up to order 1, got moments: 4"),
        ({"grid_points": 50}, "50 points have a spacing"),
        ({"width": 0.001}, "too coarse for Gaussians of width 0.001"),
    ],
)
def test_impossible_options_are_refused(options, match):
    with pytest.raises(MeasureError, match=match):
        measured(case("mlp").context(), **options)


def test_following_the_hint_for_the_grid_suffices():
    with pytest.raises(MeasureError) as error:
        measured(case("mlp").context(), grid_points=50)
    points = int(error.value.hint.split()[-1])
    assert measured(case("mlp").context(), grid_points=points)
