"""Barriers between seeds under Ray."""

import pytest
import torch

import orchestrator
from orchestrator.cluster.snapshots import connectivity as connecting
from orchestrator.data import load_dataset
from orchestrator.errors import ResultsError
from orchestrator.measures import MeasureContext, linear_connectivity
from orchestrator.models import build_model
from orchestrator.results import ResultsFolder, read_study
from orchestrator.training import build_loss, read_snapshot
from tests.cluster.comparison import rows
from tests.cluster.in_process import workers_in_process

ALL = "SELECT * FROM connectivity ORDER BY ALL"


THREE_SEEDS = {"seeds": 3, "measures": ["norms"], "sweep": {"training.batch_size": [100]}}


@pytest.mark.slow
def test_successive_seeds_are_compared_once(finished, monkeypatch):
    results = finished(**THREE_SEEDS)
    with workers_in_process():
        assert orchestrator.connectivity(results, quiet=True) == []
    seeds = rows(
        results,
        "SELECT DISTINCT a.seed, b.seed FROM connectivity c JOIN trials a USING (trial_id) "
        "JOIN trials b ON b.trial_id = c.other_trial_id ORDER BY ALL",
    )
    assert seeds == [(0, 1), (1, 2)]
    stored = rows(results, ALL)
    assert len(stored) == 2 * 4

    # It is what the library says of the two snapshots.
    study = read_study(ResultsFolder.open(results))
    (one, other, losses, barrier), *_ = rows(
        results,
        "SELECT a.path, b.path, c.value, c.barrier FROM connectivity c "
        "JOIN checkpoints a USING (checkpoint_id) "
        "JOIN checkpoints b ON b.checkpoint_id = c.other_checkpoint_id "
        "WHERE split = 'test' AND quantity = 'loss' ORDER BY ALL",
    )
    dataset = load_dataset(study.data)
    model = build_model(study.model, dataset.input_shape, dataset.classes, 0)
    model.load_state_dict(read_snapshot(results / one))
    context = MeasureContext(model, dataset, build_loss(study.training.loss), dtype=torch.float64)
    found = linear_connectivity(context, read_snapshot(results / other))
    assert losses == list(found.test_losses)
    assert barrier == found.test_loss_barrier

    with monkeypatch.context() as patched:
        patched.setattr(connecting, "ray_session", lambda *_: pytest.fail("nothing was missing"))
        assert orchestrator.connectivity(results, quiet=True) == []
    assert rows(results, ALL) == stored


def test_a_single_seed_is_refused(finished):
    results = finished(**{**THREE_SEEDS, "seeds": 1})
    with pytest.raises(ResultsError, match="no condition has snapshots of two seeds"):
        orchestrator.connectivity(results, quiet=True)


@pytest.mark.ray
def test_a_missing_snapshot_fails_only_its_own_pair(local_ray, finished):
    results = finished(**THREE_SEEDS)
    ((gone, last),) = rows(
        results, "SELECT trial_id, checkpoint_id FROM final JOIN trials USING (trial_id, seed) "
        "WHERE seed = 0"
    )  # fmt: skip
    for file in (results / "snapshots" / gone).glob(f"{last.rpartition('-')[2]}.*"):
        file.unlink()
    (failure,) = orchestrator.connectivity(results, quiet=True)
    assert failure.startswith(last)
    assert "no such file" in failure
    assert len(rows(results, ALL)) == 4
