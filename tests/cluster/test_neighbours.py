"""Whatever a trial does to its process, the next one finds the process as if it ran alone."""

import os
import sys
from collections import defaultdict
from contextlib import suppress

import pytest
from ruamel.yaml import YAML

import orchestrator
from orchestrator.cluster.snapshots.measurer import measure
from orchestrator.cluster.snapshots.trust_checks import ShapeChecks
from orchestrator.cluster.trials.trainable import SPOILT, run_trial
from orchestrator.cluster.work_items import MeasureItem, TrialItem
from orchestrator.results import ResultsFolder, committed_snapshots, connect
from orchestrator.study.trials import expand_trials, hyperparameters
from tests.cluster import neighbours
from tests.cluster.comparison import rows
from tests.cluster.conftest import SMALL_STUDY
from tests.measures.cases import random_dataset

NEIGHBOURS = f"{__package__}.neighbours" if __package__ else "neighbours"
GOOD = {"name": f"{NEIGHBOURS}:Good"}


class Data:
    """The same examples for every trial."""

    def __init__(self):
        self.dataset = random_dataset((5,), 12, 3)

    def load(self, options, device):
        return self.dataset


class Process:
    """What one process trains and measures, one trial after another."""

    def __init__(self, folder, *models, measures=("margin",)):
        study = {
            **SMALL_STUDY,
            "training": {"batch_size": 6, "optimizer": {"name": "sgd"}, "stop": {"epochs": 2}},
            "sweep": {"model": list(models)},
            "seeds": 1,
            "checkpoints": {},
            "measures": list(measures),
            "claims": [],
        }
        study["model"] = dict(models[0])
        folder.mkdir()
        with (folder / "study.yaml").open("w") as file:
            YAML().dump(study, file)
        self.study = orchestrator.load_study(folder / "study.yaml")
        trials = expand_trials(self.study)
        self.trials = [
            next(t for t in trials if t.config.model.model_dump(mode="json").items() >= m.items())
            for m in models
        ]
        self.folder = ResultsFolder.create(
            folder / "results", self.study.model_dump_json(), "", {}, ""
        )
        self.data = Data()
        self.checks = ShapeChecks(self.folder, self.study, self.data, "cpu")

    def train(self, trial):
        config = trial.config
        columns = {
            key: value
            for key, value in hyperparameters(self.study, trial).items()
            if not key.startswith("model")
        }
        item = TrialItem(
            trial.trial_id, trial.seed, config, columns, 0, self.study.needs_of(trial.config)
        )
        *_, last = run_trial(item, self.folder, self.study.checkpoints, self.data)
        return last

    def measure(self, trial):
        (row,) = committed_snapshots(self.folder, {trial.trial_id})
        config = trial.config
        item = MeasureItem(row, trial.seed, config, tuple(self.study.requests))
        return measure(item, self.folder, self.study, self.data, "cpu", self.checks)

    def values(self, trial):
        """Every bit that is stored of a trial."""
        (row,) = committed_snapshots(self.folder, {trial.trial_id})
        with connect(self.folder) as database:
            measured = database.execute(
                "SELECT measure, variant, split, value, status, error FROM measures "
                "WHERE trial_id = ? ORDER BY ALL",
                [trial.trial_id],
            ).fetchall()
        return row["sha256"], row["train_loss"], row["test_loss"], measured


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    process = Process(tmp_path_factory.mktemp("alone") / "p", GOOD)
    (trial,) = process.trials
    assert process.train(trial)[SPOILT] is None
    assert process.measure(trial).spoilt is None
    values = process.values(trial)
    assert {row[4] for row in values[3]} == {"ok"}
    return values


@pytest.fixture(autouse=True)
def undo():
    folder, path = os.getcwd(), list(sys.path)
    yield
    neighbours.leave()
    assert (os.getcwd(), sys.path) == (folder, path)


