import math

import pytest

from orchestrator.errors import UserError
from orchestrator.study.spec import CheckpointOptions
from orchestrator.training.snapshot_plan import SnapshotPlan


def plan(last_epoch=4, last_step=16, **checkpoints):
    return SnapshotPlan.of(CheckpointOptions.model_validate(checkpoints), last_epoch, last_step)


def of_epoch(planned, steps=range(1, 5), reached=(), *, epoch=1, whole=True, final=False):
    return planned.of_epoch(epoch, steps, dict(reached), whole=whole, final=final)


def test_without_a_plan_only_the_final_network_gets_a_snapshot():
    assert of_epoch(plan()) == {}
    assert of_epoch(plan(), final=True) == {4: (("final",), ())}


def test_every_reason_for_one_step_in_a_fixed_order():
    planned = plan(epochs=[1], updates=[4], train_loss=[0.5, 0.25])
    assert of_epoch(planned, reached=[(0.5, 4), (0.25, 4)], final=True) == {
        4: (("epoch", "update", "train_loss 0.5", "train_loss 0.25", "final"), (0.5, 0.25))
    }


def test_steps_are_in_order_whatever_their_reasons():
    planned = plan(epochs=[1], updates=[1, 3], train_loss=[0.5])
    found = of_epoch(planned, reached=[(0.5, 2)])
    assert list(found.items()) == [
        (1, (("update",), ())),
        (2, (("train_loss 0.5",), (0.5,))),
        (3, (("update",), ())),
        (4, (("epoch",), ())),
    ]


def test_an_epoch_that_training_leaves_early_has_no_end():
    planned = plan(epochs=[1], updates={"every": 2})
    assert of_epoch(planned, range(1, 4), whole=False, final=True) == {
        2: (("update",), ()),
        3: (("final",), ()),
    }


def test_updates_count_from_the_beginning_of_training():
    planned = plan(epochs=[2], updates=[3, 6, 9])
    assert of_epoch(planned, range(5, 9), epoch=2) == {6: (("update",), ()), 8: (("epoch",), ())}
    assert of_epoch(planned, range(9, 13), epoch=3) == {9: (("update",), ())}


def test_the_untrained_network_is_step_0_of_epoch_0():
    planned = plan(epochs=[0], updates=[0, 1])
    assert of_epoch(planned, range(1), epoch=0) == {0: (("epoch", "update"), ())}


def test_a_milestone_is_reached_once_and_at_equality():
    planned = plan(train_loss=[0.1, 0.5, 0.5, 0.3])
    assert planned.newly_reached(0.4, math.inf) == [0.5]
    assert planned.newly_reached(0.1, 0.4) == [0.3, 0.1]
    assert planned.newly_reached(0.1, 0.5) == [0.3, 0.1]
    assert planned.newly_reached(0.6, 0.4) == []
    assert planned.newly_reached(math.nan, math.inf) == []


def test_endless_training_has_endless_snapshots_but_no_log_spaced_ones():
    planned = plan(math.inf, math.inf, updates={"every": 10**6})
    assert 10**12 in planned.updates
    with pytest.raises(UserError, match=r"checkpoints\.epochs: log_spaced needs a known end"):
        plan(math.inf, math.inf, epochs={"log_spaced": 3})
