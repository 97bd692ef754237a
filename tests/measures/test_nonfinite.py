"""Every row without a finite number has a reason, whatever its measure says."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from orchestrator.measures import MeasureContext, measure_snapshot
from orchestrator.study.measure_options import CustomMeasure
from tests.measures.cases import CROSS_ENTROPY, case, random_dataset

REQUEST = CustomMeasure(name="tests.measures.user_measures:gives_no_reason")


def reasons(model: nn.Module) -> dict[str, str]:
    context = MeasureContext(model, random_dataset((5,), 14, 3), CROSS_ENTROPY)
    rows: list[dict[str, Any]] = list(measure_snapshot(context, {"mine": REQUEST}, findings={}))
    assert all(row["status"] == "nonfinite" and row["error"] for row in rows)
    found = {row.get("measure") or row["curve"]: row["error"] for row in rows}
    assert found.pop("reasoned") == "its own"
    return found


def test_a_sound_network_gets_a_reason_that_names_the_number() -> None:
    assert reasons(case("mlp").model()) == {
        "pair": "the value is infinite; the measure gave no reason",
        "triple": "the standard error is not a number; the measure gave no reason",
        "of_data": "the value is minus infinity; the measure gave no reason",
        "line": "1 of 4 numbers of the curve are not finite; the measure gave no reason",
    }


@pytest.mark.parametrize("number", [torch.nan, torch.inf])
def test_a_diverged_network_gets_a_reason_that_names_its_parameters(number: float) -> None:
    model = case("mlp").model()
    nn.init.constant_(model[0].bias, number)
    for reason in reasons(model).values():
        assert reason.startswith("1 of 6 parameters of the network are not finite")
        assert "(first '0.bias')" in reason


class Overflow(nn.Module):
    """Finite weights, logits that are not."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x) * torch.where(x[:, :1] > 0, torch.inf, 1.0)


def test_overflowing_logits_are_named_with_their_split() -> None:
    found = reasons(Overflow())
    assert found["pair"].startswith("the value is infinite")
    assert "14 train examples are not finite" in found["of_data"]
    assert "test examples are not finite" in found["line"]


class Broken(nn.Linear):
    def forward(self, x: Tensor) -> Tensor:
        raise ZeroDivisionError("no such thing")


def test_an_error_of_the_network_is_the_reason() -> None:
    found = reasons(Broken(5, 3))
    assert found["of_data"] == "ZeroDivisionError when calling the network: no such thing"
