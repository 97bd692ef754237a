from __future__ import annotations

from math import inf, isnan

import pytest
import torch
from torch import nn

from orchestrator.errors import MeasureError
from orchestrator.measures.base import Curve, Value
from orchestrator.measures.context import MeasureContext
from orchestrator.measures.sharpness.loss_slice import (
    LossSlice,
    filter_normalized_direction,
    slice_width,
)
from orchestrator.study.measure_options.sharpness import LossSliceOptions
from tests.measures.cases import CROSS_ENTROPY, case, random_dataset
from tests.measures.quadratic import quadratic_context
from tests.measures.references import loss_of
from tests.measures.sharpness.accurate import accurate_context, overflowing, trained_context


def measured(context: MeasureContext, **given: object) -> tuple[Curve, Curve, Value]:
    loss, error, width = LossSlice(LossSliceOptions(name="loss_slice", **given)).compute(context)
    assert (loss.curve, error.curve, width.measure) == (
        "loss_slice",
        "error_slice",
        "loss_slice_width",
    )
    return loss, error, width


@pytest.mark.parametrize("name", ["mlp", "cnn", "residual_batch_norm", "tied"])
def test_each_filter_of_a_direction_has_the_norm_of_the_networks_filter(name: str) -> None:
    context = case(name).context()
    direction = context.unflatten(filter_normalized_direction(context, 0))
    for parameter, part in zip(context.parameters.values(), direction, strict=True):
        if parameter.ndim < 2:
            assert not part.any()
            continue
        for own, other in zip(parameter, part, strict=True):
            assert other.norm().item() == pytest.approx(own.norm().item())
            cosine = (own * other).sum().item() / own.norm().item() ** 2
            assert abs(cosine) < 0.999


def test_directions_are_common_to_checkpoints_and_differ_by_number_and_seed() -> None:
    model = case("mlp_without_bias").model().double()
    data = random_dataset((5,), 14, 3)
    context = MeasureContext(model, data, CROSS_ENTROPY)
    before = filter_normalized_direction(context, 0)
    with torch.no_grad():
        model[0].weight.mul_(3)
    after = filter_normalized_direction(MeasureContext(model, data, CROSS_ENTROPY), 0)
    torch.testing.assert_close(after[:30], 3 * before[:30])
    torch.testing.assert_close(after[30:], before[30:])
    assert not torch.equal(before, filter_normalized_direction(context, 1))
    other = MeasureContext(model, data, CROSS_ENTROPY, seed=1)
    assert not torch.equal(before, filter_normalized_direction(other, 0))


def test_zero_filters_stay_zero() -> None:
    model = case("mlp").model()
    with torch.no_grad():
        model[0].weight[0] = 0
    context = MeasureContext(model, random_dataset((5,), 14, 3), CROSS_ENTROPY)
    direction = filter_normalized_direction(context, 0)
    assert not direction[:5].any()
    assert direction.isfinite().all()


def test_a_line_has_the_loss_and_error_of_each_point() -> None:
    context = case("mlp").context(examples_per_pass=4)
    direction, theta = filter_normalized_direction(context, 0), context.parameter_vector()
    loss, error, width = measured(context, points=5, extent=0.5)
    assert list(loss.x) == list(error.x) == [-0.5, -0.25, 0, 0.25, 0.5]
    expected = [loss_of(context, theta + x * direction).item() for x in loss.x]
    assert loss.values == pytest.approx(expected)
    wrong = context.logits("train").argmax(1) != context.data.labels("train")
    assert error.values[2] == wrong.double().mean().item()
    assert loss.y is error.y is None
    assert {loss.variant, error.variant, width.variant} == {"dimensions=1"}


def test_a_plane_has_the_lines_as_its_axes() -> None:
    context = case("mlp").context()
    theta = context.parameter_vector()
    line, _, _ = measured(context, points=3)
    plane, _, width = measured(context, points=3, dimensions=2)
    assert plane.x == [-1, 0, 1] * 3
    assert plane.y == [-1, -1, -1, 0, 0, 0, 1, 1, 1]
    assert plane.values[3:6] == pytest.approx(line.values)
    first, second = (filter_normalized_direction(context, index) for index in range(2))
    expected = loss_of(context, theta + first - second).item()
    assert plane.values[2] == pytest.approx(expected)
    assert width.variant == "dimensions=2"


def test_the_width_of_a_parabola_is_exact() -> None:
    """½ (θ + t d)ᵀH(θ + t d) = θᵀHθ."""
    context, hessian = quadratic_context()
    theta, d = context.parameter_vector(), filter_normalized_direction(context, 0)
    a, b, c = ((u @ hessian @ v).item() for u, v in ((d, d), (theta, d), (theta, theta)))
    roots = sorted(((b**2 + a * c) ** 0.5 * sign - b) / a for sign in (1, -1))
    ts = [step / 10 for step in range(1, 31)]
    assert slice_width(context, d, ts) == pytest.approx(roots[1], abs=3e-3)
    assert slice_width(context, -d, ts) == pytest.approx(-roots[0], abs=3e-3)
    assert slice_width(context, d, [roots[1] * 0.9]) == inf
    _, _, width = measured(context, extent=3.0, points=7)
    assert width.value == pytest.approx((roots[1] - roots[0]) / 2, abs=3e-3)
    assert width.reason is None


def test_the_width_of_a_slice_that_does_not_double_is_censored() -> None:
    context = trained_context("mlp")
    _, _, width = measured(context, extent=1e-6)
    assert width.value == pytest.approx(1e-6)
    assert width.reason == "censored: not doubled within 1e-06 on 2 of 2 half-axes"
    _, _, width = measured(context, extent=5.0)
    assert 0 < width.value < 5


def test_a_loss_of_zero_has_no_width() -> None:
    loss, _, width = measured(case("certain").context())
    assert not any(loss.values)
    assert isnan(width.value)
    assert width.reason == "a loss of 0 cannot double"


def test_nonfinite_points_are_kept_and_reported() -> None:
    context = accurate_context(overflowing(), dtype=torch.float32)
    loss, error, width = measured(context, extent=1e4)
    assert isnan(loss.values[0])
    assert isnan(error.values[0])
    assert loss.reason == error.reason == "not finite at some of the points"
    assert loss.values[12] == pytest.approx(context.loss_value("train"))
    assert 0 < width.value < 1e4


@pytest.mark.parametrize("alpha", [0.2, 4.0])
def test_slices_are_invariant_to_rescaling(alpha: float) -> None:
    model = case("mlp").model().double()
    before = measured(accurate_context(model), points=7)
    with torch.no_grad():
        model[0].weight.mul_(alpha)
        model[0].bias.mul_(alpha)
        model[2].weight.div_(alpha)
    after = measured(accurate_context(model), points=7)
    for one, other in zip(before[:2], after[:2], strict=True):
        assert one.values == pytest.approx(other.values, rel=1e-9)
    assert before[2].value == pytest.approx(after[2].value)


def test_a_single_point_is_refused_and_a_slice_without_movement_is_censored() -> None:
    with pytest.raises(MeasureError, match="points is 1, expected at least 2"):
        measured(case("mlp").context(), points=1)
    model = nn.Sequential(nn.LayerNorm(3))  # No parameter has two axes.
    context = MeasureContext(model, random_dataset((3,), 9, 3), CROSS_ENTROPY)
    loss, _, width = measured(context)
    assert len(set(loss.values)) == 1
    assert width.reason.startswith("censored")
