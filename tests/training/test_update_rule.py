import pytest
import torch

from orchestrator.training import UpdateRule, update_rule_at
from orchestrator.training.learner import Learner
from tests.training.cases import blobs, configuration

SCHEDULES = (
    "constant",
    {"name": "constant", "warmup_epochs": 0.5},
    {"name": "cosine", "final": 0.1, "warmup_epochs": 1},
    {"name": "step", "epochs": [1, 2.5], "factor": 0.3},
)


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("stop", [{"epochs": 4}, {"updates": 9}])
def test_the_learning_rate_is_that_of_the_last_update(schedule, stop):
    """The one that the table of epochs tells, at every step."""
    config = configuration(
        stop=stop, schedule=schedule, learning_rate_scaling="linear", reference_batch_size=64
    )
    learner = Learner(config, 0, blobs(), torch.device("cpu"))
    for step in range(10):
        learner.step = step
        rule = update_rule_at(config.training, 60, step)
        assert rule is not None
        assert rule.learning_rate == learner.learning_rate()


def test_the_update_rule_contains_momentum_and_weight_decay():
    optimizer = {
        "name": "sgd",
        "learning_rate": 0.2,
        "momentum": 0.5,
        "nesterov": True,
        "weight_decay": 1e-3,
    }
    training = configuration(optimizer=optimizer).training
    assert update_rule_at(training, 60, 3) == UpdateRule(0.2, 0.5, True, 1e-3)


@pytest.mark.parametrize(
    "optimizer", ["adamw", "sam", "asam", {"name": "tests.training.cases:peculiar"}]
)
def test_adaptive_and_custom_optimizers_have_no_update_rule(optimizer):
    assert update_rule_at(configuration(optimizer=optimizer).training, 60, 3) is None
