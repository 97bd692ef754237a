"""Stored trials that are no longer in the current study."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import duckdb
from pydantic import ValidationError

from orchestrator.errors import ResultsError
from orchestrator.results.folder.results_folder import ResultsFolder
from orchestrator.results.folder.stored_study import read_study
from orchestrator.study.spec import TrialConfig
from orchestrator.study.trials import expand_trials


@dataclass(frozen=True)
class LeftOut:
    """Trials with values or seeds that were removed from the study.

    Attributes:
        trial_ids: Ids of the trials.
        values: Removed value, such as ``training.batch_size 16`` → its number of trials.
    """

    trial_ids: frozenset[str] = frozenset()
    values: Mapping[str, int] = field(default_factory=dict)


def trials_left_out(folder: ResultsFolder, connection: duckdb.DuckDBPyConnection) -> LeftOut:
    """Return the stored trials whose swept values or seed are not in the newest run's study.

    Trials that cannot be compared, because they name components that are not installed here, are
    not left out.

    Args:
        folder: The results.
        connection: Connection over all of their rows.
    """
    try:
        study = read_study(folder)
    except ResultsError:
        return LeftOut()
    paths = study.sweep.paths
    conditions = expand_trials(study.model_copy(update={"seeds": 1}))
    grid = {_values(one.config.model_dump(mode="json"), paths) for one in conditions}
    levels = [{values[place] for values in grid} for place in range(len(paths))]
    seeds = set(study.seed_list)

    @cache  # All seeds of a condition have the same text.
    def found(params: str) -> tuple[str, ...] | None:
        complete = _complete(json.loads(params))
        return None if complete is None else _values(complete, paths)

    names: set[str] = set()
    counts: Counter[str] = Counter()
    rows = connection.execute(
        """
        SELECT trial_id, seed, params_json FROM trials
        WHERE params_json IS NOT NULL ORDER BY condition_id, seed
        """
    ).fetchall()
    for trial_id, seed, params in rows:
        values = found(params)
        if values is None or (values in grid and seed in seeds):
            continue
        names.add(trial_id)
        gone = [
            f"{path} {value.strip(chr(34))}"
            for path, value, level in zip(paths, values, levels, strict=True)
            if value not in level
        ]
        if not gone and values not in grid:
            gone = [", ".join(f"{p} {v}" for p, v in zip(paths, values, strict=True))]
        counts.update(gone or [f"seed {seed}"])
    return LeftOut(frozenset(names), dict(counts))


def _complete(params: Any) -> dict[str, Any] | None:
    """Return a trial's options with defaults for newer ones; None if not readable here."""
    try:
        return TrialConfig.model_validate(params).model_dump(mode="json")
    except ValidationError:
        return None


def _values(params: Any, paths: Sequence[str]) -> tuple[str, ...]:
    return tuple(json.dumps(_at(params, path), sort_keys=True) for path in paths)


def _at(params: Any, path: str) -> Any:
    for key in path.split("."):
        params = params.get(key) if isinstance(params, Mapping) else None
    return params
