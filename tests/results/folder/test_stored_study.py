from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from orchestrator.errors import ResultsError
from orchestrator.results import (
    ResultsFolder,
    asked_requests,
    described_study,
    expected_trials,
    read_study,
)
from orchestrator.study.spec import Study
from tests.results.conftest import study_json


@pytest.mark.parametrize(
    ("study", "count"),
    [
        ({}, 1),
        ({"seeds": 3}, 3),
        ({"seeds": [4, 7], "sweep": {"a": [1, 2, 3], "b, c": [[1, 2], [3, 4]]}}, 12),
        ({"seeds": 2, "sweep": {"random": {"conditions": 5, "of": {}}, "a": [1, 2]}}, 20),
    ],
)
def test_expected_trials_are_conditions_times_seeds(study: dict[str, Any], count: int) -> None:
    assert expected_trials(study) == count


@pytest.mark.parametrize("measuring", [{}, {"dtype": "float64"}, {"examples": 100}])
def test_asked_requests_equal_those_of_the_study(measuring: dict[str, Any]) -> None:
    measures = [
        {"name": "margin"},
        {"name": "hessian_spectrum", "top": 3},
        {"name": "some.module:measure", "order": 2},
    ]
    final = [{"name": "path_norm"}]
    content = json.loads(study_json(measures=measures, final_measures=final, measuring=measuring))
    study = Study.model_validate(content)
    of_all = set(study.wanted[False])
    assert asked_requests(content) == {name: name in of_all for name in study.requests}
    assert len(of_all) == len(measures)


def test_a_study_with_unknown_names_can_be_described(
    make_folder: Callable[..., ResultsFolder],
) -> None:
    study = study_json(measures=[{"name": "entropy", "temperature": 2.0}])
    folder = make_folder(study=study)
    assert described_study(folder) == json.loads(study)
    assert asked_requests(json.loads(study)) == {"entropy(temperature=2.0)": True}
    with pytest.raises(ResultsError, match=r"measures\.0: unknown name 'entropy'\n") as told:
        read_study(folder)
    assert "install the package that provides it" in str(told.value.hint)
    damaged = make_folder("damaged", study=study_json(measures=[{"name": "margin", "top": 2}]))
    with pytest.raises(ResultsError, match="not a study this version can read"):
        described_study(damaged)
