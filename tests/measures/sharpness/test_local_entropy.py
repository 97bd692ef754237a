from __future__ import annotations

from math import isnan

import pytest
import torch
from torch import Tensor, nn

from orchestrator.errors import MeasureError
from orchestrator.measures.base import Value
from orchestrator.measures.context import MeasureContext
from orchestrator.measures.sharpness.displaced import LossAndError
from orchestrator.measures.sharpness.local_entropy import LocalEntropy, embedded_weights, quadrature
from orchestrator.study.measure_options.sharpness import LocalEntropyOptions
from tests.binomial import assert_at_least, assert_covers, with_simulations
from tests.measures.cases import case, random_dataset
from tests.measures.quadratic import LinearLoss, quadratic_context


def measured(context: MeasureContext, **given: object) -> Value:
    options = LocalEntropyOptions(name="local_entropy", **given)
    (value,) = LocalEntropy(options).compute(context)
    return value


def quadratic_entropy(theta: Tensor, hessian: Tensor, gamma: float, beta: float) -> float:
    """log E exp(−β/2 θ′ᵀHθ′), θ′ ~ N(θ, I/γ): −½ log det(I + βH/γ) − β/2 θᵀH(I + βH/γ)⁻¹θ."""
    matrix = torch.eye(len(hessian)).double() + beta * hessian / gamma
    quadratic = theta @ hessian @ torch.linalg.solve(matrix, theta)
    return -(torch.logdet(matrix) + beta * quadratic).item() / 2


@pytest.mark.parametrize(
    ("gamma", "beta"),
    [(1.0, 1.0), (2.0, 10.0), pytest.param(100.0, 1.0, marks=pytest.mark.slow)],
)
def test_the_entropy_of_a_quadratic_loss_has_a_closed_form(gamma: float, beta: float) -> None:
    context, hessian = quadratic_context()
    expected = quadratic_entropy(context.parameter_vector(), hessian, gamma, beta)
    found = measured(context, gamma=gamma, inverse_temperature=beta, samples=250, burn_in=60)
    assert found.reason is None
    assert abs(found.value - expected) < 3 * found.standard_error
    assert found.standard_error < 0.1 * abs(expected)
    suffix = "" if beta == 1 else f", inverse_temperature={beta}"
    assert found.variant == f"gamma={gamma}{suffix}"


def without_passes(monkeypatch: pytest.MonkeyPatch, theta: Tensor, hessian: Tensor) -> None:
    """Give the same numbers as the network, without its passes."""

    def displaced_gradient(_: MeasureContext, delta: Tensor) -> tuple[LossAndError, Tensor]:
        gradient = hessian @ (theta + delta)
        return LossAndError(float(gradient @ (theta + delta)) / 2, 0.0), gradient

    monkeypatch.setattr(
        "orchestrator.measures.sharpness.local_entropy.displaced_gradient", displaced_gradient
    )


@with_simulations(25, 2000)
def test_the_standard_error_covers_the_closed_form(
    monkeypatch: pytest.MonkeyPatch, simulations: int
) -> None:
    context, hessian = quadratic_context()
    theta = context.parameter_vector()
    without_passes(monkeypatch, theta, hessian)
    expected = quadratic_entropy(theta, hessian, 20.0, 1.0)
    trusted, inside = 0, 0
    for seed in range(simulations):
        context.seed = seed
        found = measured(context, gamma=20.0, burn_in=1, samples=50)
        if found.reason is None:
            trusted += 1
            inside += abs(found.value - expected) <= 1.97 * found.standard_error
    assert_at_least(0.95, trusted, simulations)
    assert_covers(inside, trusted)


@pytest.mark.slow
def test_the_entropy_of_a_linear_loss_has_a_closed_form() -> None:
    """log E exp(−g·θ′) = −L + ‖g‖² / (2γ)."""
    context = MeasureContext(nn.Linear(5, 3), random_dataset((5,), 9, 3), LinearLoss())
    expected = -context.loss_value("train") + context.gradient("train").square().sum().item() / 20
    found = measured(context, gamma=10.0, samples=300)
    assert abs(found.value - expected) < 3 * found.standard_error


def test_the_entropy_of_a_loss_of_zero_is_zero() -> None:
    found = measured(case("certain").context(), samples=40)
    assert (found.value, found.standard_error, found.reason) == (0, 0, None)


@pytest.mark.slow
def test_a_narrow_gaussian_gives_the_loss() -> None:
    context = case("tanh").context(examples_per_pass=4)
    found = measured(context, gamma=1e10)
    assert found.value == pytest.approx(-context.loss_value("train"), rel=1e-4)


def test_every_checkpoint_uses_the_same_random_numbers() -> None:
    first, again, other = (
        measured(case("mlp").context(seed=seed), samples=40) for seed in (1, 1, 2)
    )
    assert first == again
    assert first.value != other.value


def test_unconverged_chains_give_no_value() -> None:
    context, _ = quadratic_context()
    found = measured(context, gamma=1e-4, inverse_temperature=1e3, burn_in=1, samples=40)
    assert isnan(found.value)
    assert found.reason is not None
    assert found.reason.startswith("unconverged: ")


def test_an_integral_that_five_nodes_cannot_resolve_gives_no_value(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """E_λ L falls like 1/λ from λ = 10⁻² on."""
    context, hessian = quadratic_context()
    without_passes(monkeypatch, context.parameter_vector(), hessian)
    found = measured(context, gamma=1e-2, burn_in=200, samples=2500)
    assert isnan(found.value)
    assert str(found.reason).startswith("unconverged: five nodes give")


def test_the_quadrature_rules_integrate_polynomials_exactly() -> None:
    nodes, weights = quadrature()
    for power in range(10):
        integral = sum(w * x**power for w, x in zip(weights, nodes, strict=True))
        assert integral == pytest.approx(1 / (power + 1))
        fewer = sum(w * x**power for w, x in zip(embedded_weights(nodes), nodes, strict=True))
        assert (fewer == pytest.approx(1 / (power + 1))) == (power < 4)


def test_too_few_samples_to_judge_a_chain_are_refused() -> None:
    with pytest.raises(MeasureError, match="samples is 39, expected at least 40"):
        measured(case("mlp").context(), samples=39)
