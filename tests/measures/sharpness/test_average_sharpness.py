from __future__ import annotations

from math import isinf, isnan

import numpy as np
import pytest
import torch
from torch import nn

from orchestrator.errors import MeasureError
from orchestrator.measures.base import Value
from orchestrator.measures.context import MeasureContext
from orchestrator.measures.curvature.hutchinson import stated_error
from orchestrator.measures.sharpness.average_sharpness import AverageSharpness
from orchestrator.study.measure_options.sharpness import AverageSharpnessOptions
from tests.binomial import assert_covers, with_simulations
from tests.measures.cases import CROSS_ENTROPY, case, random_dataset
from tests.measures.quadratic import LinearLoss, QuadraticLoss, quadratic_context
from tests.measures.references import dense_hessian, loss_of


def measured(context: MeasureContext, **options: object) -> Value:
    measure = AverageSharpness(AverageSharpnessOptions(name="average_sharpness", **options))
    (value,) = measure.compute(context)
    return value


def draws_of(context: MeasureContext, **options: object) -> int:
    draws = []
    original = context.loss_at
    context.loss_at = lambda delta: draws.append(1) or original(delta)
    measured(context, **options)
    return len(draws)


@pytest.mark.parametrize("adaptive", [False, True])
@pytest.mark.parametrize("name", ["mlp", "cnn", "tanh"])
def test_sharpness_is_the_mean_over_antithetic_pairs_with_its_error(
    name: str, adaptive: bool
) -> None:
    context = case(name).context(examples_per_pass=4)
    theta = context.parameter_vector()
    scale = 0.05 * theta.abs() if adaptive else 0.05
    base = loss_of(context, theta)
    pairs = []
    for index in range(10):
        delta = scale * context.probe(index, "gaussian")
        pairs.append((loss_of(context, theta + delta) + loss_of(context, theta - delta)) / 2 - base)
    expected = torch.stack(pairs)
    value = measured(context, rho=0.05, adaptive=adaptive, draws=20, relative_error=0)
    assert value.variant == ("rho=0.05, adaptive" if adaptive else "rho=0.05")
    assert value.value == pytest.approx(expected.mean().item(), rel=1e-9)
    error = stated_error(expected.std().item() / 10**0.5, 9)
    assert value.standard_error == pytest.approx(error, rel=1e-7)


@with_simulations(60, 2000)
@pytest.mark.parametrize("adaptive", [False, True])
@pytest.mark.parametrize(("relative_error", "draws"), [(0.05, 64), (0.1, 400)])
def test_the_standard_error_covers_the_closed_form_of_a_quadratic_loss(
    adaptive: bool, relative_error: float, draws: int, simulations: int
) -> None:
    """E = ρ² tr H / 2, adaptive ρ² Σ θ_i² H_ii / 2; also where it stops by itself."""
    context, hessian = quadratic_context()
    theta, diagonal = context.parameter_vector(), hessian.diagonal()
    # The same numbers as the network's, without its forward passes.
    context.loss_at = lambda delta: float((theta + delta) @ hessian @ (theta + delta)) / 2
    c = theta.abs() if adaptive else torch.ones_like(theta)
    expected = 0.01**2 / 2 * (c**2 * diagonal).sum().item()
    inside, used = 0, set()
    probe = context.probe
    for seed in range(simulations):
        context.seed = seed
        count: list[int] = []
        context.probe = lambda *given, count=count: count.append(1) or probe(*given)
        value = measured(
            context, rho=0.01, adaptive=adaptive, draws=draws, relative_error=relative_error
        )
        used.add(len(count))
        inside += abs(value.value - expected) <= 1.96 * value.standard_error
    assert_covers(inside, simulations)
    assert (len(used) > 1) == (draws == 400)


def test_pairs_cancel_a_linear_loss_exactly() -> None:
    context = MeasureContext(nn.Linear(5, 3), random_dataset((5,), 9, 3), LinearLoss())
    value = measured(context, rho=1.0)
    assert abs(value.value) < 1e-14
    assert value.standard_error < 1e-14


def test_for_small_rho_sharpness_is_half_rho_squared_times_hutchinsons_trace() -> None:
    context, rho = case("tanh").context(), 1e-3
    hessian = dense_hessian(context)
    probes = [context.probe(index, "gaussian") for index in range(20)]
    expected = rho**2 / 2 * sum(v @ hessian @ v for v in probes) / 20
    value = measured(context, rho=rho, draws=40, relative_error=0)
    assert value.value == pytest.approx(expected.item(), rel=1e-4)


