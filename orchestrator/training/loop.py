"""The training of one network from its first weights to the end, in plain PyTorch."""

from __future__ import annotations

import math
import sys
from collections import defaultdict
from collections.abc import Collection, Iterator
from dataclasses import replace
from functools import partial

import torch

from orchestrator.data.dataset import Dataset
from orchestrator.errors import ResultsError, UserError
from orchestrator.study.positions import planned_steps
from orchestrator.study.spec import CheckpointOptions, Every, LogSpaced, Positions, TrialConfig
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
    n, batch_size = len(dataset.train_y), config.training.batch_size
    learner = Learner(config, seed, dataset, torch.device(device))
    last_epoch = learner.last_step / learner.updates_per_epoch
    planned_epochs = _planned(checkpoints.epochs, last_epoch, "epochs")
    planned_updates = _planned(checkpoints.updates, learner.last_step, "updates")
    state = ResumeState(config.trial_id(seed))
    if resume is not None:
        state = _of_trial(config.trial_id(seed), resume)
        learner.load_state(state.step, state.network, state.optimizer)
    epoch, stop_reason = state.epoch, state.stop_reason
    train_seconds, evaluation_seconds = state.train_seconds, state.evaluation_seconds
    lowest_train_loss = state.lowest_train_loss

    while stop_reason is None:
        # Train for an epoch. Epoch 0 is the initial network and has no updates.
        epoch += 1
        learner.begin_epoch(epoch)
        replay = EpochReplay(learner)
        first = learner.step + 1 if epoch else 0
        epoch_end = epoch * learner.updates_per_epoch
        seconds_left = math.inf if stop.seconds is None else stop.seconds - train_seconds
        train_seconds += learner.train_until(min(epoch_end, learner.last_step), seconds_left)

        # Decide whether training ends at the end of this epoch or within it.
        end = learner.step
        train_loss = replay.metrics(end, "train").loss
        if not (math.isfinite(train_loss) and learner.is_finite()):
            stop_reason = "diverged"
        elif stop.train_loss is not None and train_loss <= stop.train_loss:
            stop_reason = "train_loss"
            end = replay.find(stop.train_loss, end)
            train_loss = replay.metrics(end, "train").loss
        else:
            stop_reason = _bound_reached(stop, learner, train_seconds)

        # Collect the steps of this epoch that get a snapshot, and the reasons.
        reasons: dict[int, list[str]] = defaultdict(list)
        milestones: dict[int, list[float]] = defaultdict(list)
        if end == epoch_end and epoch in planned_epochs:
            reasons[end].append("epoch")
        for step in range(first, end + 1):
            if step in planned_updates:
                reasons[step].append("update")
        for target in sorted(set(checkpoints.train_loss), reverse=True):
            if train_loss <= target < lowest_train_loss:
                step = replay.find(target, end)
                reasons[step].append(f"train_loss {target:g}")
                milestones[step].append(target)
        if stop_reason is not None:
            reasons[end].append("final")
        lowest_train_loss = min(lowest_train_loss, train_loss)

        # Yield the events.
        for step in sorted(reasons):
            on_train, on_test = replay.metrics(step, "train"), replay.metrics(step, "test")
            replay.go_to(step)
            examples_seen = examples_after(step, n, batch_size)
            yield Checkpoint(
                step=step,
                epoch=examples_seen / n,
                examples_seen=examples_seen,
                reason="; ".join(reasons[step]),
                milestones=tuple(milestones[step]),
                train_loss=on_train.loss,
                train_error=on_train.error,
                test_loss=on_test.loss,
                test_error=on_test.error,
                state=learner.snapshot(),
            )
        replay.go_to(end)
        on_train, on_test = replay.metrics(end, "train"), replay.metrics(end, "test")
        evaluation_seconds += replay.seconds
        if end == epoch_end:
            state = ResumeState(
                trial_id=state.trial_id,
                epoch=epoch,
                step=end,
                train_seconds=train_seconds,
                evaluation_seconds=evaluation_seconds,
                lowest_train_loss=lowest_train_loss,
                stop_reason=stop_reason,
            )
            yield EpochEnd(
                epoch=epoch,
                step=end,
                examples_seen=epoch * n,
                seconds=train_seconds,
                learning_rate=learner.learning_rate(),
                train_loss=on_train.loss,
                train_error=on_train.error,
                test_loss=on_test.loss,
                test_error=on_test.error,
                resume=partial(_resume_state, state, learner),
            )

    examples_seen = examples_after(learner.step, n, batch_size)
    yield Finished(
        stop_reason=stop_reason,
        epochs=examples_seen / n,
        updates=learner.step,
        examples_seen=examples_seen,
        train_seconds=train_seconds,
        evaluation_seconds=evaluation_seconds,
    )


def _bound_reached(stop: StopOptions, learner: Learner, train_seconds: float) -> StopReason | None:
    if stop.epochs is not None and learner.step == stop.epochs * learner.updates_per_epoch:
        return "epochs"
    if learner.step == stop.updates:
        return "updates"
    if stop.seconds is not None and train_seconds >= stop.seconds:
        return "seconds"
    return None


def _planned(positions: Positions, end: float, key: str) -> Collection[int]:
    if isinstance(positions, LogSpaced) and end == math.inf:
        raise UserError(
            f"checkpoints.{key}: log_spaced needs a known end of training: stop.epochs or "
            "stop.updates",
            f"set one of them, or list the {key}",
        )
    bound = sys.maxsize - 1 if end == math.inf else int(end)
    if isinstance(positions, Every):  # A range, as training may be unbounded.
        return range(positions.every, bound + 1, positions.every)
    return frozenset(planned_steps(positions, bound))


def _of_trial(trial_id: str, state: ResumeState) -> ResumeState:
    if state.trial_id != trial_id:
        raise ResultsError(
            f"resume state: belongs to trial {state.trial_id}, expected trial {trial_id}"
        )
    return state


def _resume_state(state: ResumeState, learner: Learner) -> ResumeState:
    if learner.step != state.step or learner.epoch != state.epoch:
        raise RuntimeError("EpochEnd.resume was called after the next event was requested")
    network, optimizer = learner.state()
    return replace(state, network=network, optimizer=optimizer)
