from __future__ import annotations

from math import inf

import pytest
import torch
from torch import nn

from orchestrator.measures import DeepfoolMargin, chosen_inputs, deepfool
from orchestrator.measures.robustness.ball import Norm, lengths
from orchestrator.study.measure_options.robustness import DeepfoolMarginOptions
from tests.measures.robustness.cases import (
    context_of,
    exact_distances,
    half_dead,
    random_linear,
)

NORMS: tuple[Norm, ...] = ("l2", "linf")


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("passes", [1000, 7])
def test_linear_classifiers_take_one_step(norm: Norm, passes: int) -> None:
    context = random_linear(examples_per_pass=passes)
    inputs = chosen_inputs(context, "train", 100)
    found = deepfool(context, inputs, norm, iterations=1, overshoot=0.01)
    exact = exact_distances(context, norm)
    assert torch.allclose(found, 1.01 * exact.clamp_min(0), rtol=1e-9)
    assert deepfool(context, inputs, norm, iterations=0)[exact > 0].tolist() == [inf] * int(
        (exact > 0).sum()
    )


@pytest.mark.parametrize("norm", NORMS)
def test_it_is_no_nearer_than_the_nearest_other_class(norm: Norm) -> None:
    """Against all points of a grid around each input of a network with two inputs."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        model = nn.Sequential(nn.Linear(2, 12), nn.Tanh(), nn.Linear(12, 3)).double()
    with torch.no_grad():
        model[0].weight.mul_(3)
    x = torch.randn(8, 2, generator=torch.Generator().manual_seed(0))
    y = model(x.double()).argmax(dim=1)
    context = context_of(model, x, y)
    found = deepfool(context, chosen_inputs(context, "train", 8), norm)
    line = torch.linspace(-3, 3, 401, dtype=torch.float64)
    grid = torch.cartesian_prod(line, line)
    ratios = []
    for i in range(8):
        other = model(x[i].double() + grid).argmax(dim=1) != y[i]
        exact = lengths(grid[other], norm).min().item() if other.any() else inf
        assert found[i] >= exact - 6 / 400
        ratios.append(found[i].item() / exact)
    assert sorted(ratios)[4] < 2  # and mostly not much farther


def test_where_nothing_moves_nothing_is_found() -> None:
    context = half_dead()
    found = deepfool(context, chosen_inputs(context, "train", 4), "l2", overshoot=0.0)
    # Without overshoot x arrives on the boundary, and then a hair beyond.
    assert found[:2].tolist() == [inf, inf]
    assert found[2:].tolist() == pytest.approx([0.4, 0.2], abs=1e-7)
    rows = DeepfoolMargin(DeepfoolMarginOptions(name="deepfool_margin")).compute(half_dead())
    values = {row.measure: row.value for row in rows}
    assert values["deepfool_margin_infinite_share"] == 0.5
    assert values["deepfool_margin_min"] == pytest.approx(0.2 * 1.02)
