"""Checking a sweep: every path exists, every value is valid, no condition occurs twice."""

from __future__ import annotations

import math
from collections.abc import Iterator, Set
from typing import Any

from pydantic import BaseModel, ValidationError

from orchestrator.errors import Problem
from orchestrator.study.options import CustomOptions
from orchestrator.study.problems import Source, describe, did_you_mean, models_of, short
from orchestrator.study.spec import LogSpaced, Study, TrialConfig
from orchestrator.study.sweep import base_content, grid, with_values
from orchestrator.study.sweep_options import RANDOM, Choice, Sweep, axis_paths, by_path

MOST_TRIALS = 100_000
_WHOLE = "use integer: [a, b] or log_integer: [a, b] to draw whole numbers"
_ALIKE = "draw fewer conditions, widen the ranges, or use another seed"

Where = tuple[str | int, ...]


def check_sweep(source: Source, study: Study) -> list[Problem]:
    """Return the problems of ``study.sweep``; the rest of the study must be valid."""
    return check_axes(source, study) or _check_grid(source, study)


def check_axes(source: Source, study: Study) -> list[Problem]:
    """Return the problems of each axis alone; fast for grids of any size."""
    wrong, problems = _check_shape(source, study)
    if too_many := _check_size(source, study):
        return problems + too_many
    return problems + _check_values(source, _without(study, wrong))


def _without(study: Study, keys: Set[str]) -> Study:
    """Return ``study`` without some keys of its sweep."""
    if not keys:
        return study
    search = study.sweep.random
    content: dict[str, Any] = {k: v for k, v in study.sweep.listed.items() if k not in keys}
    if search is not None and (of := {k: v for k, v in search.of.items() if k not in keys}):
        content[RANDOM] = search.model_copy(update={"of": of})
    return study.model_copy(update={"sweep": Sweep.model_validate(content)})


def _keys(study: Study) -> Iterator[tuple[Where, str]]:
    """Yield the location of each key that contains dotted paths, and the key."""
    yield from ((("sweep", key), key) for key in study.sweep.listed)
    if study.sweep.random is not None:
        yield from ((("sweep", RANDOM, "of", key), key) for key in study.sweep.random.of)


def _check_shape(source: Source, study: Study) -> tuple[set[str], list[Problem]]:
    """Return the problems of the keys and the rows of each axis, and the keys that have some."""
    problems: list[Problem] = []
    wrong: set[str] = set()
    seen: dict[str, str] = {}
    for where, key in _keys(study):
        for path in axis_paths(key):
            if path in seen:
                what = f"{path} is swept twice, also in {seen[path]!r}"
                problems.append(source.problem(where, what, code="duplicate", at_key=True))
                wrong.add(key)
            seen[path] = key if where[1] == key else f"{RANDOM}: {key}"
            unknown = _unknown(path)
            if unknown is not None:
                what, hint, part = unknown
                problems.append(
                    source.problem(where, what, hint, code="unknown-key", at_key=True, within=part)
                )
                wrong.add(key)
    for key, values in study.sweep.listed.items():
        if not values:
            problems.append(source.problem(("sweep", key), "is an empty list: nothing to sweep"))
            wrong.add(key)
        rows = list(_check_rows(source, ("sweep", key), key, values))
        wrong.update([key] * len(rows))
        problems += rows
    if study.sweep.random is not None:
        for key, distribution in study.sweep.random.of.items():
            where = ("sweep", RANDOM, "of", key)
            if isinstance(distribution, Choice):
                rows = list(_check_rows(source, (*where, "choice"), key, distribution.choice))
                wrong.update([key] * len(rows))
                problems += rows
            elif len(axis_paths(key)) > 1:
                hint = "give each path its own distribution, or use choice with lists of values"
                what = "couples paths, which only choice can draw"
                problems.append(source.problem(where, what, hint, at_key=True))
                wrong.add(key)
    return wrong, problems


def _check_rows(source: Source, where: Where, key: str, rows: tuple[Any, ...]) -> Iterator[Problem]:
    """Yield a problem for each row without exactly one value per coupled path."""
    width = len(axis_paths(key))
    for index, row in enumerate(rows if width > 1 else ()):
        if not isinstance(row, list | tuple) or len(row) != width:
            what = f"expected a list of {width} values, got {row!r}"
            yield source.problem((*where, index), what, code="wrong-type")


