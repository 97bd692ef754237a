from __future__ import annotations

import pytest
import torch

from orchestrator.measures.curvature.gradient import GradientNorm
from orchestrator.study.measure_options.curvature import GradientNormOptions
from tests.measures.cases import CASES, Case, case
from tests.measures.references import dense_gradient

MEASURE = GradientNorm(GradientNormOptions(name="gradient_norm"))


@pytest.mark.parametrize("subject", CASES, ids=lambda case: case.name)
def test_gradient_norms_equal_brute_force(subject: Case) -> None:
    context = subject.context(examples_per_pass=4)
    train, test = MEASURE.compute(context)
    assert (train.split, test.split) == ("train", "test")
    for value in (train, test):
        expected = torch.linalg.vector_norm(dense_gradient(context, value.split)).item()
        assert value.value == pytest.approx(expected, rel=1e-10, abs=1e-14)
        assert value.standard_error is None


def test_the_gradient_vanishes_at_a_minimum() -> None:
    assert [value.value for value in MEASURE.compute(case("certain").context())] == [0, 0]
