"""The user's own code: what goes wrong in it is an error with its name, whatever it is."""

import pytest

import orchestrator
from orchestrator.errors import ImportPathError, UserError
from orchestrator.study.import_path import resolve_import_path

EXITS = """
import sys
import numpy as np

def load():
    sys.exit(0)

def net(input_shape, classes):
    sys.exit()

def loss(logits, labels):
    sys.exit("enough")

def optimizer(parameters, lr):
    sys.exit(0)
"""
STUDY = """
study: small
data: {{name: {data}, }}
model: {{name: {model}}}
training:
  loss: {loss}
  optimizer: {{name: {optimizer}, learning_rate: 0.1}}
  stop: {{epochs: 1}}
measures: [{measure}]
"""
FINE = {
    "data": "digits",
    "model": "mlp",
    "loss": "cross_entropy",
    "optimizer": "sgd",
    "measure": "margin",
}


@pytest.fixture
def modules(tmp_path, monkeypatch):
    (tmp_path / "exits_when_called.py").write_text(EXITS)
    (tmp_path / "exits_when_imported.py").write_text("import sys\nsys.exit(0)\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("part", FINE)
@pytest.mark.parametrize("command", ["plan", "run"])
def test_sys_exit_during_import_is_a_named_error(modules, part, command):
    study = modules / "study.yaml"
    study.write_text(STUDY.format(**FINE | {part: '"exits_when_imported:x"'}))
    with pytest.raises(ImportPathError, match=r"exits_when_imported.*sys\.exit"):
        getattr(orchestrator, command)(study, modules / "results")


@pytest.mark.parametrize(("part", "name"), [("data", "load"), ("model", "net"), ("loss", "loss")])
def test_sys_exit_during_a_call_is_a_named_error(modules, part, name):
    study = modules / "study.yaml"
    study.write_text(STUDY.format(**FINE | {part: f'"exits_when_called:{name}"'}))
    with pytest.raises(UserError, match=f"exits_when_called:{name}.*sys.exit"):
        orchestrator.plan(study, modules / "results")


def test_an_entry_point_of_no_installed_package_is_refused():
    with pytest.raises(ImportPathError, match="no installed package"):
        resolve_import_path("nothing_of_this_name", "models")