def _check_size(source: Source, study: Study) -> list[Problem]:
    """Count the trials before listing them: a short file can define too many to list."""
    search, seeds = study.sweep.random, len(study.seed_list)
    drawn = search.conditions if search is not None else 1
    conditions = drawn * math.prod(map(len, study.sweep.listed.values()))
    if conditions * seeds <= MOST_TRIALS:
        return []
    what = (
        f"{conditions:,} conditions × {seeds:,} seeds = {conditions * seeds:,} trials, "
        f"expected at most {MOST_TRIALS:,}"
    )
    at: Where = ("sweep",) if conditions > seeds else ("seeds",)
    code = "too-many"
    if drawn > max(seeds, conditions // drawn):
        at = ("sweep", RANDOM, "conditions")
        return [source.problem(at, what, "draw fewer conditions", code=code)]
    return [source.problem(at, what, "split it into several studies", code=code, at_key=True)]


def _unknown(path: str) -> tuple[str, str, str] | None:
    """Return the problem of a dotted path, a hint and its wrong part; None if the path exists."""
    models: list[type[BaseModel]] = [TrialConfig]
    done: list[str] = []
    if path in {"seed", "seeds"}:
        return "seeds cannot be swept", "write `seeds:` next to `sweep:`", path
    for part in path.split("."):
        fields = [model.model_fields[part] for model in models if part in model.model_fields]
        if not fields:
            if any(issubclass(model, CustomOptions) for model in models):
                return None
            known = list(dict.fromkeys(name for model in models for name in model.model_fields))
            place = f" in {'.'.join(done)}" if done else ""
            hint = did_you_mean(part, known) or f"available: {', '.join(known)}"
            return f"unknown path {path!r}: no {part!r}{place}", hint, part
        models = [found for field in fields for found in models_of(field.annotation)]
        done.append(part)
    return None


def _check_values(source: Source, study: Study) -> list[Problem]:
    """Check each listed value and each end of a range, with the other axes at their first value.

    A value that is valid by itself passes, regardless of the first values of the other axes.
    """
    base = base_content(study)
    first = _first(study)
    problems: list[Problem] = []

    def check(where: Where, alone: dict[str, Any], drew: str = "") -> bool:
        error = _error(with_values(base, alone))
        if error is None or _error(with_values(base, first | alone)) is None:
            return True
        problems.extend(_blame(source, where, tuple(alone), error, drew))
        return False

    for key, values in study.sweep.listed.items():
        for index, value in enumerate(values):
            check(("sweep", key, index), by_path(key, value))
    if study.sweep.random is not None:
        for key, distribution in study.sweep.random.of.items():
            ((kind, values),) = distribution.model_dump().items()
            where = ("sweep", RANDOM, "of", key, kind)
            fine = [
                check((*where, index), by_path(key, value)) for index, value in enumerate(values)
            ]
            if all(fine) and not isinstance(distribution, Choice):
                check(where, {key: first[key]}, f"drew {short(first[key])}: ")
    return problems


def _first(study: Study) -> dict[str, Any]:
    """Return the first value of each path."""
    search = study.sweep.random
    first = {} if search is None else search.condition(0)
    for key, values in study.sweep.listed.items():
        first.update(by_path(key, values[0]))
    return first


def _error(content: dict[str, Any]) -> ValidationError | None:
    try:
        TrialConfig.model_validate(content)
    except ValidationError as error:
        return error
    return None


def _blame(
    source: Source,
    at: Where,
    paths: tuple[str, ...],
    error: ValidationError,
    drew: str,
) -> list[Problem]:
    """Return the errors of one configuration, at the swept value or the wrong key of its path."""
    problems = []
    key_at = at[:4] if at[1] == RANDOM else at[:2]
    blank = Source(source.name, "", {})
    for problem in describe(blank, error, TrialConfig):
        inside = [path for path in paths if (problem.path + ".").startswith(path + ".")]
        item = [paths.index(inside[0])] if inside and len(paths) > 1 else []
        what = problem.what if inside else f"{problem.path}: {problem.what}"
        if problem.code == "unknown-key" and problem.path in paths:
            part, code = problem.path.rpartition(".")[2], problem.code
            problems.append(
                source.problem(key_at, what, problem.hint, code=code, at_key=True, within=part)
            )
            continue
        rest = problem.path[len(inside[0]) + 1 :] if inside else ""
        where = [*at, *item, *(rest.split(".") if rest else [])]
        hint = _WHOLE if drew and "whole number" in what else problem.hint
        problems.append(source.problem(where, drew + what, hint, code=problem.code))
    return problems


def _check_grid(source: Source, study: Study) -> list[Problem]:
    """Check each combination up to the first bad one, since others would fail alike."""
    base = base_content(study)
    seen: dict[str, dict[str, Any]] = {}
    for point in grid(study):
        try:
            config = TrialConfig.model_validate(with_values(base, point))
        except ValidationError as error:
            blank = Source(source.name, "", {})
            details = "; ".join(f"{p.path}: {p.what}" for p in describe(blank, error, TrialConfig))
            return [source.problem(("sweep",), f"{point} is invalid: {details}", at_key=True)]
        condition = config.condition_id()
        if condition in seen:
            what = f"the same condition occurs twice: {seen[condition]} and {point}"
            drawn = study.sweep.random is not None
            at, hint = (("sweep", RANDOM), _ALIKE) if drawn else (("sweep",), "remove one")
            return [source.problem(at, what, hint, code="duplicate", at_key=True)]
        seen[condition] = point
        problems = _check_positions(source, study, config, point)
        if problems:
            return problems
    return []


def _check_positions(
    source: Source, study: Study, config: TrialConfig, point: dict[str, Any]
) -> list[Problem]:
    """Check that training has a known end, which ``log_spaced`` checkpoints need."""
    stop = config.training.stop
    if stop.epochs is not None or stop.updates is not None:
        return []
    where = f" at {point}" if point else ""
    what = f"log_spaced needs a known end of training{where}: stop.epochs or stop.updates"
    return [
        source.problem(("checkpoints", key), what, f"add one to training.stop, or list the {key}")
        for key in ("epochs", "updates")
        if isinstance(getattr(study.checkpoints, key), LogSpaced)
    ]
