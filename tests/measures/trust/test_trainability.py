"""What would spoil training is found before it: two updates on a few examples."""

import sys
from types import ModuleType

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from orchestrator.errors import ModelError
from orchestrator.measures.trust.checks import network_findings, refuse_spoiled
from orchestrator.measures.trust.finding import SPOILS_TRAINING
from orchestrator.study.spec import Study, TrialConfig
from orchestrator.training import evaluation
from tests.measures.cases import random_dataset

MINE = "tests.measures.trust.test_trainability"


def config(model, loss="cross_entropy", **training):
    study = Study.model_validate(
        {
            "study": "s",
            "data": {"name": "digits"},
            "model": {"name": f"{MINE}:{model}"} if isinstance(model, str) else model,
            "training": {
                "loss": loss if isinstance(loss, dict) else {"name": loss},
                "optimizer": {"name": "sgd", "learning_rate": 0.1},
                "batch_size": 7,
                "stop": {"epochs": 1},
                **training,
            },
        }
    )
    return TrialConfig(data=study.data, model=study.model, training=study.training), study


def found(model, loss="cross_entropy", checks=frozenset(), shape=(5,), **training):
    trial, study = config(model, loss, **training)
    return network_findings(trial, random_dataset(shape, 40, 3), study.measuring, checks)


class Net(nn.Module):
    def __init__(self, input_shape, classes):
        super().__init__()
        self.o = nn.Linear(input_shape[0], classes)
        self.setup()

    def setup(self):
        pass

    def forward(self, x):
        return self.o(x)


class Writing(Net):
    def forward(self, x):
        return self.o(x.sub_(0.1).div_(1.1))


class WritingInEvaluation(Net):
    def forward(self, x):
        if not self.training:
            x[:, 0] = 0
        return self.o(x)


class Counting(Net):
    """A schedule of its own in a plain attribute, which no state dict has."""

    def setup(self):
        self.updates = 0

    def forward(self, x):
        self.updates += self.training
        return self.o(x) * (1 + 0.1 * self.updates)


class Forgetting(Net):
    """Statistics in a buffer that the state dict leaves out."""

    def setup(self):
        self.register_buffer("mean", torch.zeros(5), persistent=False)

    def forward(self, x):
        if self.training:
            self.mean += 0.5 * (x.detach().mean(0) - self.mean)
        return self.o(x - self.mean)


class Growing(Net):
    def setup(self):
        self.register_buffer("seen", torch.zeros(0))

    def forward(self, x):
        if self.training:
            self.seen = torch.cat([self.seen, x.detach().flatten()])
        return self.o(x)


class Wide(Net):
    def setup(self):
        self.o = nn.Linear(5, 4)


class Remembering(Net):
    """Statistics where they belong."""

    def setup(self):
        self.norm = nn.BatchNorm1d(5)
        self.register_buffer("steps", torch.zeros(()))

    def forward(self, x):
        self.steps += self.training
        return self.o(self.norm(x)) * (1 + 0.1 * self.steps)


class RandomInEvaluation(Net):
    def forward(self, x):
        return self.o(F.dropout(x, 0.5))


def writing_loss(logits, labels):
    logits[torch.arange(len(labels)), labels] -= 2.0
    return F.cross_entropy(logits, labels, reduction="none")


def mean_loss(logits, labels):
    return F.cross_entropy(logits, labels)


@pytest.mark.parametrize(
    ("model", "check"),
    [
        ("Counting", "state_restores"),
        ("Forgetting", "state_restores"),
        ("Growing", "state_restores"),
        ("Wide", "outputs_fit"),
    ],
)
def test_networks_that_would_spoil_training_are_found_and_refused(model, check):
    findings = found(model)
    assert findings[check].status == "failed", findings
    with pytest.raises(ModelError, match=f"{model}', {check.replace('_', ' ')}: ") as refused:
        refuse_spoiled(config(model)[0], findings)
    assert refused.value.hint or check == "outputs_fit"


@pytest.mark.parametrize("model", ["Writing", "WritingInEvaluation"])
def test_networks_that_write_into_inputs_are_found_unless_they_get_copies(model, monkeypatch):
    assert found(model)["data_unchanged"].status == "passed"
    monkeypatch.setattr(evaluation, "may_write_into_inputs", lambda network: False)
    findings = found(model)
    assert findings["data_unchanged"].status == "failed"
    with pytest.raises(ModelError, match=f"{model}', data unchanged: "):
        refuse_spoiled(config(model)[0], findings)


def test_a_loss_that_returns_the_mean_is_found():
    findings = found("Net", {"name": f"{MINE}:mean_loss"})
    assert findings["outputs_fit"].status == "failed", findings


def test_a_loss_that_writes_into_its_inputs_gets_copies():
    findings = found("Net", {"name": f"{MINE}:writing_loss"})
    assert {findings[check].status for check in SPOILS_TRAINING} == {"passed"}


@pytest.mark.parametrize("model", ["Net", "Remembering", "RandomInEvaluation"])
def test_trainable_networks_are_not_refused(model):
    findings = found(model)
    assert {findings[check].status for check in SPOILS_TRAINING} == {"passed"}
    refuse_spoiled(config(model)[0], findings)


@pytest.mark.parametrize(
    "model",
    [
        {"name": "mlp", "width": 8, "depth": 1},
        {"name": "mlp", "width": 8, "depth": 2, "activation": "tanh", "dropout": 0.5},
        {"name": "cnn", "width": 4},
    ],
    ids=str,
)
def test_built_in_networks_pass_every_check(model):
    shape = (5,) if model["name"] == "mlp" else (1, 8, 8)
    checks = {"repeatable", "second_derivatives", "input_gradients"}
    findings = found(model, shape=shape, checks=checks)
    assert findings.keys() == SPOILS_TRAINING | checks
    assert {finding.status for finding in findings.values()} == {"passed"}, findings


def test_errors_raised_in_training_are_left_to_the_trial():
    module = ModuleType("raising_network")
    sys.modules[module.__name__] = module

    class Raising(Net):
        def forward(self, x):
            if self.training:
                raise RuntimeError("not today")
            return self.o(x)

    module.Raising = Raising
    findings = found({"name": "raising_network:Raising"})
    assert findings["state_restores"].status == "undecided"
    assert "not today" in findings["state_restores"].reason


def test_equal_arguments_give_equal_findings():
    assert found("Counting") == found("Counting")
