from __future__ import annotations

from math import inf

import pytest
import torch

from orchestrator.measures import Inputs, separation
from orchestrator.measures.robustness import separation as module
from orchestrator.measures.robustness.separation import Separation
from orchestrator.study.measure_options.robustness import SeparationOptions
from tests.measures.robustness.cases import context_of, linear


def inputs(points: list[list[float]], labels: list[int]) -> Inputs:
    return Inputs("train", torch.tensor(points, dtype=torch.float64), torch.tensor(labels))


def test_separation_equals_a_value_worked_out_by_hand() -> None:
    data = inputs([[0, 0], [0.1, 0], [3, 4], [3, 4.5]], [0, 0, 1, 0])
    assert separation(data, data, "l2") == (0.5, 0)
    apart = inputs([[0, 0], [0.1, 0], [3, 4]], [0, 0, 1])
    assert separation(apart, apart, "linf") == (4, 0)
    assert separation(apart, apart, "l2")[0] == pytest.approx((2.9**2 + 16) ** 0.5)


def test_a_single_label_has_no_separation() -> None:
    data = inputs([[0, 0], [1, 0]], [1, 1])
    assert separation(data, data, "l2") == (inf, 0)


def test_identical_inputs_with_different_labels_are_counted() -> None:
    data = inputs([[0, 0], [1, 0], [1, 0], [1, 0]], [0, 1, 2, 1])
    assert separation(data, data, "linf") == (0, 3)


@pytest.mark.parametrize("norm", ["l2", "linf"])
def test_computing_in_parts_does_not_change_separation(
    norm: module.Norm, monkeypatch: pytest.MonkeyPatch
) -> None:
    generator = torch.Generator().manual_seed(0)
    data = Inputs(
        "train",
        torch.randn(50, 3, generator=generator, dtype=torch.float64),
        torch.randint(0, 3, (50,), generator=generator),
    )
    whole = separation(data, data, norm)
    expected = min(
        (data.x[i] - data.x[j]).norm(p=2 if norm == "l2" else inf).item()
        for i in range(50)
        for j in range(50)
        if data.y[i] != data.y[j]
    )
    assert whole[0] == pytest.approx(expected)
    monkeypatch.setattr(module, "NUMBERS_AT_ONCE", 400)
    assert separation(data, data, norm) == whole


def test_the_measure_compares_the_test_split_with_the_training_split() -> None:
    context = context_of(
        linear(torch.eye(3, 2)), torch.tensor([[0.0, 0], [0, 2], [0, 2]]), torch.tensor([0, 1, 1])
    )
    rows = list(Separation(SeparationOptions(name="separation")).compute(context))
    assert {row.value for row in rows if row.measure == "separation"} == {2}
    assert {row.value for row in rows if row.measure == "separation_conflicts"} == {0}
    assert [row.split for row in rows] == ["train"] * 4 + ["test"] * 4
