"""Mapping the names that a user chose to column names, one to one.

SQL ignores case, so no two columns of a table differ in case alone.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Collection, Iterable
from functools import lru_cache
from typing import Any

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
"""Dotted path → its column in ``trials``, for columns that every study has."""

_RESERVED = {
    *("trial_id", "condition_id", "study", "seed", "status", "stop_reason", "error", "attempt"),
    *("epochs", "updates", "examples_seen", "train_seconds", "evaluation_seconds"),
    *("n_parameters", "params_json", "dataset_hash", "host", "device", "written_at"),
    *("python_version", "torch_version", "orchestrator_version", "schema_version"),
}
_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_LETTERS = (
    *("alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta", "iota", "kappa"),
    *("lambda", "mu", "nu", "xi", "omicron", "pi", "rho", "sigma", "sigma", "tau", "upsilon"),
    *("phi", "chi", "psi", "omega"),
)
_SPELLED = {
    **{0x3B1 + place: name for place, name in enumerate(_LETTERS)},
    **{0x391 + place: name.capitalize() for place, name in enumerate(_LETTERS)},
    **{ord("ϵ"): "epsilon", ord("ϑ"): "theta", ord("ϕ"): "phi", ord("ϱ"): "rho", ord("µ"): "mu"},
}


def spelled(text: str) -> str:
    """Spell ``text`` as an identifier: Greek letters by name, all other characters as ``_``.

    >>> spelled("λ_max > 0")
    'lambda_max_0'
    """
    return re.sub(r"[^A-Za-z0-9_]+", "_", text.translate(_SPELLED))


def told_apart(name: str, taken: Collection[str], *identity: Any) -> str:
    """Make ``name`` unique by appending digits that depend only on ``identity``.

    Args:
        name: The name that several columns would share.
        taken: Names to avoid, in lower case.
        identity: Values that distinguish the column from others of that name.
    """
    digits = hashlib.sha256(repr(identity).encode("utf-8", "backslashreplace")).hexdigest()
    lengths = range(6, len(digits) + 1)
    return next(
        found for length in lengths if (found := f"{name}_{digits[:length]}").lower() not in taken
    )


def path_columns(paths: Iterable[str]) -> dict[str, str]:
    """Return dotted path → its column in ``trials``, for all swept paths of a study.

    >>> path_columns(["training.batch_size", "data.seed"])
    {'training.batch_size': 'batch_size', 'data.seed': 'data_seed'}
    """
    swept = tuple(paths)
    own = _swept_columns(swept)
    return {path: STANDARD_COLUMNS.get(path) or own[path] for path in swept}


def swept_columns(paths: Iterable[str]) -> dict[str, str]:
    """Return dotted path → its column in ``trials``, for swept paths without a standard column.

    The column is the last part of the path if that is a unique identifier. Otherwise it is the
    whole path with underscores, followed by digits if that is not unique.
    """
    return dict(_swept_columns(tuple(paths)))


@lru_cache  # Called once per trial.
def _swept_columns(paths: tuple[str, ...]) -> dict[str, str]:
    extra = [path for path in paths if path not in STANDARD_COLUMNS]
    taken = {*STANDARD_COLUMNS.values(), *_RESERVED}
    last = Counter(_last(path).lower() for path in extra)
    columns = {
        path: _last(path)
        for path in extra
        if _IDENTIFIER.fullmatch(_last(path))
        and last[_last(path).lower()] == 1
        and _last(path).lower() not in taken
    }
    taken |= {column.lower() for column in columns.values()}
    whole = {path: spelled(path) for path in extra if path not in columns}
    count = Counter(name.lower() for name in whole.values())
    for path, name in whole.items():
        alone = count[name.lower()] == 1 and name.lower() not in taken
        columns[path] = name if alone else told_apart(name, taken, path)
        taken.add(columns[path].lower())
    return {path: columns[path] for path in extra}


def beside(names: Iterable[str], taken: Iterable[str], prefix: str = "trial_") -> dict[str, str]:
    """Return new names for columns placed beside other columns, which keep their names.

    Args:
        names: Column names, no two of which differ in case alone.
        taken: Names of the other columns.
        prefix: Prefix for names that are already taken.

    >>> beside(["width", "step"], ["step", "epoch"])
    {'width': 'width', 'step': 'trial_step'}
    """
    others = {name.lower() for name in taken}
    columns = list(names)
    found = {name: name for name in columns if name.lower() not in others}
    used = others | {name.lower() for name in found}
    for name in columns:
        if name not in found:
            shown = prefix + name
            while shown.lower() in used:
                shown = prefix + shown
            used.add(shown.lower())
            found[name] = shown
    return {name: found[name] for name in columns}


def _last(path: str) -> str:
    return path.rpartition(".")[2]
