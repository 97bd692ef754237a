"""Values taken out of a grid: the report is of the study as it stands, and counts them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from orchestrator.reporting.claims.stated_claims import judge_stated
from orchestrator.reporting.data.completeness import read_progress
from orchestrator.reporting.data.conditions import read_conditions
from orchestrator.reporting.data.open_results import open_source
from orchestrator.reporting.text.limitations import find_limitations
from orchestrator.results import ResultsFolder, connect, study_status, swept_columns
from orchestrator.results.database.status import status_text
from orchestrator.study.claim_options import StatedClaim
from orchestrator.study.spec import Study
from orchestrator.study.trials import expand_trials, hyperparameters
from tests.results.test_names import folder_of

SWEEP = {
    "training.batch_size": [16, 32, 64],
    "model.width, model.depth": [[8, 1], [16, 2], [8, 2]],
}


def study(**changes: Any) -> Study:
    content = {
        "study": "small",
        "data": {"name": "digits"},
        "model": {"name": "mlp"},
        "training": {"stop": {"epochs": 1}},
        "sweep": SWEEP,
        "seeds": 2,
    }
    return Study.model_validate(content | changes)


def edited(folder: ResultsFolder, now: Study) -> Path:
    rows = [hyperparameters(now, trial) for trial in expand_trials(now)]
    ResultsFolder.create(folder.path, now.model_dump_json(), "", {}, "", swept=swept_columns(rows))
    return Path(folder.path)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, {}),
        ({"seeds": 3}, {}),
        ({"seeds": [1]}, {"seed 0": 9}),
        (
            {"sweep": SWEEP | {"training.batch_size": [16, 32, 128]}},
            {"training.batch_size 64": 6},
        ),
        (
            {"sweep": SWEEP | {"model.width, model.depth": [[8, 1], [16, 2]]}},
            {"training.batch_size 16, model.width 8, model.depth 2": 2}
            | {"training.batch_size 32, model.width 8, model.depth 2": 2}
            | {"training.batch_size 64, model.width 8, model.depth 2": 2},
        ),
    ],
)
def test_the_report_covers_the_study_as_it_stands(
    tmp_path: Path, changes: dict[str, Any], expected: dict[str, int]
) -> None:
    before = study()
    path = edited(folder_of(tmp_path / "r", before), study(**changes))
    gone = {t.trial_id for t in expand_trials(before)} - {
        t.trial_id for t in expand_trials(study(**changes))
    }
    with open_source(path) as source:
        assert source.left_out.trial_ids == gone
        assert source.left_out.values == expected
        assert len(source.connection.sql("FROM trials").fetchall()) == 18 - len(gone)
        assert len(source.connection.sql("FROM wide").fetchall()) == 18 - len(gone)
        progress = read_progress(source)
        assert progress.completed == 18 - len(gone)
        told = [one for one in find_limitations(source, progress) if "no longer in the grid" in one]
        assert len(told) == bool(gone)
        claim = StatedClaim.model_validate(
            {"name": "c", "statement": "s", "x": "margin_mean", "statistic": "mean", "above": 0}
        )
        judged, _ = judge_stated(source, claim, read_conditions(source))
        assert judged.estimate.n_groups == 18 - len(gone)
    status = study_status(path)
    assert (status.trials_completed, status.trials_left_out) == (18 - len(gone), len(gone))
    assert ("no longer in the grid" in status_text(status)) == bool(gone)
    with open_source(path, everything=True) as source:
        assert not source.left_out.trial_ids
        assert len(source.connection.sql("FROM wide").fetchall()) == 18
    with connect(path) as database:
        assert len(database.sql("FROM wide").fetchall()) == 18
