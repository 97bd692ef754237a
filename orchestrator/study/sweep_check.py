"""Checking a sweep: every path exists, every value fits, no condition comes twice."""

from __future__ import annotations

import math
from typing import Any

from pydantic import BaseModel, ValidationError

from orchestrator.errors import Problem
from orchestrator.study.options import CustomOptions
from orchestrator.study.problems import Source, describe, did_you_mean, models_of
from orchestrator.study.spec import LogSpaced, Study, TrialConfig
from orchestrator.study.sweep import axes, axis_paths, base_content, grid, with_values

MOST_TRIALS = 100_000


def check_sweep(source: Source, study: Study) -> list[Problem]:
    """The problems of ``study.sweep``; the rest of the study is valid already."""
    return check_axes(source, study) or _check_grid(source, study)


def check_axes(source: Source, study: Study) -> list[Problem]:
    """The problems of each axis by itself: quick, however many points the grid has."""
    return _check_shape(source, study) or _check_size(source, study) or _check_values(source, study)


def _check_shape(source: Source, study: Study) -> list[Problem]:
    problems: list[Problem] = []
    seen: dict[str, str] = {}
    for key, values in study.sweep.items():
        paths = axis_paths(key)
        for path in paths:
            if path in seen:
                what = f"{path} is swept twice, in {seen[path]!r} too"
                problems.append(source.problem(("sweep", key), what, at_key=True))
            seen[path] = key
            unknown = _unknown(path)
            if unknown is not None:
                problems.append(source.problem(("sweep", key), *unknown, at_key=True))
        if not values:
            problems.append(source.problem(("sweep", key), "is an empty list: nothing to sweep"))
        if len(paths) > 1:
            for index, row in enumerate(values):
                if not isinstance(row, list | tuple) or len(row) != len(paths):
                    what = f"each item is a list of {len(paths)} values, got {row!r}"
                    problems.append(source.problem(("sweep", key, index), what))
    return problems


def _check_size(source: Source, study: Study) -> list[Problem]:
    """Counted before any of it is looked at: a short file can ask for more than can be listed."""
    conditions, seeds = math.prod(map(len, study.sweep.values())), len(study.seed_list)
    if conditions * seeds <= MOST_TRIALS:
        return []
    what = (
        f"{conditions:,} conditions × {seeds:,} seeds are {conditions * seeds:,} trials, "
        f"expected at most {MOST_TRIALS:,}"
    )
    at = "sweep" if conditions > seeds else "seeds"
    return [source.problem((at,), what, "make several studies of it", at_key=True)]


def _unknown(path: str) -> tuple[str, str | None] | None:
    """What is wrong with a dotted path, and a hint; None if it exists."""
    models: list[type[BaseModel]] = [TrialConfig]
    done: list[str] = []
    if path in {"seed", "seeds"}:
        return "seeds are not swept", "write `seeds:` beside `sweep:`"
    for part in path.split("."):
        fields = [model.model_fields[part] for model in models if part in model.model_fields]
        if not fields:
            if any(issubclass(model, CustomOptions) for model in models):
                return None
            known = list(dict.fromkeys(name for model in models for name in model.model_fields))
            place = f" in {'.'.join(done)}" if done else ""
            hint = did_you_mean(part, known) or f"there are {', '.join(known)}"
            return f"unknown path {path!r}: no {part!r}{place}", hint
        models = [found for field in fields for found in models_of(field.annotation)]
        done.append(part)
    return None


def _check_values(source: Source, study: Study) -> list[Problem]:
    """Each value of each axis, the other axes at the first value that is fine with it."""
    base = base_content(study)
    found = axes(study)
    first = {
        path: value for axis in found for path, value in zip(axis.paths, axis.rows[0], strict=True)
    }
    problems: list[Problem] = []
    for axis in found:
        for index, row in enumerate(axis.rows):
            alone = dict(zip(axis.paths, row, strict=True))
            error = _error(with_values(base, alone))
            if error is not None and _error(with_values(base, first | alone)) is not None:
                problems += _blame(source, axis.key, axis.paths, index, error)
    return problems


def _error(content: dict[str, Any]) -> ValidationError | None:
    try:
        TrialConfig.model_validate(content)
    except ValidationError as error:
        return error
    return None


def _blame(
    source: Source, key: str, paths: tuple[str, ...], index: int, error: ValidationError
) -> list[Problem]:
    """The errors of one configuration, located at the swept value."""
    problems = []
    blank = Source(source.name, "", {})
    for problem in describe(blank, error, TrialConfig):
        inside = [path for path in paths if (problem.path + ".").startswith(path + ".")]
        item = [paths.index(inside[0])] if inside and len(paths) > 1 else []
        what = problem.what if inside else f"{problem.path}: {problem.what}"
        rest = problem.path[len(inside[0]) + 1 :] if inside else ""
        where = ["sweep", key, index, *item, *(rest.split(".") if rest else [])]
        problems.append(source.problem(where, what, problem.hint))
    return problems


def _check_grid(source: Source, study: Study) -> list[Problem]:
    """Each combination; the first bad one is enough, for the others are alike."""
    base = base_content(study)
    seen: dict[str, dict[str, Any]] = {}
    for point in grid(study):
        try:
            config = TrialConfig.model_validate(with_values(base, point))
        except ValidationError as error:
            blank = Source(source.name, "", {})
            details = "; ".join(f"{p.path}: {p.what}" for p in describe(blank, error, TrialConfig))
            return [source.problem(("sweep",), f"{point} does not fit: {details}", at_key=True)]
        condition = config.condition_id()
        if condition in seen:
            what = f"the same condition comes twice: {seen[condition]} and {point}"
            return [source.problem(("sweep",), what, "remove one", at_key=True)]
        seen[condition] = point
        problems = _check_positions(source, study, config, point)
        if problems:
            return problems
    return []


def _check_positions(
    source: Source, study: Study, config: TrialConfig, point: dict[str, Any]
) -> list[Problem]:
    """``log_spaced`` divides the way to the end, so there must be one that is known."""
    stop = config.training.stop
    if stop.epochs is not None or stop.updates is not None:
        return []
    where = f" at {point}" if point else ""
    what = f"log_spaced needs stop.epochs or stop.updates, and there is neither{where}"
    return [
        source.problem(("checkpoints", key), what, f"add one to training.stop, or list the {key}")
        for key in ("epochs", "updates")
        if isinstance(getattr(study.checkpoints, key), LogSpaced)
    ]
