import itertools
import math

import pytest
import torch
import torch.nn.functional as F

from orchestrator.errors import ResultsError, UserError
from orchestrator.models import build_model
from orchestrator.random_streams import stream_seed
from orchestrator.study.spec import CheckpointOptions
from orchestrator.training import Checkpoint, EpochEnd, Finished, train
from tests.training.cases import (
    EVERYTHING,
    HERE,
    IMAGES,
    assert_same_events,
    assert_same_tensors,
    blobs,
    checkpoints_of,
    configuration,
    epochs_of,
    finish_of,
    of_every_kind,
    run,
    untimed,
)


def test_it_is_the_plain_loop_of_pytorch_to_the_last_bit():
    config, dataset = configuration(stop={"epochs": 3}), blobs(n=50)
    model = build_model(config.model, (8,), 3, seed=5)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, foreach=False)
    for epoch in (1, 2, 3):
        generator = torch.Generator().manual_seed(stream_seed(5, "order", epoch))
        for batch in torch.randperm(50, generator=generator).split(16):
            optimizer.zero_grad()
            F.cross_entropy(model(dataset.train_x[batch]), dataset.train_y[batch]).backward()
            optimizer.step()
    (last,) = checkpoints_of(run(config, dataset, seed=5))
    assert_same_tensors(last.state, dict(model.state_dict()))
    assert last.step == 12


def test_golden_losses():
    """Pins data order, initialization, loss, optimizer and evaluation at once."""
    epochs = epochs_of(run(configuration(stop={"epochs": 3})))
    train_losses = [0.998060517804, 0.399947431625, 0.268431020518, 0.246333042551]
    test_losses = [1.076186223318, 0.351450252210, 0.397453611364, 0.395171256930]
    assert [epoch.train_loss for epoch in epochs] == pytest.approx(train_losses, abs=1e-6)
    assert [epoch.test_loss for epoch in epochs] == pytest.approx(test_losses, abs=1e-6)


def test_events_of_a_run_in_order():
    events = run(configuration(stop={"epochs": 2}), epochs=[0, 1], updates=[3, 6, 100])
    assert [(type(event), getattr(event, "step", None)) for event in events] == [
        (Checkpoint, 0),
        (EpochEnd, 0),
        (Checkpoint, 3),
        (Checkpoint, 4),
        (EpochEnd, 4),
        (Checkpoint, 6),
        (Checkpoint, 8),
        (EpochEnd, 8),
        (Finished, None),
    ]
    assert [event.reasons for event in checkpoints_of(events)] == [
        ("epoch",),
        ("update",),
        ("epoch",),
        ("update",),
        ("final",),
    ]
    assert finish_of(events).stop_reason == "epochs"


def test_a_smaller_last_batch_counts_by_its_examples():
    events = run(configuration(stop={"epochs": 2}), blobs(n=50), updates={"every": 1})
    found = [(c.step, c.examples_seen, c.epoch) for c in checkpoints_of(events)]
    seen = [16, 32, 48, 50, 66, 82, 98, 100]
    assert found == [(i + 1, count, count / 50) for i, count in enumerate(seen)]
    assert [event.examples_seen for event in epochs_of(events)] == [0, 50, 100]
    finished = finish_of(events)
    assert (finished.updates, finished.examples_seen, finished.epochs) == (8, 100, 2.0)


def test_a_batch_larger_than_the_split_is_the_split():
    events = run(configuration(batch_size=1000, stop={"epochs": 3}))
    assert finish_of(events).updates == 3
    assert finish_of(events).examples_seen == 180


def test_metrics_are_those_of_the_snapshot():
    config, dataset = configuration(stop={"epochs": 2}), blobs()
    for found in checkpoints_of(run(config, dataset, updates=[0, 3, 5])):
        model = build_model(config.model, (8,), 3, seed=0).double().eval()
        model.load_state_dict({name: value.double() for name, value in found.state.items()})
        for split in ("train", "test"):
            inputs, labels = dataset.split(split)
            logits = model(inputs.double())
            error = (logits.argmax(1) != labels).double().mean().item()
            loss = F.cross_entropy(logits, labels).item()
            assert getattr(found, f"{split}_loss") == pytest.approx(loss, rel=1e-5)
            assert getattr(found, f"{split}_error") == error


