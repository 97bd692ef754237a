from __future__ import annotations

from math import isnan

import pytest
import torch
from torch import Tensor, nn

from orchestrator.data import Dataset
from orchestrator.measures.base import Value
from orchestrator.measures.context import MeasureContext
from orchestrator.measures.sharpness.sam_sharpness import SamSharpness
from orchestrator.measures.sharpness.worst_case_sharpness import (
    WorstCaseSharpness,
    maximization_batches,
    weighted_mean,
)
from orchestrator.study.measure_options.sharpness import (
    SamSharpnessOptions,
    WorstCaseSharpnessOptions,
)
from tests.binomial import assert_covers, with_simulations
from tests.measures.cases import CROSS_ENTROPY, case, mlp, random_dataset
from tests.measures.quadratic import LinearLoss, QuadraticLoss, quadratic_context


def measured(context: MeasureContext, **options: object) -> Value:
    measure = WorstCaseSharpness(WorstCaseSharpnessOptions(name="worst_case_sharpness", **options))
    (value,) = measure.compute(context)
    return value


def linear_context() -> tuple[MeasureContext, Tensor, Tensor]:
    context = MeasureContext(nn.Linear(5, 3), random_dataset((5,), 9, 3), LinearLoss())
    return context, context.gradient("train"), context.parameter_vector()


def test_sharpness_of_a_linear_loss_is_the_dual_norm_of_the_gradient() -> None:
    """ρ ‖g‖₂, ρ ‖|θ| g‖₂, ρ ‖g‖₁ and ρ Σ |θ_i g_i|."""
    context, g, theta = linear_context()
    for norm, adaptive, expected in (
        ("l2", False, g.norm()),
        ("l2", True, (theta * g).norm()),
        ("linf", False, g.abs().sum()),
        ("linf", True, (theta * g).abs().sum()),
    ):
        value = measured(context, norm=norm, adaptive=adaptive, rho=0.3)
        assert value.value == pytest.approx(0.3 * expected.item(), rel=1e-12)
        assert value.standard_error is None
        assert value.variant == f"{norm}, rho=0.3" + (", adaptive" if adaptive else "")


def test_sharpness_at_a_quadratic_minimum_is_half_rho_squared_times_lambda_1() -> None:
    context, hessian = quadratic_context()
    with torch.no_grad():
        next(iter(context.parameters.values())).zero_()
    value = measured(context, adaptive=False, rho=0.2, steps=200)
    expected = 0.2**2 / 2 * torch.linalg.eigvalsh(hessian)[-1].item()
    assert value.value == pytest.approx(expected, rel=1e-6)
    assert measured(context, adaptive=True, rho=0.2).value == 0


def test_the_value_averages_the_maxima_of_batches_with_their_standard_error() -> None:
    """Each batch's own worst case under a linear loss: the mean of ρ ‖g_B‖."""
    context = MeasureContext(
        nn.Linear(5, 3), random_dataset((5,), 70, 3), LinearLoss(), examples_per_pass=7
    )
    whole = MeasureContext(nn.Linear(5, 3), random_dataset((5,), 70, 3), LinearLoss())
    norms, sizes = [], []
    for x, y in maximization_batches(context, 50, 16):
        # The gradient of the mean true logit of a linear network.
        rows = torch.zeros(3, 5).double().index_add_(0, y, x.double()) / len(y)
        shares = torch.bincount(y, minlength=3) / len(y)
        norms.append(0.1 * (rows.square().sum() + shares.square().sum()).sqrt().item())
        sizes.append(len(y))
    assert sizes == [13, 13, 12, 12]
    options = {"adaptive": False, "rho": 0.1, "batch_size": 16, "examples": 50}
    value = measured(context, **options)
    assert value.n_examples == 50
    assert (value.value, value.standard_error) == pytest.approx(weighted_mean(norms, sizes))
    assert measured(whole, **options).value == pytest.approx(value.value)


def test_batches_are_stratified_and_independent_of_passes_and_network() -> None:
    data = random_dataset((5,), 300, 3)
    found = [
        [
            y
            for _, y in maximization_batches(
                MeasureContext(model, data, CROSS_ENTROPY, **o), 200, 50
            )
        ]
        for model, o in (
            (mlp(5, 3), {"seed": 1}),
            (mlp(5, 4, 3), {"examples_per_pass": 7, "dtype": torch.float32}),
        )
    ]
    assert [len(y) for y in found[0]] == [50] * 4
    assert all(torch.equal(one, other) for one, other in zip(*found, strict=True))
    shares = torch.bincount(data.train_y) / 300
    for labels in found[0]:
        assert ((torch.bincount(labels) - 50 * shares).abs() < 2).all()


