"""Checking resources: every override must match at least one trial."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from orchestrator.errors import Problem
from orchestrator.study.problems import Source, did_you_mean, short
from orchestrator.study.resource_options import value_at
from orchestrator.study.spec import Study, TrialConfig
from orchestrator.study.sweep import base_content, grid, with_values

MOST_VALUES_SHOWN = 5


def check_resources(source: Source, study: Study) -> list[Problem]:
    """Return the problems of ``study.resources``; the rest of the study must be valid."""
    overrides = study.resources.trial.overrides
    if not overrides:
        return []
    base = base_content(study)
    configs = [
        TrialConfig.model_validate(with_values(base, point)).model_dump(mode="json")
        for point in grid(study)
    ]
    known = {path for config in configs for path in _paths(config)}
    problems = []
    for index, override in enumerate(overrides):
        where = ("resources", "trial", "overrides", index, "where")
        unknown = [path for path in override.where if path not in known]
        for path in unknown:
            hint = (
                did_you_mean(path, known) or "use dotted paths as under sweep, such as model.width"
            )
            problems.append(
                source.problem(
                    (*where, path), "no trial has this path", hint, code="unknown-key", at_key=True
                )
            )
        if not unknown and not any(map(override.fits, configs)):
            hints = []
            for path in override.where:
                values = list(dict.fromkeys(short(value_at(config, path)) for config in configs))
                shown = ", ".join(values[:MOST_VALUES_SHOWN])
                hints.append(f"{path} is {shown}{' …' if len(values) > MOST_VALUES_SHOWN else ''}")
            problems.append(
                source.problem(where, "matches no trial of this study", "; ".join(hints))
            )
    return problems


def _paths(content: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    for key, value in content.items():
        yield f"{prefix}{key}"
        if isinstance(value, Mapping):
            yield from _paths(value, f"{prefix}{key}.")
