"""Which column of the table ``trials`` a hyperparameter has: the one rule, for all who ask."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

STANDARD_COLUMNS = {
    "model": "model",
    "model.name": "model",
    "model.width": "width",
    "model.depth": "depth",
    "model.activation": "activation",
    "model.normalization": "normalization",
    "model.dropout": "dropout",
    "data": "dataset",
    "data.name": "dataset",
    "data.train_size": "train_size",
    "data.label_noise": "label_noise",
    "training.loss": "loss",
    "training.loss.name": "loss",
    "training.loss.label_smoothing": "label_smoothing",
    "training.optimizer": "optimizer",
    "training.optimizer.name": "optimizer",
    "training.batch_size": "batch_size",
    "training.optimizer.learning_rate": "learning_rate",
    "training.optimizer.momentum": "momentum",
    "training.optimizer.weight_decay": "weight_decay",
    "training.optimizer.rho": "rho",
    "training.schedule": "schedule",
    "training.schedule.name": "schedule",
}
"""Dotted path → its column in ``trials``, of the hyperparameters that every study has."""
_RESERVED = {
    *("trial_id", "condition_id", "study", "seed", "status", "stop_reason", "error", "attempt"),
    *("epochs", "updates", "examples_seen", "train_seconds", "evaluation_seconds"),
    *("n_parameters", "params_json", "dataset_hash", "host", "device", "written_at"),
    *("python_version", "torch_version", "orchestrator_version", "schema_version"),
}


def path_columns(paths: Iterable[str]) -> dict[str, str]:
    """Dotted path → name of its column, for all swept paths of a study.

    One without a column of its own gets one, named by the last part of the path, or by the whole
    path with underscores where that name is taken.

    >>> path_columns(["training.batch_size", "data.seed"])
    {'training.batch_size': 'batch_size', 'data.seed': 'data_seed'}
    """
    paths = list(paths)
    last = Counter(path.rpartition(".")[2] for path in paths if path not in STANDARD_COLUMNS)
    taken = {*STANDARD_COLUMNS.values(), *_RESERVED}

    def column(path: str) -> str:
        name = path.rpartition(".")[2]
        if path in STANDARD_COLUMNS:
            return STANDARD_COLUMNS[path]
        return name if last[name] == 1 and name not in taken else path.replace(".", "_")

    return {path: column(path) for path in paths}