def test_the_weighted_mean_has_the_usual_error_for_equal_weights() -> None:
    mean, error = weighted_mean([1.0, 2.0, 4.0, 5.0], [3, 3, 3, 3])
    assert mean == 3
    assert error == pytest.approx((10 / 3) ** 0.5 / 2)
    assert weighted_mean([1.0, 2.0], [3, 1])[0] == 1.25
    assert weighted_mean([7.0], [3]) == (7, None)
    mean, error = weighted_mean([1.0, float("inf")], [3, 3])
    assert mean == float("inf")
    assert isnan(error)


@with_simulations(100, 3000)
def test_the_standard_error_covers_the_mean_over_the_data(simulations: int) -> None:
    """Over data sets, each of eight batches: 95 % t intervals (7 degrees of freedom)."""
    rho, inside = 0.1, 0
    model = nn.Linear(1, 2, bias=False)
    for seed in range(simulations):
        x = torch.rand(32, 1, generator=torch.Generator().manual_seed(seed)).double()
        y = torch.zeros(32, dtype=torch.int64)
        data = Dataset("uniform", x, y, x[:1], y[:1], 2, "hash")
        context = MeasureContext(model, data, LinearLoss())
        value = measured(context, rho=rho, adaptive=False, batch_size=4, steps=1)
        inside += abs(value.value - rho / 2) <= 2.365 * value.standard_error
    assert_covers(inside, simulations)


@pytest.mark.parametrize("norm", ["l2", "linf"])
@pytest.mark.parametrize("alpha", [0.2, 4.0])
def test_only_adaptive_sharpness_is_invariant_to_rescaling(alpha: float, norm: str) -> None:
    model = case("mlp_without_bias").model().double()
    rho = 0.5 if norm == "l2" else 0.05

    def both() -> list[float]:
        context = MeasureContext(model, random_dataset((5,), 14, 3), CROSS_ENTROPY)
        return [measured(context, norm=norm, rho=rho, adaptive=a).value for a in (True, False)]

    before = both()
    with torch.no_grad():
        model[0].weight.mul_(alpha)
        model[2].weight.div_(alpha)
    after = both()
    assert after[0] == pytest.approx(before[0], rel=1e-7)
    assert after[1] != pytest.approx(before[1], rel=0.01)


@pytest.mark.parametrize("norm", ["l2", "linf"])
def test_normalized_logits_remove_their_scale(norm: str) -> None:
    model = case("mlp").model().double()
    rho = 0.5 if norm == "l2" else 0.05

    def both() -> list[float]:
        context = MeasureContext(model, random_dataset((5,), 14, 3), CROSS_ENTROPY)
        return [
            measured(context, norm=norm, rho=rho, normalize_logits=normalize).value
            for normalize in (True, False)
        ]

    before = both()
    with torch.no_grad():
        model[4].weight.mul_(8)
        model[4].bias.mul_(8)
    after = both()
    assert after[0] == pytest.approx(before[0], rel=1e-7)
    assert after[1] != pytest.approx(before[1], rel=0.01)


@pytest.mark.parametrize("name", ["mlp", "cnn", "tanh", "mlp_batch_norm"])
def test_worst_case_sharpness_is_at_least_sam_sharpness_on_a_single_batch(name: str) -> None:
    context = case(name).context()
    for adaptive in (False, True):
        options = SamSharpnessOptions(name="sam_sharpness", rho=0.5, adaptive=adaptive)
        (sam,) = SamSharpness(options).compute(context)
        worst = measured(context, rho=0.5, adaptive=adaptive)
        assert worst.value >= sam.value - 1e-12
        assert measured(context, rho=0.5, adaptive=adaptive, steps=1).value == pytest.approx(
            max(sam.value, 0)
        )


@pytest.mark.parametrize("norm", ["l2", "linf"])
def test_zero_parameters_stay_zero_in_the_adaptive_ball(norm: str) -> None:
    model = case("mlp").model()
    with torch.no_grad():
        model[0].weight[0] = 0
    context = MeasureContext(model, random_dataset((5,), 14, 3), CROSS_ENTROPY)
    seen: list[Tensor] = []
    original = context.unflatten
    context.unflatten = lambda vector: seen.append(vector) or original(vector)
    assert measured(context, norm=norm, rho=0.1).value > 0
    assert len(seen) == 21
    assert all((delta[:5] == 0).all() for delta in seen)


def test_a_constant_loss_has_sharpness_0() -> None:
    value = measured(case("certain").context())
    assert (value.value, value.standard_error, value.reason) == (0, None, None)


def test_a_loss_that_overflows_gives_a_reason() -> None:
    context = MeasureContext(
        nn.Linear(5, 3), random_dataset((5,), 9, 3), QuadraticLoss(), dtype=torch.float32
    )
    value = measured(context, rho=1e30, adaptive=False, batch_size=3)
    assert value.value == float("inf")
    assert isnan(value.standard_error)
    assert value.reason == "the loss is not finite in the ball"
