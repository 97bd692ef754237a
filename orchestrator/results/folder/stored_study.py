"""The study as stored in a results folder."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import TypeAdapter, ValidationError

from orchestrator.errors import ResultsError
from orchestrator.results.folder.results_folder import MEND_STUDY, ResultsFolder
from orchestrator.study.design import conditions
from orchestrator.study.measure_options import (
    CustomMeasure,
    MeasureOptions,
    MeasureRequest,
    MeasuringOptions,
    short_form,
)
from orchestrator.study.problems import Source
from orchestrator.study.spec import Study
from orchestrator.study.sweep_check import check_axes

# Plug-ins that are not installed here, and later versions, may define names unknown here.
_OF_NAMES = {"union_tag_invalid", "string_pattern_mismatch"}
_MEASURE: TypeAdapter[MeasureOptions] = TypeAdapter(MeasureRequest)


def read_study(folder: ResultsFolder) -> Study:
    """Read the study of the newest run, with every default and override spelled out.

    Raises:
        ResultsError: If its file is damaged, or this version of the package cannot read it.
    """
    content = folder.stored_study()
    try:
        study = Study.model_validate(content)
    except ValidationError as error:
        raise _unreadable(folder, error.errors()[0]) from error
    problems = check_axes(Source(str(folder.resolved), "", content), study)
    if problems:
        raise _unreadable(folder, {"loc": (problems[0].path,), "msg": problems[0].what})
    return study


def described_study(folder: ResultsFolder) -> dict[str, Any]:
    """Return the study of the newest run as plain values, for callers that do not run it.

    Its data, models and measures may be unknown here, because results are also read where
    plug-ins are not installed.

    Raises:
        ResultsError: If its file is damaged.
    """
    try:
        read_study(folder)
    except ResultsError as error:
        wrong = error.__cause__
        names = isinstance(wrong, ValidationError) and all(
            one["type"] in _OF_NAMES for one in wrong.errors()
        )
        if not names:
            raise
    return folder.stored_study()


def expected_trials(study: Mapping[str, Any]) -> int:
    """Return the number of trials of a stored study: grid points times seeds."""
    seeds = study.get("seeds", 1)
    return conditions(study) * (seeds if isinstance(seeds, int) else len(seeds))


def asked_requests(study: Mapping[str, Any]) -> dict[str, bool]:
    """Return the requests of a stored study, including measures unknown here.

    Returns:
        Request → whether it applies to every snapshot rather than only to final networks.
    """
    suffix = MeasuringOptions.model_validate(study.get("measuring", {})).suffix
    asked = {"measures": True, "final_measures": False}
    return {
        _measure_options(one).request + suffix: of_all
        for key, of_all in asked.items()
        for one in study.get(key, ())
    }


def _measure_options(content: Any) -> MeasureOptions:
    try:
        return _MEASURE.validate_python(content)
    except ValidationError:  # A plug-in's measure: the others were checked when the study was read.
        return CustomMeasure.model_validate(short_form(content))


def _unreadable(folder: ResultsFolder, error: Mapping[str, Any]) -> ResultsError:
    where, why = ".".join(map(str, error["loc"])), error["msg"]
    mend = f"use the package version that wrote it, or {MEND_STUDY}"
    if error.get("type") == "union_tag_invalid":
        why = f"unknown name {error['ctx']['tag']!r}"
        mend = "install the package that provides it, or the version of this package that wrote it"
    return ResultsError(
        f"{folder.resolved}: not a study this version can read: {where}: {why}", mend
    )
