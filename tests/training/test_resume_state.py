from dataclasses import replace

import pytest

from orchestrator.study.spec import CheckpointOptions
from orchestrator.training import (
    EpochEnd,
    Finished,
    decode_resume_state,
    encode_resume_state,
    train,
)
from tests.training.cases import HERE, assert_same_events, blobs, configuration, run

MLP = {"name": "mlp", "width": 12, "depth": 1, "normalization": "batch", "dropout": 0.2}
CNN = {"name": "cnn", "width": 4, "depth": 1, "normalization": "batch", "dropout": 0.2}
CHECKPOINTS = {"train_loss": [0.8, 0.6, 0.4, 0.2], "epochs": [0, 3], "updates": [2, 5, 13]}

CASES = {
    "sgd": configuration(MLP),
    "adamw": configuration(MLP, optimizer="adamw"),
    "sam": configuration(MLP, optimizer={"name": "sam", "momentum": 0.9}),
    "asam": configuration(MLP, optimizer={"name": "asam", "momentum": 0.9, "nesterov": True}),
    "own": configuration(f"{HERE}:peculiar", optimizer={"name": "torch.optim:Adam"}),
    "images": configuration(CNN, augmentation=["flip", "crop"], schedule="cosine"),
    "train_loss": configuration(MLP, stop={"epochs": 10, "train_loss": 0.5}),
    "updates": configuration(MLP, stop={"updates": 14}),
}


def interrupted(config, dataset, every_epoch, device="cpu"):
    """All events of a trial that is begun anew from its bytes after each of some epochs."""
    events, stored = [], b""
    while True:
        resume = decode_resume_state(stored) if stored else None
        checkpoints = CheckpointOptions.model_validate(CHECKPOINTS)
        for event in train(config, 0, dataset, checkpoints, resume=resume, device=device):
            events.append(event)
            if isinstance(event, EpochEnd) and event.epoch % every_epoch == 0:
                stored = encode_resume_state(event.resume())
                break
            if isinstance(event, Finished):
                return events


@pytest.mark.parametrize("name", CASES)
def test_interrupted_is_uninterrupted(name):
    config = CASES[name]
    dataset = blobs(shape=(2, 6, 6)) if name == "images" else blobs()
    straight = run(config, dataset, **CHECKPOINTS)
    for every_epoch in (1, 2):
        assert_same_events(interrupted(config, dataset, every_epoch), straight)


def test_time_adds_up():
    config = configuration()
    events = interrupted(config, blobs(), 1)
    seconds = [event.seconds for event in events if isinstance(event, EpochEnd)]
    assert seconds == sorted(seconds)
    assert seconds[0] < seconds[-1]
    assert events[-1].train_seconds == seconds[-1]


def test_after_the_end_only_the_end_is_told():
    config = configuration(stop={"epochs": 1})
    for event in train(config, 0, blobs(), CheckpointOptions()):
        if isinstance(event, EpochEnd):
            state = event.resume()
    again = list(train(config, 0, blobs(), CheckpointOptions(), resume=state))
    assert [type(event) for event in again] == [Finished]
    assert (again[0].stop_reason, again[0].updates, again[0].epochs) == ("epochs", 4, 1.0)


def test_checkpoints_asked_for_later_are_taken_from_there_on():
    config = configuration()
    for event in train(config, 0, blobs(), CheckpointOptions()):
        if isinstance(event, EpochEnd) and event.epoch == 2:
            state = event.resume()
            break
    options = CheckpointOptions(updates=(3, 10), train_loss=(50.0,))
    events = list(train(config, 0, blobs(), options, resume=state))
    assert [(event.step, event.reasons) for event in events if hasattr(event, "reasons")] == [
        (10, ("update",)),
        (16, ("final",)),
    ]


def test_seconds_count_from_the_beginning():
    config = configuration(stop={"seconds": 100.0})
    state = next(train(config, 0, blobs(), CheckpointOptions())).resume()
    nearly_over = replace(state, train_seconds=100.0 - 1e-9)
    events = list(train(config, 0, blobs(), CheckpointOptions(), resume=nearly_over))
    assert (events[-1].stop_reason, events[-1].updates) == ("seconds", 1)
