from __future__ import annotations

from math import isnan, prod

import pytest
import torch
from torch import nn

from orchestrator.measures.base import Value
from orchestrator.measures.context import MeasureContext
from orchestrator.measures.norms.weight_norms import Norms
from orchestrator.study.measure_options.norms import NormsOptions
from tests.measures.cases import CASES, CROSS_ENTROPY, Case, case, random_dataset

MEASURE = Norms(NormsOptions(name="norms"))


def found(context: MeasureContext) -> dict[str, Value]:
    return {value.measure: value for value in MEASURE.compute(context)}


@pytest.mark.parametrize("subject", CASES, ids=lambda case: case.name)
def test_norms_and_distance_agree_with_brute_force(subject: Case) -> None:
    model, initial = subject.model(0), subject.model(1).state_dict()
    context = MeasureContext(
        model, subject.dataset(), subject.loss, initial_state=initial, dtype=torch.float64
    )
    values = found(context)
    assert list(values) == [entry.measure for entry in MEASURE.entries]
    assert all(value.split is None and value.reason is None for value in values.values())
    parameters = {name: p.detach().double() for name, p in model.named_parameters()}
    squares = sum(p.square().sum() for p in parameters.values())
    distances = sum((p - initial[name]).square().sum() for name, p in parameters.items())
    assert values["parameter_count"].value == sum(p.numel() for p in parameters.values())
    assert values["weight_norm"].value == pytest.approx(squares.sqrt().item())
    assert values["distance_from_initialization"].value == pytest.approx(distances.sqrt().item())


def test_norm_products_equal_the_products_over_layers() -> None:
    context = case("mlp").context()
    weights = [context.parameters[f"{index}.weight"].detach() for index in (0, 2, 4)]
    values = found(context)
    spectral = prod(torch.linalg.matrix_norm(weight, 2).item() for weight in weights)
    frobenius = prod(torch.linalg.matrix_norm(weight).item() for weight in weights)
    assert values["spectral_norm_product"].value == pytest.approx(spectral)
    assert values["frobenius_norm_product"].value == pytest.approx(frobenius)


@pytest.mark.parametrize("alpha", [0.2, 4.0])
def test_rescaling_does_not_change_the_products(alpha: float) -> None:
    model = case("mlp_without_bias").model().double()
    data = random_dataset((5,), 14, 3)
    before = found(MeasureContext(model, data, CROSS_ENTROPY))
    with torch.no_grad():
        model[0].weight.mul_(alpha)
        model[2].weight.div_(alpha)
    after = found(MeasureContext(model, data, CROSS_ENTROPY))
    for name in ("spectral_norm_product", "frobenius_norm_product"):
        assert after[name].value == pytest.approx(before[name].value)
    assert after["weight_norm"].value != pytest.approx(before["weight_norm"].value, rel=0.01)


def test_the_distance_is_0_before_training() -> None:
    subject = case("cnn")
    context = MeasureContext(
        subject.model(), subject.dataset(), subject.loss, initial_state=subject.model().state_dict()
    )
    assert found(context)["distance_from_initialization"].value == 0


@pytest.mark.parametrize(
    ("initial", "reason"),
    [
        (None, "needs the network's state before training"),
        ({"weight": torch.zeros(3, 5)}, "initial_state has nothing for parameter 'bias'"),
        (
            {"weight": torch.zeros(5, 3), "bias": torch.zeros(3)},
            "initial_state has (5, 3) for parameter 'weight', expected shape (3, 5)",
        ),
    ],
)
def test_an_unusable_initial_state_gives_a_value_with_a_reason(
    initial: dict[str, torch.Tensor] | None, reason: str
) -> None:
    context = MeasureContext(
        nn.Linear(5, 3), random_dataset((5,), 4, 3), CROSS_ENTROPY, initial_state=initial
    )
    values = found(context)
    distance = values.pop("distance_from_initialization")
    assert isnan(distance.value)
    assert reason in str(distance.reason)
    assert all(value.reason is None for value in values.values())


def test_undefined_products_give_values_with_a_reason() -> None:
    class Gain(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.gain = nn.Parameter(torch.ones(5))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x * self.gain

    values = found(MeasureContext(Gain(), random_dataset((5,), 4, 5), CROSS_ENTROPY))
    for name in ("spectral_norm_product", "frobenius_norm_product"):
        assert isnan(values[name].value)
        assert "parameter 'gain' of Gain" in str(values[name].reason)
    assert values["weight_norm"].value == pytest.approx(5**0.5)
