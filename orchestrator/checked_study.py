"""A study file, checked as far as the file itself can tell."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from orchestrator.errors import Problem, StudyFileError
from orchestrator.study.spec import Study
from orchestrator.study.study_file import read_study_file


def checked_study(
    path: str | Path, overrides: Sequence[str] = ()
) -> tuple[Study, Sequence[Problem]]:
    """Read and check a study file, the columns and the SQL of its claims included.

    Args:
        path: The YAML file.
        overrides: ``path=value`` texts, as ``--set`` takes them.

    Returns:
        The study, and warnings.

    Raises:
        StudyFileError: With every problem of the file.
    """
    source, study = read_study_file(path, overrides)
    if not study.claims:
        return study, ()
    from orchestrator.results import claim_problems  # Only now is DuckDB needed.

    problems, warnings = claim_problems(source, study)
    if problems:
        raise StudyFileError(problems)
    return study, warnings
