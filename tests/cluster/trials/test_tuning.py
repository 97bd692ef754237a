"""What Ray Tune is handed."""

from types import SimpleNamespace

import cloudpickle
import pytest
from ray.exceptions import RayActorError

from orchestrator.cluster.processes.session import Slots
from orchestrator.cluster.processes.shared_data import SharedData
from orchestrator.cluster.trials import tuning
from orchestrator.cluster.trials.gate import Gate
from orchestrator.cluster.trials.run_state import RunState
from orchestrator.cluster.trials.tuning import build_tuner
from orchestrator.cluster.work_items import TrialItem
from orchestrator.results import ResultsFolder
from orchestrator.study.spec import Study
from orchestrator.study.trials import expand_trials
from tests.cluster.comparison import rows
from tests.cluster.conftest import SMALL_STUDY

pytestmark = pytest.mark.ray


def test_the_pickled_trainable_does_not_grow_with_the_study(local_ray, tmp_path):
    def pickled(seeds):
        study = Study.model_validate({**SMALL_STUDY, "seeds": seeds})
        work_items = {
            trial.trial_id: TrialItem(
                trial.trial_id,
                trial.seed,
                trial.config,
                {},
                0,
                study.needs_of(trial.config),
            )
            for trial in expand_trials(study)
        }
        folder, slots = ResultsFolder(tmp_path), Slots(1, 1, 1, 1.0)
        state = RunState({}, total=seeds, completed=0, limit=9)
        tuner = build_tuner(folder, study, work_items, SharedData([]), slots, state, Gate(state))
        return len(cloudpickle.dumps(tuner._local_tuner.trainable))

    assert pickled(200) == pickled(1)


def test_a_trial_that_never_started_is_left_to_the_next_round(monkeypatch, tmp_path):
    study = Study.model_validate({**SMALL_STUDY, "seeds": 2})
    trials = {trial.trial_id: trial for trial in expand_trials(study)}
    untried, failed, *_ = trials
    ended = [
        SimpleNamespace(config={"trial_id": trial_id}, error=RayActorError())
        for trial_id in (untried, failed)
    ]
    monkeypatch.setattr(tuning, "build_tuner", lambda *_: SimpleNamespace(fit=lambda: ended))
    state = RunState(trials, total=len(trials), completed=0, limit=9, untried={untried})
    folder = ResultsFolder.create(tmp_path, study.model_dump_json(), "", {}, "")
    tuning.train_trials(study, folder, {}, SharedData([]), Slots(1, 1, 1, 1.0), state, Gate(state))
    assert list(state.failed) == [failed]
    assert rows(tmp_path, "SELECT trial_id, status FROM trials") == [(failed, "failed")]
