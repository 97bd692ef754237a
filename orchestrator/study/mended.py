"""Checking the rest of an invalid study, so that one round reports every problem.

Pydantic checks nothing below a part whose name it does not know, and the sweep of an invalid study
is not checked. Each problem is therefore mended as it was probably meant, in a copy, which is then
checked again. The copy is never run.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import ValidationError

from orchestrator.errors import Problem
from orchestrator.study.problems import Mending, Source, described
from orchestrator.study.spec import Study

MOST_ROUNDS = 5
_ANY_NAME = "unnamed"
_PARTS = ("data", "model", "training", "sweep")
_WITHOUT_CLAIMS = ("measures", "final_measures")


def all_problems(
    source: Source, content: dict[str, Any], error: ValidationError
) -> tuple[list[Problem], Study | None]:
    """Return the problems of an invalid study, and the study as it was probably meant.

    Args:
        source: The study file.
        content: Its plain content, which is changed.
        error: The error of its validation.

    Returns:
        The problems, and the mended study; None if what was meant is unclear, so that any further
        problem of it may be none of the file.
    """
    problems: list[Problem] = []
    known: list[tuple[Any, ...]] = []
    clear = True
    for _ in range(MOST_ROUNDS):
        every = described(source, error, Study)
        found = [
            (problem, mending)
            for problem, mending in every
            if not any(_same_place(mending.keys, keys) for keys in known)
        ]
        problems += [problem for problem, _ in found]
        known += [mending.keys for _, mending in found]
        # From the end, so that no removal changes the place of another problem.
        for _, mending in reversed(found):
            clear &= _mend(content, mending)
        if not found:  # What remains follows from the mending.
            for _, mending in every:
                clear &= _remove(content, mending.keys[:1])
        try:
            study = Study.model_validate(content)
        except ValidationError as another:
            error = another
        else:
            return problems, study if clear else None
    return problems, None


def _same_place(one: Sequence[Any], other: Sequence[Any]) -> bool:
    """Return whether one of two places lies within the other."""
    shorter = min(len(one), len(other))
    return one[:shorter] == other[:shorter]


def _mend(content: dict[str, Any], mending: Mending) -> bool:
    """Mend ``content``; return whether the result is probably what was meant."""
    *parents, last = mending.keys
    if mending.keys == ("study",):
        content["study"] = _ANY_NAME
        return True
    parent: Any = content
    for depth, key in enumerate(parents):
        try:
            parent = parent[key]
        except (KeyError, IndexError, TypeError):
            return _remove(content, mending.keys[: depth + 1])
    if mending.name is None:
        return _remove(content, mending.keys)
    if mending.kind == "name":
        parent[last] = mending.name
    else:
        parent.setdefault(mending.name, parent.pop(last))
    return True


def _remove(content: dict[str, Any], keys: Sequence[Any]) -> bool:
    """Remove an entry of a mapping, or the closest mapping's entry around it.

    Returns:
        Whether the rest can be checked: not if a whole part of a trial is gone. Without measures
        a study's claims can't be checked, so they go too.
    """
    whole = True
    for depth in range(len(keys) - 1, -1, -1):
        parent: Any = content
        try:
            for key in keys[:depth]:
                parent = parent[key]
        except (KeyError, IndexError, TypeError):
            continue
        whole = depth == len(keys) - 1
        if isinstance(parent, dict) and keys[depth] in parent:
            del parent[keys[depth]]
            break
    if keys[0] in _WITHOUT_CLAIMS:
        content.pop("claims", None)
    return keys[0] not in _PARTS or (whole and len(keys) > 1 and keys[0] != "sweep")
