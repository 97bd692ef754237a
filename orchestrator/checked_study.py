"""Checking a study file completely, including the columns and SQL of its claims."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from orchestrator.errors import Problem, StudyFileError
from orchestrator.study.advice import advice_on
from orchestrator.study.problems import in_order
from orchestrator.study.spec import Study
from orchestrator.study.study_file import examine


def checked_study(
    path: str | Path, overrides: Sequence[str] = ()
) -> tuple[Study, Sequence[Problem]]:
    """Read and check a study file, including the columns and SQL of its claims.

    Args:
        path: The YAML file.
        overrides: ``path=value`` texts, as ``--set`` takes them.

    Returns:
        The study and its warnings.

    Raises:
        StudyFileError: If the file is invalid; lists every problem.
    """
    examined = examine(path, overrides)
    study, problems = examined.study, examined.problems
    warnings: list[Problem] = []
    if study is not None and study.claims:
        from orchestrator.results import claim_problems  # Only claims need DuckDB.

        of_claims, warnings = claim_problems(examined.source, study)
        problems = in_order([*problems, *of_claims])
    if study is None or problems:
        raise StudyFileError(problems)
    return study, in_order([*warnings, *advice_on(examined.source, study)])
