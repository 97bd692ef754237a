"""What an edited study changes about its results."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from orchestrator.errors import ResultsError
from orchestrator.results import ResultsFolder, compare_study, refuse_contradictions, write_part
from orchestrator.results.database.edits import Edit
from orchestrator.study.spec import Study
from orchestrator.study.trials import expand_trials, hyperparameters
from tests.results.conftest import STUDY


def study(**changes: Any) -> Study:
    return Study.model_validate({**STUDY, **changes})


def compare(folder: ResultsFolder, asked: Study) -> Edit:
    return compare_study(folder, asked, expand_trials(asked))


def refuse(folder: ResultsFolder, asked: Study) -> None:
    refuse_contradictions(folder, asked, expand_trials(asked))


@pytest.fixture
def finished(tmp_path: Path) -> ResultsFolder:
    """Results of the study, of which all trials but one are completed."""
    begun = study()
    folder = ResultsFolder.create(tmp_path / "small", begun.model_dump_json(), "", {}, "")
    for number, trial in enumerate(expand_trials(begun)):
        status = "completed" if number else "running"
        row = {**hyperparameters(begun, trial), "status": status, "attempt": 1}
        write_part(folder, "trials", [row], f"{trial.trial_id}-1")
    return folder


def test_the_same_study_changes_nothing(finished: ResultsFolder) -> None:
    edit = compare(finished, study())
    assert edit.changes == edit.measures_added == edit.measures_dropped == edit.contradictions == ()
    assert (edit.new, edit.kept, edit.completed, edit.dropped) == (0, 4, 3, 0)
    assert edit.text() == "trials     0 new, 4 as before (3 completed), 0 no longer asked for"


def test_an_extension_is_counted_and_allowed(finished: ResultsFolder) -> None:
    more = study(
        seeds=3,
        sweep={"training.batch_size": [16, 64, 256]},
        measures=[{"name": "margin"}, {"name": "norms"}],
    )
    edit = compare(finished, more)
    assert (edit.new, edit.kept, edit.dropped) == (5, 4, 0)
    assert edit.measures_added == ("norms",)
    assert edit.measures_dropped == ("hessian_trace",)
    assert [str(change) for change in edit.changes] == [
        "seeds: 2 → 3",
        "sweep.training.batch_size: [16, 64] → [16, 64, 256]",
    ]
    assert json.loads(json.dumps(edit.to_dict()))["new"] == 5
    refuse(finished, more)


def test_a_smaller_grid_drops_trials_without_contradiction(finished: ResultsFolder) -> None:
    less = study(seeds=1)
    edit = compare(finished, less)
    assert (edit.new, edit.kept, edit.dropped) == (0, 2, 2)
    assert "2 no longer asked for; their rows stay" in edit.text()
    refuse(finished, less)
    # Another single value on an axis that was swept is told apart by its column, but not here.
    refuse(finished, study(sweep={"training.batch_size": [16, 128]}))


def test_an_edit_that_contradicts_finished_trials_is_refused_with_the_difference(
    finished: ResultsFolder,
) -> None:
    other = study(training={"stop": {"epochs": 3}})
    edit = compare(finished, other)
    assert [str(change) for change in edit.contradictions] == ["training.stop.epochs: 2 → 3"]
    assert "refused    training.stop.epochs: 2 → 3: contradicts finished trials" in edit.text()
    with pytest.raises(ResultsError, match=r"training\.stop\.epochs: 2 → 3") as told:
        refuse(finished, other)
    assert "--results" in str(told.value.hint)


def test_the_location_of_the_data_contradicts_nothing(finished: ResultsFolder) -> None:
    refuse(finished, study(data={"name": "mnist1d", "data_dir": "/elsewhere"}))


def test_without_finished_trials_every_edit_is_allowed(tmp_path: Path) -> None:
    folder = ResultsFolder.create(tmp_path / "small", study().model_dump_json(), "", {}, "")
    refuse(folder, study(training={"stop": {"epochs": 3}}))
