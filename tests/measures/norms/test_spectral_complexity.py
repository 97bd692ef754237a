from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from math import isnan, sqrt

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations

from orchestrator.errors import MeasureError
from orchestrator.measures import MeasureContext, spectral_complexity
from orchestrator.measures.norms.spectral_complexity import SpectralComplexity
from orchestrator.study.measure_options.norms import SpectralComplexityOptions
from tests.measures.cases import CROSS_ENTROPY, case, classes_of, random_dataset


def context_of(
    model: nn.Module, initial: nn.Module | dict[str, torch.Tensor], *shape: int
) -> MeasureContext:
    data = random_dataset(shape, 4, classes_of(model, shape))
    state = initial.state_dict() if isinstance(initial, nn.Module) else initial
    return MeasureContext(model, data, CROSS_ENTROPY, initial_state=state)


def with_weights(*weights: list[list[float]]) -> nn.Sequential:
    layers = []
    for weight in weights:
        layer = nn.Linear(len(weight[0]), len(weight), bias=False)
        with torch.no_grad():
            layer.weight.copy_(torch.tensor(weight))
        layers += [layer, nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def test_the_complexity_equals_a_value_worked_out_by_hand() -> None:
    """The rows of the change have norms 5 and 1 in the first layer, and 2 and 0 in the second."""
    initial = with_weights([[0, 0], [0, 0]], [[0, 0], [0, 3]])
    model = with_weights([[3, 4], [0, 1]], [[0, 2], [0, 3]])
    first = torch.linalg.matrix_norm(torch.tensor([[3.0, 4.0], [0.0, 1.0]]), ord=2).item()
    second = sqrt(13)
    expected = first * second * ((6 / first) ** (2 / 3) + (2 / second) ** (2 / 3)) ** 1.5
    assert spectral_complexity(context_of(model, initial, 2)) == pytest.approx(expected)


def test_rows_of_a_convolution_are_those_of_its_operator() -> None:
    def network() -> nn.Sequential:
        return nn.Sequential(nn.Conv2d(1, 2, 2, bias=False), nn.Flatten(), nn.Linear(8, 2))

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model, initial = network(), network()
    context = context_of(model, initial, 1, 3, 3)

    def operator(net: nn.Sequential) -> torch.Tensor:
        return torch.func.jacrev(net[0].double())(torch.zeros(1, 3, 3).double()).reshape(8, 9)

    change = operator(model) - operator(initial)
    norms = [torch.linalg.matrix_norm(operator(model), ord=2)]
    norms += [torch.linalg.matrix_norm(model[2].weight.double(), ord=2)]
    rows = [change.norm(dim=1).sum()]
    rows += [(model[2].weight - initial[2].weight).double().norm(dim=1).sum()]
    sums = sum((row / norm) ** (2 / 3) for row, norm in zip(rows, norms, strict=True))
    expected = (norms[0] * norms[1] * sums**1.5).item()
    assert spectral_complexity(context) == pytest.approx(expected, rel=1e-5)


def test_a_network_that_did_not_move_has_complexity_zero() -> None:
    model = case("mlp").model()
    assert spectral_complexity(context_of(model, model, 5)) == 0


def test_missing_weights_before_training_give_a_reason() -> None:
    measure = SpectralComplexity(SpectralComplexityOptions(name="spectral_complexity"))
    (row,) = measure.compute(case("mlp").context())
    assert isnan(row.value)
    assert "before training" in str(row.reason)


@pytest.mark.parametrize(
    "computed",
    [
        pytest.param(parametrizations.weight_norm, id="weight_norm"),
        pytest.param(parametrizations.spectral_norm, id="spectral_norm"),
        pytest.param(torch.nn.utils.spectral_norm, id="by hooks"),
    ],
)
def test_computed_weights_count_with_the_values_they_had(
    computed: Callable[[nn.Module], nn.Module],
) -> None:
    inputs = torch.randn(4, 5)

    @torch.no_grad()
    def plain(model: nn.Sequential) -> nn.Sequential:
        model(inputs)
        same = nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 3))
        for place in (0, 2):
            same[place].weight.copy_(model[place].weight)
            same[place].bias.copy_(model[place].bias)
        return same

    model = nn.Sequential(computed(nn.Linear(5, 8)), nn.ReLU(), nn.Linear(8, 3)).eval()
    before, initial = plain(model), deepcopy(model.state_dict())
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    expected = spectral_complexity(context_of(plain(model), before, 5))
    assert spectral_complexity(context_of(model, initial, 5)) == pytest.approx(expected, rel=1e-5)


def test_a_state_of_another_network_is_refused() -> None:
    model = nn.Sequential(parametrizations.weight_norm(nn.Linear(5, 3)))
    other = nn.Sequential(parametrizations.weight_norm(nn.Linear(6, 3)))
    with pytest.raises(MeasureError, match="weights before training"):
        spectral_complexity(context_of(model, other, 5))