def test_sampling_stops_at_the_relative_error_at_a_doubling() -> None:
    context = case("mlp").context()
    assert draws_of(context, relative_error=1e9) == 32
    assert draws_of(context, relative_error=0.2, draws=4000) in {2**k for k in range(5, 12)}
    assert draws_of(context, relative_error=0, draws=50) == 50
    assert draws_of(context, relative_error=0, draws=9) == 8
    value = measured(case("mlp").context(), relative_error=0.2, draws=4000)
    assert value.standard_error <= 0.2 * abs(value.value)


def test_a_flat_loss_has_sharpness_0_with_the_fewest_draws() -> None:
    context = case("certain").context()
    assert draws_of(context) == 32
    value = measured(context)
    assert (value.value, value.standard_error) == (0, 0)


def test_every_checkpoint_uses_the_same_noise() -> None:
    subject = case("mlp")
    first = measured(subject.context(seed=1), rho=0.1)
    again = measured(subject.context(seed=1), rho=0.1)
    other = measured(subject.context(seed=2), rho=0.1)
    assert first == again
    assert first.value != other.value


@pytest.mark.parametrize("alpha", [0.2, 4.0])
def test_adaptive_sharpness_is_invariant_to_rescaling(alpha: float) -> None:
    model = case("mlp_without_bias").model().double()
    data = random_dataset((5,), 14, 3)
    before = measured(MeasureContext(model, data, CROSS_ENTROPY), adaptive=True, rho=0.1)
    with torch.no_grad():
        model[0].weight.mul_(alpha)
        model[2].weight.div_(alpha)
    after = measured(MeasureContext(model, data, CROSS_ENTROPY), adaptive=True, rho=0.1)
    assert after.value == pytest.approx(before.value, rel=1e-9)


def test_a_loss_that_overflows_is_not_averaged_away() -> None:
    context = MeasureContext(
        nn.Linear(5, 3), random_dataset((5,), 9, 3), QuadraticLoss(), dtype=torch.float32
    )
    assert draws_of(context, rho=1e30) == 2
    value = measured(context, rho=1e30)
    assert isnan(value.value)
    assert isnan(value.standard_error)
    assert value.reason == "the loss is not finite under the noise"


def test_fewer_than_two_pairs_are_refused() -> None:
    with pytest.raises(MeasureError, match="draws is 3, expected at least 4"):
        AverageSharpness(AverageSharpnessOptions(name="average_sharpness", draws=3))


@pytest.mark.parametrize("adaptive", [False, True])
def test_normalized_logits_remove_their_scale(adaptive: bool) -> None:
    model = case("mlp_without_bias").model().double()
    data = random_dataset((5,), 14, 3)

    def both() -> tuple[Value, Value]:
        context = MeasureContext(model, data, CROSS_ENTROPY)
        options = {"adaptive": adaptive, "rho": 0.05, "draws": 16}
        return measured(context, normalize_logits=True, **options), measured(context, **options)

    before = both()
    with torch.no_grad():
        model[4].weight.mul_(8)
    after = both()
    assert before[0].variant == before[1].variant + ", normalized_logits"
    assert before[0].value > 0
    if adaptive:
        assert after[0].value == pytest.approx(before[0].value, rel=1e-9)
    assert after[1].value != pytest.approx(before[1].value, rel=0.01)


def softplus_mean(margin: float, spread: float) -> float:
    """E log(1 + exp(−margin + spread · g)) over a standard normal g, by quadrature."""
    g = np.linspace(-12, 12, 20001)
    density = np.exp(-(g**2) / 2) / np.sqrt(2 * np.pi)
    return float(np.trapezoid(np.logaddexp(0, spread * g - margin) * density, g))


@pytest.mark.parametrize("spread", [0.3, 6.0])
@pytest.mark.parametrize("margin", [0.0, pytest.param(12.0, marks=pytest.mark.slow), 30.0])
def test_confident_networks_are_within_the_error_or_have_none(margin: float, spread: float) -> None:
    """Where rare draws carry the mean, the spread of those that were made is no evidence."""
    context = quadratic_context()[0]
    scale = spread / context.n_parameters**0.5
    context.loss_value = lambda split: float(np.logaddexp(0, -margin))
    context.loss_at = lambda delta: float(np.logaddexp(0, scale * delta.sum().item() - margin))
    exact = softplus_mean(margin, spread) - float(np.logaddexp(0, -margin))
    missed = 0
    for seed in range(60):
        context.seed = seed
        value = measured(context, rho=1.0, draws=400)
        assert value.standard_error is not None
        if isinf(value.standard_error):
            assert value.reason is not None
            assert "dominate the mean" in value.reason
        missed += abs(value.value - exact) > 1.96 * value.standard_error
    # At 5 % a binomial test at 1e-4 allows 11; a skewed mean of few draws misses more often.
    assert missed <= 11
    assert (margin, spread) != (30.0, 6.0) or isinf(value.standard_error)