@of_every_kind
def test_looking_never_changes_training(model, training):
    dataset = blobs(shape=(2, 6, 6)) if model == IMAGES else blobs()
    config = configuration(model, **training)
    plain = run(config, dataset)
    torch.manual_seed(0)
    global_numbers = torch.get_rng_state()
    watched = run(
        config,
        dataset,
        train_loss=[5.0, 1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.3],
        updates={"every": 1},
        epochs={"every": 1},
    )
    assert torch.equal(torch.get_rng_state(), global_numbers)
    assert len(checkpoints_of(watched)) == 17
    assert [untimed(event) for event in epochs_of(plain)] == [
        untimed(event) for event in epochs_of(watched)
    ]
    assert_same_tensors(checkpoints_of(plain)[-1].state, checkpoints_of(watched)[-1].state)


def test_nothing_is_left_over_from_other_trials():
    config = configuration(EVERYTHING)
    alone = run(config, updates=[5])
    run(configuration(IMAGES, augmentation=["crop"]), blobs(shape=(2, 6, 6)), seed=3)
    beside = train(config, 0, blobs(), CheckpointOptions(updates=(5,)))
    other = train(config, 1, blobs(), CheckpointOptions())
    interleaved = [
        event for pair in itertools.zip_longest(beside, other) if (event := pair[0]) is not None
    ]
    assert_same_events(alone, interleaved)


def test_seeds_differ():
    first, second = (checkpoints_of(run(configuration(), seed=seed))[-1] for seed in (0, 1))
    assert first.train_loss != second.train_loss


TARGETS = [0.9, 0.7, 0.5, 0.3, 0.2, 0.1, 0.05, 0.02]


@pytest.mark.parametrize(
    ("batch_size", "seed"),
    [
        (7, 1),
        (16, 0),
        *(pytest.param(*both, marks=pytest.mark.slow) for both in ((2, 0), (2, 1))),
        *(pytest.param(*both, marks=pytest.mark.slow) for both in ((7, 0), (16, 1))),
    ],
)
def test_milestones_are_found_within_epochs(batch_size, seed):
    config = configuration(
        batch_size=batch_size,
        optimizer={"name": "sgd", "learning_rate": 0.05},
        stop={"epochs": 30},
    )
    dataset = blobs(n=120)
    events = run(config, dataset, seed, train_loss=TARGETS)
    every_update = {
        c.step: c.train_loss
        for c in checkpoints_of(run(config, dataset, seed, updates=list(range(250))))
    }
    taken = [(t, c) for c in checkpoints_of(events) for t in c.milestones]
    ends = {event.step: event.train_loss for event in epochs_of(events)}
    reached = [target for target in TARGETS if min(ends.values()) <= target]
    assert [target for target, _ in taken] == reached
    assert len(reached) >= 4
    within = 0
    for target, found in taken:
        assert f"train_loss {target:g}" in found.reasons
        assert found.train_loss <= target
        # The first epoch whose end is low enough is the one that is searched.
        assert all(loss > target for step, loss in ends.items() if step < found.step)
        within += found.step not in ends
        if found.train_loss < 0.9 * target:
            assert every_update[found.step - 1] > target
    assert within >= 2 or batch_size == 16


def test_milestones_do_not_depend_on_one_another():
    config = configuration(batch_size=4, stop={"epochs": 6})
    together = checkpoints_of(run(config, train_loss=TARGETS, updates={"every": 7}))
    places = {target: c.step for c in together for target in c.milestones}
    for target, step in places.items():
        (alone,) = (c for c in checkpoints_of(run(config, train_loss=[target])) if c.milestones)
        assert alone.step == step


def test_a_milestone_may_be_reached_before_training():
    events = run(configuration(), train_loss=[100.0, 50.0])
    first = checkpoints_of(events)[0]
    assert (first.step, first.milestones) == (0, (100.0, 50.0))
    assert first.reasons == ("train_loss 100", "train_loss 50")


