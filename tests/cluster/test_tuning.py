"""What Ray Tune is handed."""

import cloudpickle
import pytest

from orchestrator.cluster.run_state import CanaryFirst
from orchestrator.cluster.shared_data import SharedData
from orchestrator.cluster.trainable import TrialOrder
from orchestrator.cluster.tuning import build_tuner
from orchestrator.results import ResultsFolder
from orchestrator.study.spec import Study
from orchestrator.study.trials import expand_trials

from .conftest import SMALL_STUDY

pytestmark = pytest.mark.ray


def test_what_tune_unpickles_for_each_trial_does_not_grow_with_the_study(local_ray, tmp_path):
    def pickled(seeds):
        study = Study.model_validate({**SMALL_STUDY, "seeds": seeds})
        orders = {
            trial.trial_id: TrialOrder(
                trial.trial_id,
                trial.seed,
                trial.config.model_dump_json(),
                {},
                0,
                study.needs_of(trial.config),
            )
            for trial in expand_trials(study)
        }
        folder, search = ResultsFolder(tmp_path), CanaryFirst(1, 1)
        tuner = build_tuner(folder, study, orders, SharedData([]), search)
        return len(cloudpickle.dumps(tuner._local_tuner.trainable))

    assert pickled(200) == pickled(1)
