"""Random numbers of the user's own measures: the trial's seed reaches them everywhere; no Ray."""

from pathlib import Path
from typing import Any

import pytest

from orchestrator.cluster import planning
from orchestrator.cluster.snapshots import measurer
from orchestrator.cluster.snapshots.subject import subject
from orchestrator.cluster.snapshots.trust_checks import ShapeChecks
from orchestrator.cluster.work_items import MeasureItem
from orchestrator.data import Dataset, load_dataset
from orchestrator.models import build_model
from orchestrator.results import ResultsFolder
from orchestrator.study.spec import Study
from orchestrator.study.study_file import load_study
from orchestrator.study.trials import Trial, expand_trials

STUDY = """\
study: seeded
measuring: {trust_checks: false}
data: {name: mnist1d, train_size: 60}
model: {name: mlp, width: 3, depth: 1}
training: {stop: {epochs: 1}}
seeds: 2
measures: ["tests.measures.user_measures:draws_a_number"]
"""


@pytest.fixture
def study(tmp_path: Path) -> Study:
    path = tmp_path / "seeded.yaml"
    path.write_text(STUDY)
    return load_study(path)


class Data:
    """Data sets as a measurer gets them."""

    def load(self, options: Any, device: str) -> Dataset:
        return load_dataset(options)


CHECKPOINT = {"checkpoint_id": "c", "trial_id": "t", "path": "p", "sha256": "", "step": 1}


def numbers(rows: list[dict[str, Any]]) -> dict[str, float]:
    return {row["measure"]: row["value"] for row in rows}


@pytest.mark.slow
def test_each_trial_has_its_own_random_numbers_when_measured(
    study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored: list[list[dict[str, Any]]] = []
    monkeypatch.setattr(measurer, "write_part", lambda f, table, rows, name: stored.append(rows))
    monkeypatch.setattr(measurer, "keep_subsets", lambda *arguments: None)
    first, second = expand_trials(study)

    def measured(trial: Trial, step: int) -> dict[str, float]:
        data = load_dataset(trial.config.data)
        model = build_model(trial.config.model, data.input_shape, data.classes, seed=step)
        monkeypatch.setattr(measurer, "read_snapshot", lambda *given: model.state_dict())
        checkpoint = CHECKPOINT | {"step": step, "reason": "epoch"}
        requests = tuple(study.requests)
        item = MeasureItem(checkpoint, trial.seed, trial.config, requests)
        checks = ShapeChecks(ResultsFolder(tmp_path), study, Data(), "cpu")  # type: ignore[arg-type]
        measurer.measure(item, ResultsFolder(tmp_path), study, Data(), "cpu", checks)  # type: ignore[arg-type]
        (seeds,) = {row["seed"] for row in stored[-1]}
        assert seeds == 0  # the column is the probes' seed
        return numbers(stored[-1])

    found = measured(first, 1)
    assert found["seed"] == first.seed
    assert measured(first, 2) == found
    other = measured(second, 1)
    assert other["seed"] == second.seed
    assert other["own"] != found["own"]
    assert other["common"] == found["common"]


def test_audits_and_plans_use_the_seed_of_the_trial(
    study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trial = next(trial for trial in expand_trials(study) if trial.seed == 1)
    data = load_dataset(trial.config.data)
    network = subject(trial.config, trial.seed, data, study.measuring, "cpu")
    assert network.context().trial_seed == trial.seed == 1
    seen: list[int] = []

    def record(context: Any, requests: Any, findings: Any) -> list[Any]:
        seen.append(context.trial_seed)
        return []

    monkeypatch.setattr(planning, "measure_snapshot", record)
    planning.measure_once(study, trial, data, "cpu", {}, tuple(study.requests))
    assert seen == [1]
