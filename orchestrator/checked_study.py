"""Checking a study file completely, including the columns and SQL of its claims."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from orchestrator.errors import Problem, StudyFileError
from orchestrator.study.spec import Study
from orchestrator.study.study_file import read_study_file


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
    source, study = read_study_file(path, overrides)
    if not study.claims:
        return study, ()
    from orchestrator.results import claim_problems  # Only claims need DuckDB.

    problems, warnings = claim_problems(source, study)
    if problems:
        raise StudyFileError(problems)
    return study, warnings
