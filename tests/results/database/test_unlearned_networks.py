from __future__ import annotations

from orchestrator.results import ResultsFolder, connect, did_not_learn, study_status, write_part
from orchestrator.results.database.status import status_text
from tests.results.conftest import checkpoint_row, trial_row


def test_networks_that_did_not_learn_are_counted(folder: ResultsFolder) -> None:
    finals = {
        "learned": (0.1, 0.44),
        "edge": (0.1, 0.45),
        "stuck": (2.3, 0.46),
        "diverged": (float("nan"), 0.9),
        "own": (2.3, 0.9),
        "running": (2.3, 0.9),
    }
    for name, (loss, error) in finals.items():
        status = "running" if name == "running" else "completed"
        dataset = "npz" if name == "own" else "digits"
        trial = trial_row("a0", trial_id=name, condition_id=name, status=status, dataset=dataset)
        write_part(folder, "trials", [trial], f"{name}-1")
        early = checkpoint_row(
            "a0", 10, trial_id=name, checkpoint_id=f"{name}-10", train_loss=2.3, train_error=0.9
        )
        late = checkpoint_row(
            "a0", 20, trial_id=name, checkpoint_id=f"{name}-20", train_loss=loss, train_error=error
        )
        write_part(folder, "checkpoints", [early, late], f"{name}-1")
    with connect(folder, measure_columns=False) as database:
        assert did_not_learn(database, {}) == ("diverged", "stuck")
        stated = {"learned": {"train_error": 0.44}}
        assert did_not_learn(database, stated) == ("diverged", "edge", "own", "stuck")
    status = study_status(folder)
    assert status.trials_unlearned == 2
    assert "\n           2 completed without learning\n" in status_text(status)
