from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch

from orchestrator.errors import MeasureError
from orchestrator.measures.base import Value
from orchestrator.measures.build import build_measure, built_in_names
from orchestrator.measures.own_measure import FunctionMeasure
from orchestrator.study.measure_options import CustomMeasure
from tests.measures.cases import case
from tests.measures.user_measures import LogitNorm, logit_scale, returns


def test_pairs_triples_and_values_are_accepted() -> None:
    context = case("mlp").context()
    logits = context.logits("train")
    found = list(FunctionMeasure("mine", logit_scale, {"power": 2.0}).compute(context))
    assert found == [
        Value("logit_scale", logits.abs().mean().item() ** 2, split=None),
        Value("logit_spread", logits.std().item(), 0.5, split=None),
        Value("logit_scale", 1.0, variant="test", split="test"),
    ]


@pytest.mark.parametrize(
    "what",
    [
        ("name", 1.0),
        "name",
        1.0,
        None,
        {"name": 1.0},
        [("name",)],
        [("name", "much")],
        [("name", None)],
        [("name", torch.zeros(2))],
        [("name", 1, 2, 3)],
        [(1, "name")],
    ],
    ids=repr,
)
def test_other_results_are_refused_with_what_was_expected(what: Any) -> None:
    measure = FunctionMeasure("mine", returns, {"what": what})
    with pytest.raises(
        MeasureError, match=r"measure 'mine': returned .*, expected \(name, value\)"
    ):
        list(measure.compute(case("mlp").context()))


@pytest.mark.parametrize("what", [[], [("name", torch.tensor(2))], (("name", True, 1),)], ids=repr)
def test_any_iterable_of_numbers_is_accepted(what: Any) -> None:
    found = list(FunctionMeasure("mine", returns, {"what": what}).compute(case("mlp").context()))
    assert len(found) == len(what)
    assert all(isinstance(value.value, float) for value in found)


@pytest.mark.parametrize("item", [("margin_mean", 1.0), Value("hessian_trace", 1.0, variant="own")])
def test_names_of_built_in_values_are_refused(item: Any) -> None:
    measure = FunctionMeasure("mine", returns, {"what": [item]}, built_in_names())
    with pytest.raises(MeasureError, match="is the name of a built-in measure"):
        list(measure.compute(case("mlp").context()))


def test_built_in_names_in_the_entries_of_a_class_are_refused() -> None:
    options = CustomMeasure(name=f"{__name__}:Copied")
    with pytest.raises(MeasureError, match="'weight_norm' is the name of a built-in measure"):
        build_measure(options)


class Copied(LogitNorm):
    entries = (dataclasses.replace(LogitNorm.entries[0], measure="weight_norm"),)