def test_a_step_may_have_several_reasons():
    config = configuration(stop={"epochs": 1})
    last = checkpoints_of(run(config))[-1]
    events = run(config, epochs=[1], updates=[4], train_loss=[last.train_loss])
    (found,) = checkpoints_of(events)
    assert found.reasons == ("epoch", "update", f"train_loss {last.train_loss:g}", "final")


def test_stop_at_updates_within_an_epoch():
    events = run(configuration(stop={"updates": 6, "epochs": 4}), epochs={"every": 1})
    assert [event.step for event in epochs_of(events)] == [0, 4]
    assert [(c.step, c.reasons) for c in checkpoints_of(events)] == [
        (4, ("epoch",)),
        (6, ("final",)),
    ]
    finished = finish_of(events)
    assert (finished.stop_reason, finished.updates) == ("updates", 6)
    assert finished.epochs == pytest.approx(1 + 32 / 60)


def test_stop_at_a_train_loss_within_an_epoch():
    config = configuration(
        batch_size=2,
        optimizer={"name": "sgd", "learning_rate": 0.05},
        stop={"epochs": 20, "train_loss": 0.3},
    )
    events = run(config, train_loss=[0.3, 0.1, 0.5], updates={"every": 1}, epochs={"every": 1})
    finished, last = finish_of(events), checkpoints_of(events)[-1]
    assert finished.stop_reason == "train_loss"
    assert last.step == finished.updates
    assert last.step % 30 != 0
    assert last.train_loss <= 0.3
    assert last.milestones == (0.3,)
    assert last.reasons == ("update", "train_loss 0.3", "final")
    assert [c.step for c in checkpoints_of(events)] == list(range(1, last.step + 1))
    assert epochs_of(events)[-1].step < last.step
    plain = run(config)
    assert finish_of(plain).updates == finished.updates
    assert_same_tensors(checkpoints_of(plain)[-1].state, last.state)


def test_stop_before_the_first_update():
    events = run(configuration(stop={"epochs": 2, "train_loss": 50.0}))
    assert [type(event) for event in events] == [Checkpoint, EpochEnd, Finished]
    assert finish_of(events).stop_reason == "train_loss"
    assert finish_of(events).updates == 0


def test_stop_after_seconds():
    events = run(configuration(stop={"seconds": 1e-9}), updates={"every": 1})
    finished = finish_of(events)
    assert (finished.stop_reason, finished.updates) == ("seconds", 1)
    assert finished.train_seconds > 1e-9
    assert finished.evaluation_seconds > 0
    assert [c.reasons for c in checkpoints_of(events)] == [("update", "final")]


def test_divergence_ends_the_trial_and_is_no_error():
    config = configuration(f"{HERE}:exploding", optimizer={"name": "sgd", "learning_rate": 1e20})
    events = run(config, epochs={"every": 1}, train_loss=[0.1])
    finished, last = finish_of(events), checkpoints_of(events)[-1]
    assert (finished.stop_reason, finished.updates) == ("diverged", 4)
    assert last.reasons == ("epoch", "final")
    assert not math.isfinite(last.train_loss)
    assert epochs_of(events)[-1].step == 4


def test_log_spaced_checkpoints():
    events = run(
        configuration(stop={"epochs": 4}), updates={"log_spaced": 3}, epochs={"log_spaced": 2}
    )
    assert [c.step for c in checkpoints_of(events)] == [1, 4, 16]


@pytest.mark.parametrize("key", ["epochs", "updates"])
def test_log_spaced_needs_an_end(key):
    with pytest.raises(UserError, match=rf"checkpoints\.{key}: log_spaced needs"):
        run(configuration(stop={"seconds": 1.0}), **{key: {"log_spaced": 3}})


def test_the_state_of_another_trial_is_refused():
    events = train(configuration(), 0, blobs(), CheckpointOptions())
    state = next(events).resume()
    with pytest.raises(ResultsError, match=r"belongs to trial .* expected trial"):
        next(train(configuration(), 1, blobs(), CheckpointOptions(), resume=state))


def test_a_state_must_be_asked_for_in_time():
    events = train(configuration(), 0, blobs(), CheckpointOptions())
    first = next(events)
    next(events)
    with pytest.raises(RuntimeError, match="after the next event"):
        first.resume()
