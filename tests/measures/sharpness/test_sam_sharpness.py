from __future__ import annotations

from operator import neg

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from orchestrator.measures.context import MeasureContext
from orchestrator.measures.sharpness.sam_sharpness import SamSharpness, ascent_step
from orchestrator.study.measure_options.sharpness import SamSharpnessOptions
from tests.measures.cases import CASES, CROSS_ENTROPY, Case, case, random_dataset
from tests.measures.quadratic import LinearLoss, quadratic_context
from tests.measures.references import dense_gradient, loss_of


def sharpness(context: MeasureContext, rho: float = 0.05, adaptive: bool = False) -> float:
    options = SamSharpnessOptions(name="sam_sharpness", rho=rho, adaptive=adaptive)
    (value,) = SamSharpness(options).compute(context)
    assert value.variant == f"rho={rho}" + (", adaptive" if adaptive else "")
    assert (value.split, value.standard_error) == ("train", None)
    return value.value


@pytest.mark.parametrize("adaptive", [False, True])
@pytest.mark.parametrize("subject", CASES, ids=lambda case: case.name)
def test_sharpness_is_the_increase_of_the_loss_after_the_step(
    subject: Case, adaptive: bool
) -> None:
    context = subject.context(examples_per_pass=4)
    theta, g = context.parameter_vector(), dense_gradient(context)
    c = theta.abs() if adaptive else torch.ones_like(theta)
    length = (c * g).norm()
    delta = torch.zeros_like(g) if length == 0 else 0.05 * c * c * g / length
    expected = (loss_of(context, theta + delta) - loss_of(context, theta)).item()
    assert sharpness(context, adaptive=adaptive) == pytest.approx(expected, rel=1e-7, abs=1e-12)


@pytest.mark.parametrize("rho", [0.01, 0.5])
def test_sharpness_of_a_linear_loss_is_rho_times_the_norm(rho: float) -> None:
    """ℓ2: ρ ‖g‖; adaptive: ρ ‖|θ| g‖."""
    context = MeasureContext(nn.Linear(5, 3), random_dataset((5,), 9, 3), LinearLoss())
    g, theta = context.gradient("train"), context.parameter_vector()
    assert sharpness(context, rho) == pytest.approx(rho * g.norm().item())
    expected = rho * (theta.abs() * g).norm().item()
    assert sharpness(context, rho, adaptive=True) == pytest.approx(expected)


def test_sharpness_of_a_quadratic_loss_has_a_closed_form() -> None:
    """L = ½ θᵀHθ, g = Hθ: ρ ‖g‖ + ½ ρ² gᵀHg / ‖g‖²."""
    context, hessian = quadratic_context()
    g = hessian @ context.parameter_vector()
    rho = 0.3
    expected = rho * g.norm() + rho**2 / 2 * (g @ hessian @ g) / g.norm() ** 2
    assert sharpness(context, rho) == pytest.approx(expected.item(), rel=1e-12)


def test_sharpness_equals_the_worst_case_along_the_top_eigenvector() -> None:
    """From θ = ε v_1 the step stays on v_1: (ρ + ε)² λ_1 / 2 − ε² λ_1 / 2 → ρ² λ_1 / 2."""
    context, hessian = quadratic_context()
    values, vectors = torch.linalg.eigh(hessian)
    epsilon, rho = 1e-9, 0.2
    with torch.no_grad():
        (parameter,) = context.parameters.values()
        parameter.copy_((epsilon * vectors[:, -1]).view_as(parameter))
    assert sharpness(context, rho) == pytest.approx(rho**2 * values[-1].item() / 2, rel=1e-7)


@pytest.mark.parametrize("adaptive", [False, True])
def test_sharpness_is_0_without_a_gradient(adaptive: bool) -> None:
    assert sharpness(case("certain").context(), adaptive=adaptive) == 0
    context, _ = quadratic_context()
    with torch.no_grad():
        (parameter,) = context.parameters.values()
        parameter.zero_()
    assert sharpness(context, adaptive=adaptive) == 0


@pytest.mark.parametrize("scale", [1e-300, 1e-200, 1.0, 1e200])
def test_the_step_has_length_rho_for_gradients_of_any_size(scale: float) -> None:
    g = scale * torch.tensor([3.0, 0.0, -4.0], dtype=torch.float64)
    expected = torch.tensor([0.3, 0, -0.4], dtype=torch.float64)
    torch.testing.assert_close(ascent_step(g, torch.ones_like(g), 0.5), expected)


_MAGNITUDES = st.floats(1e-100, 10)


@settings(deadline=None)
@given(
    # Products of two numbers smaller than these are no longer numbers.
    st.lists(st.just(0.0) | _MAGNITUDES | _MAGNITUDES.map(neg), min_size=1, max_size=6).filter(any),
    st.lists(st.just(0.0) | _MAGNITUDES, min_size=6, max_size=6),
)
def test_no_other_step_in_the_ball_gains_more(gradient: list[float], scales: list[float]) -> None:
    g = torch.tensor(gradient, dtype=torch.float64)
    c = torch.tensor(scales[: len(g)], dtype=torch.float64)
    step = ascent_step(g, c, 0.7)
    assert (step[c == 0] == 0).all()
    unit = torch.where(c > 0, step / c, 0)
    assert unit.norm().item() == pytest.approx(0.7 if (c * g).any() else 0)
    for seed in range(5):
        other = torch.randn(len(g), generator=torch.Generator().manual_seed(seed)).double()
        assert g @ (0.7 * c * other / other.norm()) <= g @ step + 1e-9


@pytest.mark.parametrize("alpha", [0.2, 4.0])
def test_only_adaptive_sharpness_is_invariant_to_rescaling(alpha: float) -> None:
    model = case("mlp_without_bias").model().double()
    data = random_dataset((5,), 14, 3)

    def both() -> list[float]:
        context = MeasureContext(model, data, CROSS_ENTROPY)
        return [sharpness(context, adaptive=adaptive) for adaptive in (True, False)]

    before = both()
    with torch.no_grad():
        model[0].weight.mul_(alpha)
        model[2].weight.div_(alpha)
    after = both()
    assert after[0] == pytest.approx(before[0], rel=1e-9)
    assert after[1] != pytest.approx(before[1], rel=0.01)


def test_zero_parameters_stay_zero_under_the_adaptive_step() -> None:
    model = case("mlp").model()
    with torch.no_grad():
        model[0].weight[0] = 0
    context = MeasureContext(model, random_dataset((5,), 14, 3), CROSS_ENTROPY)
    seen: list[Tensor] = []
    original = context.loss_at
    context.loss_at = lambda delta, split="train": seen.append(delta) or original(delta, split)
    assert sharpness(context, adaptive=True) > 0
    assert (seen[0][:5] == 0).all()
    assert seen[0].isfinite().all()
