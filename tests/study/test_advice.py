"""Warnings about valid studies."""

import shutil

import pytest

from orchestrator.checked_study import checked_study
from orchestrator.study import advice

STUDY = """\
study: s
data: {name: digits}
model: {name: mlp}
training: {stop: {epochs: 1}}
sweep: {training.batch_size: %s}
seeds: %d
measures: [margin]
claims: %s
resources: {trial: {gpus: 0.5, overrides: [{where: {training.batch_size: 16}, gpus: 2}]}}
"""


def warned(tmp_path, sizes, seeds, claims="[large_batch_needs_time]"):
    path = tmp_path / "study.yaml"
    path.write_text(STUDY % (sizes, seeds, claims))
    return [warning.code for warning in checked_study(path)[1]]


@pytest.mark.parametrize(("here", "codes"), [(0, ["no-gpu"]), (1, ["no-gpu"]), (2, []), (None, [])])
def test_gpus_that_this_machine_lacks_are_warned_of(tmp_path, monkeypatch, here, codes):
    monkeypatch.setattr(advice, "gpus_here", lambda: here)
    assert warned(tmp_path, "[16, 32]", 2) == codes


def test_a_handful_of_networks_is_warned_of_if_claims_rest_on_them(tmp_path, monkeypatch):
    monkeypatch.setattr(advice, "gpus_here", lambda: None)
    assert warned(tmp_path, "[16, 32]", 1) == ["one-seed"]
    assert warned(tmp_path, "[16, 32]", 1, "[]") == []
    assert warned(tmp_path, "[16, 32, 64, 128, 256, 512]", 1) == []


def test_gpus_are_counted_in_the_folder_of_their_driver(tmp_path, monkeypatch):
    driver = tmp_path / "gpus"
    monkeypatch.setattr(shutil, "which", lambda _: None)
    assert advice.gpus_here(driver) == 0
    (driver / "0000:01:00.0").mkdir(parents=True)
    assert advice.gpus_here(driver) == 1
    monkeypatch.setattr(shutil, "which", lambda _: "/usr/bin/nvidia-smi")
    assert advice.gpus_here(tmp_path / "none") is None
