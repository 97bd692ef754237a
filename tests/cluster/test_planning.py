"""Plans with times from a probe; no Ray."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from orchestrator.cluster import planning
from orchestrator.study.study_file import load_study

STUDY = """\
study: planned
data: {name: mnist1d, train_size: 200}
model: {name: mlp, width: 8, depth: 1}
training:
  stop: {epochs: 4}
sweep:
  training.batch_size: [20, 100]
  training.optimizer.learning_rate: [0.1, 0.01]
seeds: 2
checkpoints:
  epochs: {every: 2}
measures: [margin, norms]
"""

RANDOM_WIDTHS = """\
  random:
    conditions: 30
    of: {training.batch_size: {choice: [20]}, model.dropout: {uniform: [0, 0.5]}}
"""


def note_calls(patched: pytest.MonkeyPatch, name: str, note: Callable[[], None]) -> None:
    """Call ``note`` before each call of a function that planning uses."""
    function = getattr(planning, name)

    def noted(*arguments: Any) -> Any:
        note()
        return function(*arguments)

    patched.setattr(planning, name, noted)


@pytest.fixture
def study_path(tmp_path: Path) -> Path:
    path = tmp_path / "planned.yaml"
    path.write_text(STUDY)
    return path


def test_a_plan_counts_the_work_of_a_run(study_path: Path, tmp_path: Path) -> None:
    plan = planning.plan_study(load_study(study_path), tmp_path / "none", probe=False)
    assert (plan.trials, plan.new, plan.partial, plan.done) == (8, 8, 0, 0)
    assert plan.snapshots == plan.snapshots_to_measure == 8 * 2
    assert plan.train_seconds is None
    assert plan.measure_seconds is None
    assert not (tmp_path / "none").exists()


def test_a_probe_measures_each_shape_once(
    study_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planning, "PROBE_SECONDS", 0.4)
    measured: list[int] = []
    note_calls(monkeypatch, "measure_once", lambda: measured.append(torch.get_num_threads()))
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        plan = planning.plan_study(load_study(study_path), tmp_path / "none")
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)
    # One network, one data set, one loss; as measurers run, with one thread.
    assert 1 <= len(measured) <= 2
    assert set(measured) == {1}
    assert plan.train_seconds is not None
    assert plan.train_seconds > 0
    by_condition = {(cost.label, cost.train_seconds) for cost in plan.conditions}
    assert len(by_condition) == 4
    # 200 examples: 10 or 2 updates an epoch; rates do not change what an update costs.
    rates = {cost.train_seconds for cost in plan.conditions if cost.updates == 40}
    assert len(rates) == 1


def test_a_few_conditions_are_probed_in_place_of_similar_ones() -> None:
    keys = {f"c{number}": number // 2 for number in range(20)}
    assert planning.stand_ins(keys, 10) == {f"c{n}": f"c{n - n % 2}" for n in range(20)}
    few = planning.stand_ins(keys, 3)
    assert list(dict.fromkeys(few.values())) == ["c0", "c8", "c14"]
    assert few["c7"] == "c0"
    assert few["c19"] == "c14"
    assert planning.stand_ins({}, 3) == {}


def test_only_some_of_thousands_of_networks_are_built(
    study_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planning, "MOST_BUILT", 5)
    built: list[int] = []
    note_calls(monkeypatch, "build_model", lambda: built.append(1))
    study_path.write_text(STUDY.replace("  training.batch_size: [20, 100]\n", RANDOM_WIDTHS))
    plan = planning.plan_study(load_study(study_path), tmp_path / "none", probe=False)
    assert len(built) == 5
    assert plan.trials == 30 * 2 * 2
    assert all(cost.snapshot_bytes > 0 for cost in plan.conditions)
