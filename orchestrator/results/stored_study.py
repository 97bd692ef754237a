"""The study as a results folder keeps it."""

from __future__ import annotations

from pydantic import ValidationError

from orchestrator.errors import ResultsError
from orchestrator.results.folder import ResultsFolder
from orchestrator.study.spec import Study


def read_study(folder: ResultsFolder) -> Study:
    """The study of the newest run, every default and override spelled out.

    Raises:
        ResultsError: If this version of the package cannot read it.
    """
    try:
        return Study.model_validate_json(folder.resolved.read_bytes())
    except ValidationError as error:
        raise ResultsError(
            f"{folder.resolved}: not a study this version can read: {error.errors()[0]['msg']}",
            "use the version of the package that wrote it",
        ) from error
