"""Adding measures to an existing study, as the command line names them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from pydantic import ValidationError

from orchestrator.errors import Problem, StudyFileError
from orchestrator.study.problems import Source, describe
from orchestrator.study.spec import Study
from orchestrator.study.yaml_nodes import plain
from orchestrator.study.yaml_text import YamlTextError, read_yaml


def with_measures(study: Study, texts: Sequence[str], *, final: bool = False) -> Study:
    """Return the study with further measures; existing ones are not added again.

    Args:
        study: The study as it was run.
        texts: Measures as in a study file, one each: ``hessian_trace`` or
            ``{sam_sharpness: {rho: 0.1}}``.
        final: Whether to add them for final networks only. Measures of every snapshot stay so.

    Raises:
        StudyFileError: If a text is not a measure or has an invalid option; lists all such texts.
    """
    problems: list[Problem] = []
    for text in texts:
        try:
            study = _with_measure(study, text, final=final)
        except StudyFileError as error:
            problems += error.problems
    if problems:
        raise StudyFileError(problems)
    return study


def _with_measure(study: Study, text: str, *, final: bool) -> Study:
    where = f"measure {text!r}"
    try:
        asked = plain(read_yaml(text))
    except YamlTextError as error:
        what = f"is not valid YAML: {error.what}"
        raise StudyFileError([Problem(where, "", what, error.hint, code="yaml")]) from None
    content: dict[str, Any] = {
        **study.model_dump(mode="json"),
        "measures": [asked],
        "final_measures": [],
    }
    try:
        (options,) = Study.model_validate(content).measures
    except ValidationError as error:
        found = describe(Source(where, "", {}), error, Study)
        raise StudyFileError([_located(problem, where) for problem in found]) from None
    if options in (study.all_measures if final else study.measures):
        return study
    of_final = tuple(one for one in study.final_measures if one != options)
    if final:
        return study.model_copy(update={"final_measures": (*of_final, options)})
    return study.model_copy(
        update={"measures": (*study.measures, options), "final_measures": of_final}
    )


def _located(problem: Problem, where: str) -> Problem:
    """Return a problem of the whole study as one of the single measure named."""
    path = re.sub(r"^measures(\.0)?\.?", "", problem.path)
    return replace(problem, where=where, path=path)
