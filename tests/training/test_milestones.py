import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.training.evaluation import SplitMetrics
from orchestrator.training.learner import Learner
from orchestrator.training.milestones import EpochReplay, find_crossing
from orchestrator.training.optimizers.base import FlatOptimizer
from tests.training.cases import assert_same_tensors, blobs, configuration

losses = st.lists(st.floats(0.01, 3), min_size=1, max_size=70)
targets = st.floats(0.005, 2.9)


@given(losses, targets)
def test_the_step_found_reaches_the_target_and_little_more(later, target):
    curve = [3.0, *later, target * 0.5]
    step = find_crossing(target, 0, len(curve) - 1, curve.__getitem__)
    assert curve[step] <= target
    assert curve[step] >= 0.9 * target or curve[step - 1] > target


@given(losses, targets, targets)
def test_a_lower_target_is_never_found_earlier(later, one, other):
    curve = [3.0, *later, min(one, other) * 0.5]
    found = [
        find_crossing(target, 0, len(curve) - 1, curve.__getitem__)
        for target in sorted([one, other])
    ]
    assert found[0] >= found[1]


@given(st.integers(1, 5000), st.data())
def test_a_search_looks_at_few_steps(n, data):
    crossing = data.draw(st.integers(1, n))
    looked_at = []

    def loss_at(step):
        looked_at.append(step)
        return 1.0 if step < crossing else 0.0

    assert find_crossing(0.5, 0, n, loss_at) == crossing
    assert len(set(looked_at)) <= n.bit_length() + 1


def test_no_step_between_is_no_search():
    assert find_crossing(0.5, 3, 3, lambda step: pytest.fail(f"looked at {step}")) == 3


MODEL = {"name": "mlp", "width": 8, "depth": 1, "normalization": "batch", "dropout": 0.3}


def replay_of_an_epoch(optimizer="sgd"):
    config = configuration(
        MODEL,
        batch_size=3,
        optimizer={"name": optimizer, "learning_rate": 0.05},
        stop={"epochs": 2},
    )
    learner = Learner(config, 0, blobs(), torch.device("cpu"))
    learner.begin_epoch(1)
    return learner, EpochReplay(learner)


@pytest.mark.parametrize("optimizer", ["sgd", "adamw", "asam"])
def test_any_step_can_be_gone_to_in_any_order(optimizer):
    learner, _ = replay_of_an_epoch(optimizer)
    expected = {}
    for step in range(21):
        learner.train_until(step)
        expected[step] = learner.snapshot()
    learner, replay = replay_of_an_epoch(optimizer)
    learner.train_until(20)
    for step in (10, 5, 7, 8, 8, 3, 19, 20, 0, 20, 14, 17, 15, 1):
        replay.go_to(step)
        assert learner.step == step
        assert_same_tensors(learner.snapshot(), expected[step])


def test_metrics_are_computed_once_and_timed(monkeypatch):
    learner, replay = replay_of_an_epoch()
    learner.train_until(20)
    evaluated = []
    evaluate = learner.evaluate
    monkeypatch.setattr(
        learner,
        "evaluate",
        lambda split: evaluated.append((learner.step, split)) or evaluate(split),
    )
    first = replay.metrics(7, "train")
    replay.metrics(20, "test")
    assert replay.metrics(7, "train") == first
    assert evaluated == [(7, "train"), (20, "test")]
    assert replay.seconds > 0


def with_losses(curve, monkeypatch):
    """A replay of an epoch of 20 updates whose losses are made up; counts updates."""
    learner, replay = replay_of_an_epoch()
    learner.train_until(20)
    monkeypatch.setattr(
        learner, "evaluate", lambda split: SplitMetrics(curve(learner.step), error=0.0)
    )
    made = []
    update = FlatOptimizer.update

    def counted(optimizer, *given):
        made.append(learner.step)
        return update(optimizer, *given)

    monkeypatch.setattr(FlatOptimizer, "update", counted)
    return replay, made


@pytest.mark.parametrize("crossing", range(1, 21))
def test_a_search_makes_again_at_most_the_epochs_updates(crossing, monkeypatch):
    replay, made = with_losses(lambda step: 1.0 if step < crossing else 0.0, monkeypatch)
    assert replay.find(0.5, 20) == crossing
    assert len(made) <= 20


def test_a_target_has_one_place_even_if_training_ends_there(monkeypatch):
    replay, _ = with_losses(lambda step: 0.0 if step in (8, *range(16, 21)) else 1.0, monkeypatch)
    assert replay.find(0.5, 20) == 16
    assert replay.find(0.5, 16) == 16
