from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from orchestrator.measures import chosen_inputs, deepfool
from orchestrator.measures.reparametrization import rescaled
from orchestrator.measures.robustness.ball import Norm, lengths
from orchestrator.measures.robustness.deepfool import DeepfoolMargin, Search
from orchestrator.study.measure_options.robustness import DeepfoolMarginOptions
from tests.measures.cases import case
from tests.measures.robustness.cases import (
    context_of,
    exact_distances,
    half_dead,
    random_linear,
)
from tests.measures.sharpness.accurate import accurate_context

NORMS: tuple[Norm, ...] = ("l2", "linf")


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("passes", [1000, 7])
def test_linear_classifiers_take_a_single_step(norm: Norm, passes: int) -> None:
    context = random_linear(examples_per_pass=passes)
    inputs = chosen_inputs(context, "train", 100)
    found = deepfool(context, inputs, norm, iterations=1, overshoot=0.01).distances
    exact = exact_distances(context, norm)
    assert torch.allclose(found, 1.01 * exact.clamp_min(0), rtol=1e-9)
    unfinished = deepfool(context, inputs, norm, iterations=0)
    missed = int((exact > 0).sum())
    assert unfinished.distances[exact > 0].tolist() == [inf] * missed
    assert unfinished.reason(0) == (
        f"of {len(exact)} examples, {missed} did not converge in 0 linearizations"
    )


@pytest.mark.parametrize("norm", NORMS)
def test_the_distance_is_never_below_that_of_the_nearest_other_class(norm: Norm) -> None:
    """Against all points of a grid around each input of a network with two inputs."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        model = nn.Sequential(nn.Linear(2, 12), nn.Tanh(), nn.Linear(12, 3)).double()
    with torch.no_grad():
        model[0].weight.mul_(3)
    x = torch.randn(8, 2, generator=torch.Generator().manual_seed(0))
    y = model(x.double()).argmax(dim=1)
    context = context_of(model, x, y)
    found = deepfool(context, chosen_inputs(context, "train", 8), norm).distances
    line = torch.linspace(-3, 3, 401, dtype=torch.float64)
    grid = torch.cartesian_prod(line, line)
    ratios = []
    for i in range(8):
        other = model(x[i].double() + grid).argmax(dim=1) != y[i]
        exact = lengths(grid[other], norm).min().item() if other.any() else inf
        assert found[i] >= exact - 6 / 400
        ratios.append(found[i].item() / exact)
    assert sorted(ratios)[4] < 2  # and mostly not much farther


def test_inputs_without_a_gradient_have_no_distance() -> None:
    context = half_dead()
    search = deepfool(context, chosen_inputs(context, "train", 4), "l2", overshoot=0.0)
    found = search.distances
    # Without overshoot x arrives on the boundary, and then a hair beyond.
    assert found[:2].tolist() == [inf, inf]
    assert found[2:].tolist() == pytest.approx([0.4, 0.2], abs=1e-7)
    assert search.no_slope.tolist() == [True, True, False, False]
    rows = list(DeepfoolMargin(DeepfoolMarginOptions(name="deepfool_margin")).compute(half_dead()))
    values = {row.measure: row.value for row in rows}
    reasons = {row.measure: row.reason for row in rows}
    assert reasons["deepfool_margin_infinite_share"] == (
        "of 4 examples, 2 reached a point where no boundary has a slope"
    )
    assert reasons["deepfool_margin_misclassified_share"] is None
    assert values["deepfool_margin_infinite_share"] == 0.5
    assert values["deepfool_margin_min"] == pytest.approx(0.2 * 1.02)


class Pieces(nn.Module):
    """Two logits, (lead, 0), with the lead given as a function of the first coordinate."""

    def __init__(self, lead: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.lead = lead
        self.unused = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.lead(x), torch.zeros_like(x)], 1) + 0 * self.unused


def searched(lead: Callable[[Tensor], Tensor], *starts: float, **options: Any) -> Search:
    x = torch.tensor(starts, dtype=torch.float64)[:, None]
    context = context_of(Pieces(lead), x, torch.zeros(len(starts), dtype=torch.int64))
    return deepfool(context, chosen_inputs(context, "train", len(starts)), "l2", **options)


def test_a_search_that_cycles_stops_with_a_reason() -> None:
    """Of 1 + x² Newton's steps from 1/√3 lead to −1/√3 and back."""
    passes: dict[int, int] = {}
    for iterations in (50, 500):
        calls: list[int] = []

        def lead(x: Tensor, calls: list[int] = calls) -> Tensor:
            calls.append(len(x))
            return 1 + x.square()

        found = searched(lead, 3**-0.5, iterations=iterations, overshoot=0.0)
        assert found.distances.tolist() == [inf]
        assert found.cycled.tolist() == [True]
        assert found.reason(iterations) == "of 1 examples, 1 cycled"
        passes[iterations] = len(calls)
    assert passes[50] == passes[500]  # It ends with the cycle, not with the iterations.


def test_a_search_that_neither_ends_nor_cycles_gives_a_reason() -> None:
    found = searched(lambda x: 1 + x.square(), 0.3, 0.4, iterations=20, overshoot=0.0)
    assert found.distances.tolist() == [inf, inf]
    assert found.reason(20) == "of 2 examples, 2 did not converge in 20 linearizations"


@pytest.mark.parametrize("start", [0.3, 0.4, 1.0, 3.0])
@pytest.mark.parametrize("overshoot", [0.0, 0.02])
def test_infinitely_shrinking_steps_end_beyond_the_boundary(start: float, overshoot: float) -> None:
    """Of |x|^(3/2) each step is two thirds of the way, and never all of it."""
    found = searched(
        lambda x: x.sign() * x.abs() ** 1.5, start, iterations=100, overshoot=overshoot
    )
    assert found.reason(100) is None
    assert found.distances.item() == pytest.approx(start, rel=1e-6)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("factor", [0.3, 3.0, 7.0])
def test_rounding_does_not_decide_the_result(factor: float, norm: Norm) -> None:
    """Pieces of a network without biases meet where the searches of some examples end."""
    model = case("mlp_without_bias").model().double()
    other, _ = rescaled(model, case("mlp_without_bias").dataset().train_x, factor)
    one, changed = (
        deepfool(context, chosen_inputs(context, "train", 40), norm)
        for context in (accurate_context(model), accurate_context(other))
    )
    assert changed.distances.tolist() == pytest.approx(one.distances.tolist(), rel=1e-6)
    assert changed.reason(50) == one.reason(50)
