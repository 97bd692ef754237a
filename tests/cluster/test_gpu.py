"""A whole study on a GPU, where there is one: trials and measurers share it."""

import pytest
import torch

import orchestrator
from tests.cluster.comparison import rows
from tests.gpu import needs_gpu

pytestmark = [pytest.mark.ray, needs_gpu]

SHARED = {"trial": {"cpus": 0.5, "gpus": 0.25}, "measurer": {"cpus": 0.5, "gpus": 0.25}}
LOSSES = "SELECT trial_id, step, train_loss FROM checkpoints ORDER BY ALL"
TRACES = "SELECT trial_id, step, value FROM measures WHERE measure = 'hessian_trace' ORDER BY ALL"


def test_trials_and_measurers_share_a_gpu(local_ray, small_study, tmp_path):
    given = {"checkpoints": {"epochs": [1, 2]}, "seeds": 2}
    here, there = tmp_path / "here", tmp_path / "there"
    assert orchestrator.run(small_study(**given), here, quiet=True).complete
    path = small_study(**given, resources=SHARED)
    assert orchestrator.plan(path, there).gpus_probed
    assert orchestrator.run(path, there, quiet=True).complete
    named = [(torch.cuda.get_device_name(),)]
    assert rows(there, "SELECT DISTINCT device FROM trials") == named
    assert rows(there, "SELECT DISTINCT device FROM measures") == named
    for query in (LOSSES, TRACES):
        for one, other in zip(rows(here, query), rows(there, query), strict=True):
            assert other[:2] == one[:2]
            assert other[2] == pytest.approx(one[2], rel=1e-2)
    # What is done with snapshots afterwards runs there, too.
    assert orchestrator.audit(there, quiet=True) == []
    assert orchestrator.connectivity(there, quiet=True) == []
    assert orchestrator.measure(there, ["sam_sharpness"], quiet=True).complete
    assert rows(there, "SELECT DISTINCT device FROM measures") == named