CHANGES = [*neighbours.RESET, *neighbours.PUT_BACK, *neighbours.LASTS]
IN_THE_SUITE = {"default_dtype", "flush_denormal", "random_numbers", "module_hook", "thread"}


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(
            change,
            id=change.__name__,
            marks=[] if change.__name__ in IN_THE_SUITE else pytest.mark.slow,
        )
        for change in CHANGES
    ],
)
def test_a_trial_and_its_measures_run_as_if_alone_in_their_process(change, alone, tmp_path):
    bad = {"name": f"{NEIGHBOURS}:Bad", "change": change.__name__}
    process = Process(tmp_path / "p", bad, GOOD)
    first, second = process.trials
    spoilt = []
    with suppress(Exception):  # It may spoil its own training.
        spoilt.append(process.train(first)[SPOILT])
    if change in neighbours.LASTS:
        # Nothing else may run in this process; a new one starts.
        assert all(spoilt)
        neighbours.leave()
    elif change not in neighbours.IMPORTS:
        assert [bool(reason) for reason in spoilt] == [change in neighbours.PUT_BACK] * len(spoilt)
    assert process.train(second)[SPOILT] is None
    if committed_snapshots(process.folder, {first.trial_id}):
        measured = process.measure(first)
        if change not in neighbours.IMPORTS:
            assert bool(measured.spoilt) == (change not in neighbours.RESET)
        neighbours.leave()
    process.measure(second)
    assert process.values(second) == alone


@pytest.fixture
def module(tmp_path, monkeypatch):
    """Write a user's module that changes the process as it is imported."""
    monkeypatch.syspath_prepend(tmp_path)

    def write(name, *lines):
        network = f"from {NEIGHBOURS} import Bad, Good"
        (tmp_path / f"{name}.py").write_text("\n".join([*lines, network]))
        return {"name": f"{name}:Good"}

    yield write
    for name in [name for name in sys.modules if name.startswith("changes_")]:
        del sys.modules[name]


def test_settings_changed_by_importing_a_module_are_reset(module, alone, tmp_path):
    model = module("changes_dtype", "import torch", "torch.set_default_dtype(torch.float64)")
    process = Process(tmp_path / "p", model, GOOD)
    first, second = process.trials
    assert process.train(first)[SPOILT] is None
    process.train(second)
    process.measure(second)
    assert process.values(second) == alone
    assert process.values(first)[:3] == alone[:3]


def test_a_process_patched_by_a_module_is_not_reused_for_others(module, alone, tmp_path):
    model = module(
        "changes_torch", "import torch", "torch.nn.functional.relu = torch.nn.functional.gelu"
    )
    process = Process(tmp_path / "p", model, GOOD)
    first, second = process.trials
    assert process.train(first)[SPOILT] == "the function torch.nn.functional.relu"
    assert process.train(second)[SPOILT] is None
    process.measure(second)
    assert process.values(second) == alone
    assert process.values(first)[0] != alone[0]


def test_every_user_of_a_module_gets_the_environment_it_sets(module, tmp_path):
    lines = ("import os, sys", "os.environ['CHANGES'] = 'set'", "sys.path.append('/changes')")
    model = module(
        "changes_environment",
        *lines,
        "def Net(**given):",
        "    assert os.environ['CHANGES'] == 'set' and '/changes' in sys.path",
        "    return Good(**given)",
    )
    model = {"name": "changes_environment:Net"}
    process = Process(tmp_path / "p", model, {**model, "width": 5}, GOOD)
    for trial in process.trials:
        assert process.train(trial)["status"] == "completed"
        assert "CHANGES" not in os.environ
        assert "/changes" not in sys.path


@pytest.mark.slow
@pytest.mark.ray
def test_a_trial_gets_a_fresh_process_only_if_the_previous_one_spoilt_it(
    local_ray, tmp_path, small_study
):
    log = tmp_path / "log"
    bad = {"name": f"{NEIGHBOURS}:Bad", "change": "patched_layer", "log": str(log)}
    good = {**GOOD, "log": str(log)}
    models = [
        *({**bad, "label": f"bad{n}"} for n in (1, 2)),
        *({**good, "label": f"good{n}"} for n in (1, 2)),
    ]
    study = small_study(
        sweep={"model": models},
        seeds=1,
        training={"batch_size": 100, "stop": {"epochs": 1}},
        checkpoints={},
        claims=[],
        measures=["margin"],
        resources={"trial": {"cpus": 2}},
    )
    summary = orchestrator.run(study, tmp_path / "results", quiet=True, canary=False)
    assert summary.completed == 4
    assert rows(tmp_path / "results", "SELECT max(attempt) FROM trials") == [(1,)]
    users = defaultdict(list)
    for line in log.read_text().splitlines():
        pid, label = line.split()
        if label not in users[pid]:
            users[pid].append(label)
    # A bad trial is the last user of each process that trained or measured it …
    assert not any(label.startswith("bad") for labels in users.values() for label in labels[:-1])
    # … and other processes go on to the next.
    assert any(len(labels) > 1 for labels in users.values())
