"""The trials of a study: the grid, their ids, and their hyperparameters."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from orchestrator.random_streams import stream_seed
from orchestrator.study.columns import swept_columns
from orchestrator.study.options import CustomOptions
from orchestrator.study.spec import Study, TrialConfig
from orchestrator.study.sweep import base_content, grid, with_values
from orchestrator.study.training_options import TrainingOptions


@dataclass(frozen=True)
class Trial:
    """One network to train: a condition and a seed.

    Attributes:
        trial_id: Twelve hexadecimal digits that depend only on settings that affect results.
        condition_id: The same id without the seed.
        seed: The seed.
        config: Data, model and training.
        swept: Dotted path → this trial's value, for every swept path.
    """

    trial_id: str
    condition_id: str
    seed: int
    config: TrialConfig
    swept: dict[str, Any]


def expand_trials(study: Study) -> list[Trial]:
    """Return all trials of a study in a fixed, shuffled order.

    Shuffling makes a half-finished study representative of the whole grid.

    Raises:
        pydantic.ValidationError: If a point of the grid is not a valid configuration;
            ``load_study`` reports this earlier, with its location in the file.
    """
    base, seeds = base_content(study), study.seed_list
    trials = []
    for swept in grid(study):
        config = TrialConfig.model_validate(with_values(base, swept))
        condition_id = config.condition_id()
        trials += [
            Trial(trial_id, condition_id, seed, config, swept)
            for seed, trial_id in zip(seeds, config.trial_ids(seeds), strict=True)
        ]
    random.Random(stream_seed(0, "trial order")).shuffle(trials)  # noqa: S311 - no secret
    return trials


def one_of_each_condition(trials: Iterable[Trial]) -> list[Trial]:
    """Return the first trial of each condition; the others differ only in their seeds."""
    first: dict[str, Trial] = {}
    for trial in trials:
        first.setdefault(trial.condition_id, trial)
    return list(first.values())


def effective_learning_rate(training: TrainingOptions) -> float:
    """Return the learning rate scaled with the batch size, before any schedule.

    ``linear`` makes it proportional to ``batch_size / reference_batch_size`` (arXiv:1706.02677);
    ``sqrt`` to the square root of that (arXiv:1404.5997).
    """
    ratio = training.batch_size / training.reference_batch_size
    factors: dict[str, float] = {"none": 1.0, "linear": ratio, "sqrt": math.sqrt(ratio)}
    return training.optimizer.learning_rate * factors[training.learning_rate_scaling]


def hyperparameters(study: Study, trial: Trial) -> dict[str, Any]:
    """Return a trial as columns of the table ``trials``; None where a column does not apply.

    Swept paths without a standard column get one of their own; see
    :func:`~orchestrator.study.columns.swept_columns`.
    """
    config = trial.config
    training, optimizer, model, data = (
        config.training,
        config.training.optimizer,
        config.model,
        config.data,
    )
    columns: dict[str, Any] = {
        "trial_id": trial.trial_id,
        "condition_id": trial.condition_id,
        "study": study.study,
        "seed": trial.seed,
        "dataset": data.name,
        "model": model.name,
        "width": _number(model, "width"),
        "depth": _number(model, "depth"),
        "activation": _named(model, "activation"),
        "normalization": _named(model, "normalization"),
        "dropout": _number(model, "dropout"),
        "loss": training.loss.name,
        "label_smoothing": _number(training.loss, "label_smoothing"),
        "optimizer": optimizer.name,
        "batch_size": training.batch_size,
        "learning_rate": effective_learning_rate(training),
        "momentum": _number(optimizer, "momentum"),
        "weight_decay": _number(optimizer, "weight_decay"),
        "rho": _number(optimizer, "rho"),
        "schedule": training.schedule.name,
        "train_size": data.train_size,
        "label_noise": data.label_noise,
        "params_json": json.dumps(config.model_dump(mode="json"), sort_keys=True),
    }
    for path, column in swept_columns(study.sweep.paths).items():
        columns[column] = cell(trial.swept.get(path))
    return columns


def _number(options: Any, name: str) -> Any:
    value = getattr(options, name, None)
    if isinstance(options, CustomOptions) and not isinstance(value, int | float):
        return None  # A user-defined component may use "width" for anything.
    return value


def _named(options: Any, name: str) -> str | None:
    value = getattr(options, name, None)
    return value if isinstance(value, str) else None


def cell(value: Any) -> Any:
    """Return a swept value as its column stores it; lists and mappings become JSON."""
    return value if isinstance(value, bool | int | float | str | None) else json.dumps(value)
