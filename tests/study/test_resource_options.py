"""Resources of trials, and of those that need something else."""

import pytest

from orchestrator import load_study
from orchestrator.errors import StudyFileError
from orchestrator.study.trials import expand_trials as expand

STUDY = """
study: sizes
data: digits
model: {name: mlp, width: 64, depth: 1}
training: {optimizer: {name: sgd, learning_rate: 0.1}, stop: {epochs: 1}}
sweep:
  model.width: [64, 512]
  training.batch_size: [16, 128]
resources:
  trial:
    cpus: 2
    timeout: 60
    overrides:
"""


@pytest.fixture
def load(tmp_path):
    def load_with(*overrides):
        path = tmp_path / "sizes.yaml"
        path.write_text(STUDY + "".join(f"      - {override}\n" for override in overrides))
        return load_study(path)

    return load_with


def needs(study):
    return {
        (trial.config.model.width, trial.config.training.batch_size): study.needs_of(trial.config)
        for trial in expand(study)
    }


def test_an_override_changes_only_what_it_names_for_matching_trials(load):
    found = needs(load("{where: {model.width: 512}, gpus: 1, custom: {large: 1}}"))
    for (width, _), need in found.items():
        assert (need.cpus, need.timeout) == (2, 60)
        assert (need.gpus, need.custom) == ((1, {"large": 1}) if width == 512 else (0, {}))
        assert need.overrides == ()


def test_later_overrides_win_and_every_where_condition_must_match(load):
    found = needs(
        load(
            "{where: {model.width: 512}, gpus: 0.5, cpus: 4}",
            "{where: {model.width: 512, training.batch_size: 128}, gpus: 1}",
        )
    )
    assert {key: (need.cpus, need.gpus) for key, need in found.items()} == {
        (64, 16): (2, 0),
        (64, 128): (2, 0),
        (512, 16): (4, 0.5),
        (512, 128): (4, 1),
    }


def test_resources_do_not_change_the_trial_id(load):
    one, other = load("{where: {model.width: 512}, gpus: 1}"), load("{where: {model.width: 64}}")
    assert [t.trial_id for t in expand(one)] == [t.trial_id for t in expand(other)]


@pytest.mark.parametrize(
    ("override", "path", "said"),
    [
        ("{where: {model.widht: 512}, gpus: 1}", "where.model.widht", "did you mean 'model.width'"),
        ("{where: {model.width: 256}, gpus: 1}", "where", "model.width is 64, 512"),
        ("{where: {}, gpus: 1}", "where", "at least 1"),
        ("{gpus: 1}", "where", "is missing"),
        ("{where: {model.width: 64}, gpus: -1}", "gpus", "greater than or equal to 0"),
        ("{where: {model.width: 64}, gpu: 1}", "gpu", "did you mean 'gpus'"),
        ("{where: {model.width: 64}, custom: {GPU: 1}}", "custom", "GPU is not a custom resource"),
    ],
)
def test_errors_in_overrides_state_their_place(load, override, path, said):
    with pytest.raises(StudyFileError) as told:
        load(override)
    (problem,) = told.value.problems
    assert problem.path == f"resources.trial.overrides.0.{path}"
    assert said in str(problem)
    assert problem.where.endswith(f"sizes.yaml:14:{problem.column}")
