"""The study as a results folder keeps it."""

from __future__ import annotations

from pydantic import ValidationError

from orchestrator.errors import ResultsError
from orchestrator.results.folder import MEND_STUDY, ResultsFolder
from orchestrator.study.problems import Source
from orchestrator.study.spec import Study
from orchestrator.study.sweep_check import check_axes


def read_study(folder: ResultsFolder) -> Study:
    """The study of the newest run, every default and override spelled out.

    Raises:
        ResultsError: If its file is damaged, or this version of the package cannot read it.
    """
    content = folder.stored_study()
    try:
        study = Study.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        raise _unreadable(folder, ".".join(map(str, first["loc"])), first["msg"]) from error
    problems = check_axes(Source(str(folder.resolved), "", content), study)
    if problems:
        raise _unreadable(folder, problems[0].path, problems[0].what)
    return study


def _unreadable(folder: ResultsFolder, where: str, why: str) -> ResultsError:
    return ResultsError(
        f"{folder.resolved}: not a study this version can read: {where}: {why}",
        f"use the version of the package that wrote it, or {MEND_STUDY}",
    )
