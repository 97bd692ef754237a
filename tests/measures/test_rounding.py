"""Gradients that are rounding count as zero, and small ones that are right stay."""

from __future__ import annotations

import math
from math import inf

import pytest
import torch
from torch import Tensor, nn

from orchestrator.data import Dataset
from orchestrator.measures import MeasureContext
from orchestrator.measures.margins.hidden_margins import hidden_margins
from orchestrator.measures.robustness.deepfool import deepfool
from orchestrator.measures.robustness.input_margin import InputMargin, first_order_distances
from orchestrator.measures.robustness.inputs import chosen_inputs, zero_gradient_share
from orchestrator.measures.rounding import set_by_rounding, shaken, unresolved
from orchestrator.study.measure_options.robustness import InputMarginOptions
from tests.measures.cases import CROSS_ENTROPY
from tests.measures.robustness.cases import context_of, linear

DTYPES = (torch.float32, torch.float64)


class Normalized(nn.Module):
    """Every feature is standardized over its positions and averaged: always its shift."""

    def __init__(self, shift: float) -> None:
        super().__init__()
        self.normalize = nn.InstanceNorm1d(4, affine=True)
        self.act, self.head = nn.Identity(), nn.Linear(4, 3, bias=False)
        nn.init.constant_(self.normalize.bias, shift)

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.head(self.act(self.normalize(x)).mean(dim=2))
        return found


def of_normalized(shift: float, dtype: torch.dtype) -> MeasureContext:
    x, y = torch.randn(12, 4, 9), torch.randint(0, 3, (12,))
    return context_of(Normalized(shift), x, y, dtype=dtype)


def distances(context: MeasureContext) -> Tensor:
    return first_order_distances(context, chosen_inputs(context, "train", 100), "l2")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shift", [1.0, 1e6])
def test_boundaries_are_infinitely_far_if_logits_ignore_the_inputs(
    shift: float, dtype: torch.dtype
) -> None:
    assert distances(of_normalized(shift, dtype)).abs().eq(inf).all()


class Branching(nn.Module):
    """Branches on a sum that is always zero."""

    def __init__(self) -> None:
        super().__init__()
        self.normalize, self.head = nn.LayerNorm(4), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        h = self.normalize(x)
        found: Tensor = self.head(torch.where(h.sum(1, keepdim=True) > 0, h.tanh(), -h))
        return found


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("model", [Normalized(0.0), Branching()], ids=["zero", "branching"])
def test_logits_that_are_only_rounding_give_no_distance_but_a_reason(
    model: nn.Module, dtype: torch.dtype
) -> None:
    shape = (12, 4, 9) if isinstance(model, Normalized) else (12, 4)
    context = context_of(model, torch.randn(*shape), torch.randint(0, 3, (12,)), dtype=dtype)
    assert distances(context).isnan().any()
    options = InputMarginOptions(name="input_margin")
    for value in InputMargin(options).compute(context):
        assert math.isnan(value.value)
        assert "distances are NaN" in str(value.reason)
    (hidden,) = hidden_margins(context, "l2", ["normalize"])
    assert hidden.distances.isnan().any()


@pytest.mark.parametrize("dtype", DTYPES)
def test_hidden_distances_are_infinite_before_a_normalization_only(dtype: torch.dtype) -> None:
    """Before the normalization; behind it the logits depend on what comes."""
    model = nn.Sequential(nn.Linear(9, 9), Normalized(1.0))
    x, y = torch.randn(12, 4, 9), torch.randint(0, 3, (12,))
    context = context_of(model, x, y, dtype=dtype)
    before, behind = (hidden_margins(context, "l2", [name])[0].distances for name in ("0", "1.act"))
    assert before.abs().eq(inf).all()
    assert behind.isfinite().all()


def test_deepfool_finds_no_direction_if_logits_ignore_the_inputs() -> None:
    context = of_normalized(1.0, torch.float64)
    inputs = chosen_inputs(context, "train", 100)
    right = context.logits("train").argmax(1) == inputs.y
    found = deepfool(context, inputs, "l2")
    assert found.no_slope[right].all()
    assert found.distances[right].eq(inf).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("slope", [1e-2, 1e-4, 1e-5])
def test_correct_distances_far_beyond_the_inputs_are_kept(slope: float, dtype: torch.dtype) -> None:
    weight = slope * torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    x, y = torch.randn(20, 2), torch.zeros(20, dtype=torch.int64)
    context = context_of(linear(weight, torch.tensor([1.0, 0.0])), x, y, dtype=dtype)
    expected = ((x[:, 0] - x[:, 1]) + 1 / slope) / 2**0.5
    torch.testing.assert_close(distances(context), expected.to(dtype), rtol=1e-4, atol=0)


@pytest.mark.parametrize("dtype", DTYPES)
def test_gradients_that_are_only_rounding_count_as_zero(dtype: torch.dtype) -> None:
    context = of_normalized(1.0, dtype)
    assert zero_gradient_share(context, chosen_inputs(context, "train", 100)) == 1
    weight = 1e-4 * torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    x, y = torch.randn(20, 2), torch.zeros(20, dtype=torch.int64)
    context = context_of(linear(weight, torch.tensor([1.0, 0.0])), x, y, dtype=dtype)
    assert zero_gradient_share(context, chosen_inputs(context, "train", 100)) == 0


def test_deepfool_gives_no_number_if_logits_are_only_rounding() -> None:
    context = of_normalized(0.0, torch.float64)
    found = deepfool(context, chosen_inputs(context, "train", 100), "l2").distances
    assert not (found.isfinite() & (found > 0)).any()


def test_a_change_below_the_rounding_of_the_logits_is_unresolved() -> None:
    logits = torch.tensor([[1.0, -2.0], [1e6, 0.0]], dtype=torch.float64)
    steepness = torch.tensor([[1e-15, 1e-13], [1e-13, 1e-8]], dtype=torch.float64)
    one = torch.tensor(1.0)
    assert unresolved(steepness, one, logits).tolist() == [[True, False], [True, False]]
    assert not unresolved(steepness, torch.tensor(0.0), logits).any()


def test_shaken_inputs_differ_by_a_few_units_in_the_last_place() -> None:
    x = torch.randn(50, dtype=torch.float64)
    assert ((shaken(x) / x - 1).abs() / torch.finfo(x.dtype).eps - 8).abs().max() <= 1
    assert torch.equal(shaken(x), shaken(x))
    tokens = torch.arange(5)
    assert shaken(tokens) is tokens


def test_logits_of_tokens_are_never_taken_for_rounding() -> None:
    model = nn.Sequential(nn.Embedding(5, 3), nn.Flatten(), nn.Linear(6, 2))
    x, y = torch.randint(0, 5, (8, 2)), torch.randint(0, 2, (8,))
    context = MeasureContext(model, Dataset("tokens", x, y, x, y, 2, "hash"), CROSS_ENTROPY)
    assert not set_by_rounding(context, x, context.logits("train")).any()
