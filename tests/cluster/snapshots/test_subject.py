"""A network is measured as its trial trained it."""

import torch

from orchestrator.cluster.snapshots.subject import PROBE_SEED, subject
from orchestrator.data import load_dataset
from orchestrator.models import build_model
from orchestrator.study.spec import Study
from orchestrator.study.trials import expand_trials
from tests.cluster.conftest import SMALL_STUDY


def equal(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_a_subject_has_the_snapshots_weights_and_the_initial_ones():
    measuring = {"examples": 50, "examples_per_pass": 20}
    study = Study.model_validate({**SMALL_STUDY, "measuring": measuring})
    trial = next(trial for trial in expand_trials(study) if trial.seed == 1)
    config, data = trial.config, load_dataset(trial.config.data)
    initial = build_model(config.model, data.input_shape, data.classes, 1).state_dict()
    trained = build_model(config.model, data.input_shape, data.classes, 7).state_dict()

    found = subject(config, 1, data, study.measuring, "cpu", trained, step=10)
    assert equal(found.model.state_dict(), trained)
    assert equal(found.initial_state, initial)
    assert (found.trial_seed, found.seed) == (1, PROBE_SEED)
    assert (found.examples, found.examples_per_pass) == (50, 20)
    assert found.context().data.n_examples("train") == 50

    untrained = subject(config, 1, data, study.measuring, "cpu")
    assert equal(untrained.model.state_dict(), initial)
