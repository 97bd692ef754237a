import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from orchestrator.study.training_options import ScheduleOptions
from orchestrator.training.schedules import learning_rate_factor


def factors(options, updates_per_epoch=10, last_update=100.0, count=100):
    schedule = TypeAdapter(ScheduleOptions).validate_python(options)
    factor = learning_rate_factor(schedule, updates_per_epoch, last_update)
    return [factor(update) for update in range(count)]


def test_a_constant_schedule_keeps_the_factor_1():
    assert factors("constant", last_update=math.inf) == [1.0] * 100


def test_warm_up_is_linear_and_ends_at_1():
    found = factors({"name": "constant", "warmup_epochs": 0.4}, count=6)
    assert found == [0.25, 0.5, 0.75, 1.0, 1.0, 1.0]


def test_warm_up_may_end_within_an_update():
    found = factors({"name": "constant", "warmup_epochs": 0.25}, count=4)
    assert found == [0.4, 0.8, 1.0, 1.0]


@pytest.mark.parametrize("final", [0.0, 0.1])
def test_the_cosine_schedule_equals_pytorch(final):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    reference = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 100, eta_min=final)
    expected = []
    for _ in range(100):
        expected.append(reference.get_last_lr()[0])
        optimizer.step()
        reference.step()
    assert factors({"name": "cosine", "final": final}) == pytest.approx(expected, abs=1e-12)


def test_cosine_starts_after_warm_up_and_ends_with_training():
    found = factors({"name": "cosine", "warmup_epochs": 2, "final": 0.5}, count=101)
    assert found[:20] == pytest.approx([(k + 1) / 20 for k in range(20)])
    assert found[20] == 1.0
    assert found[60] == pytest.approx(0.75)
    assert found[100] == 0.5


def test_a_warm_up_longer_than_training_stays_below_1():
    found = factors({"name": "cosine", "warmup_epochs": 20})
    assert found == pytest.approx([(k + 1) / 200 for k in range(100)])


def test_the_step_schedule_changes_at_the_first_update_of_an_epoch():
    found = factors({"name": "step", "epochs": [2, 5], "factor": 0.5})
    assert found == [1.0] * 20 + [0.5] * 30 + [0.25] * 50


@given(
    st.sampled_from(["constant", "cosine", "step"]),
    st.floats(0, 30),
    st.integers(1, 50),
    st.integers(1, 2000),
)
def test_schedule_factors_are_positive_and_at_most_1(name, warmup, updates_per_epoch, last_update):
    options = {"name": name, "warmup_epochs": warmup} | ({"epochs": [3]} if name == "step" else {})
    found = factors(options, updates_per_epoch, last_update, last_update)
    assert all(0 < factor <= 1 for factor in found)
