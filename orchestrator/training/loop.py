"""The training of one network from its first weights to the end, in plain PyTorch."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from functools import partial

import torch

from orchestrator.data.dataset import Dataset
from orchestrator.errors import ResultsError
from orchestrator.study.spec import CheckpointOptions, TrialConfig
from orchestrator.study.training_options import StopOptions
from orchestrator.training.batches import examples_after
from orchestrator.training.events import (
    Checkpoint,
    EpochEnd,
    Event,
    Finished,
    ResumeState,
    StopReason,
)
from orchestrator.training.learner import Learner
from orchestrator.training.milestones import EpochReplay
from orchestrator.training.snapshot_plan import SnapshotPlan


def train(
    config: TrialConfig,
    seed: int,
    dataset: Dataset,
    checkpoints: CheckpointOptions,
    *,
    device: str | torch.device = "cpu",
    resume: ResumeState | None = None,
) -> Iterator[Event]:
    """Train one network and yield the events of its training.

    Every epoch visits the training split once in its own order; a smaller last batch counts as an
    update like any other. Then the network is evaluated. Points within the epoch (milestones,
    checkpoints at updates, a stop at a training loss) are found afterwards by going back and
    replaying the updates. The search for them never affects training.

    On one machine and with a fixed number of threads, ``config`` and ``seed`` determine the result
    bit for bit: with or without checkpoints, uninterrupted or resumed.

    Args:
        config: Model and training; ``dataset`` was loaded from its ``data`` part.
        seed: The trial's seed.
        dataset: Data set to train on; copied to ``device`` if it is elsewhere.
        checkpoints: When to take snapshots. The final network always gets one.
        device: Device to train on.
        resume: State to resume from. Events up to that state are not yielded again, and newly
            requested checkpoints before it are not taken. If training had ended there, only
            :class:`Finished` follows.

    Yields:
        For each epoch (the initial network is epoch 0) its checkpoints in the order of steps,
        then its :class:`EpochEnd`, unless training ends within it. Finally :class:`Finished`.

    Raises:
        UserError: If parts of the configuration do not fit each other or the data.
        ResultsError: If ``resume`` is the state of another trial.
    """
    stop = config.training.stop
    learner = Learner(config, seed, dataset, torch.device(device))
    last_epoch = learner.last_step / learner.updates_per_epoch
    plan = SnapshotPlan.of(checkpoints, last_epoch, learner.last_step)
    n = len(dataset.train_y)
    examples_seen = partial(examples_after, n=n, batch_size=config.training.batch_size)
    state = _begin(learner, config.trial_id(seed), resume)

    while state.stop_reason is None:
        # Train for an epoch. Epoch 0 is the initial network and has no updates.
        epoch = state.epoch + 1
        learner.begin_epoch(epoch)
        replay = EpochReplay(learner)
        first = learner.step + 1 if epoch else 0
        epoch_end = epoch * learner.updates_per_epoch
        seconds_left = math.inf if stop.seconds is None else stop.seconds - state.train_seconds
        seconds = learner.train_until(min(epoch_end, learner.last_step), seconds_left)

        # Decide where it ends, and which of its steps get a snapshot.
        end, stop_reason = _end_of_epoch(stop, learner, replay, state.train_seconds + seconds)
        train_loss = replay.metrics(end, "train").loss
        milestones = plan.newly_reached(train_loss, state.lowest_train_loss)
        reached = {target: replay.find(target, end) for target in milestones}
        snapshots = plan.of_epoch(
            epoch,
            range(first, end + 1),
            reached,
            whole=end == epoch_end,
            final=stop_reason is not None,
        )
        for step, grounds in snapshots.items():
            on_train, on_test = replay.metrics(step, "train"), replay.metrics(step, "test")
            replay.go_to(step)
            yield Checkpoint(
                step=step,
                epoch=examples_seen(step) / n,
                examples_seen=examples_seen(step),
                reasons=grounds.reasons,
                milestones=grounds.milestones,
                train_loss=on_train.loss,
                train_error=on_train.error,
                test_loss=on_test.loss,
                test_error=on_test.error,
                state=learner.snapshot(),
            )

        replay.go_to(end)
        on_train, on_test = replay.metrics(end, "train"), replay.metrics(end, "test")
        state = replace(
            state,
            epoch=epoch,
            step=end,
            train_seconds=state.train_seconds + seconds,
            evaluation_seconds=state.evaluation_seconds + replay.seconds,
            lowest_train_loss=min(state.lowest_train_loss, train_loss),
            stop_reason=stop_reason,
        )
        if end == epoch_end:
            yield EpochEnd(
                epoch=epoch,
                step=end,
                examples_seen=examples_seen(end),
                seconds=state.train_seconds,
                learning_rate=learner.learning_rate(),
                train_loss=on_train.loss,
                train_error=on_train.error,
                test_loss=on_test.loss,
                test_error=on_test.error,
                resume=partial(_resume_state, state, learner),
            )

    seen = examples_seen(learner.step)
    yield Finished(
        stop_reason=state.stop_reason,
        epochs=seen / n,
        updates=learner.step,
        examples_seen=seen,
        train_seconds=state.train_seconds,
        evaluation_seconds=state.evaluation_seconds,
    )


def _begin(learner: Learner, trial_id: str, resume: ResumeState | None) -> ResumeState:
    """Return the progress at which training begins, without tensors, and move the learner there."""
    if resume is None:
        return ResumeState(trial_id)
    if resume.trial_id != trial_id:
        raise ResultsError(
            f"resume state: belongs to trial {resume.trial_id}, expected trial {trial_id}"
        )
    learner.load_state(resume.step, resume.network, resume.optimizer)
    return replace(resume, network={}, optimizer={})


def _end_of_epoch(
    stop: StopOptions, learner: Learner, replay: EpochReplay, train_seconds: float
) -> tuple[int, StopReason | None]:
    """Return the last step of an epoch, and why training ends there, if it does.

    A stop at a training loss may be at an earlier step than the learner's.
    """
    end = learner.step
    train_loss = replay.metrics(end, "train").loss
    if not (math.isfinite(train_loss) and learner.is_finite()):
        return end, "diverged"
    if stop.train_loss is not None and train_loss <= stop.train_loss:
        return replay.find(stop.train_loss, end), "train_loss"
    if stop.epochs is not None and end == stop.epochs * learner.updates_per_epoch:
        return end, "epochs"
    if end == stop.updates:
        return end, "updates"
    if stop.seconds is not None and train_seconds >= stop.seconds:
        return end, "seconds"
    return end, None


def _resume_state(state: ResumeState, learner: Learner) -> ResumeState:
    if learner.step != state.step or learner.epoch != state.epoch:
        raise RuntimeError("EpochEnd.resume was called after the next event was requested")
    network, optimizer = learner.state()
    return replace(state, network=network, optimizer=optimizer)
