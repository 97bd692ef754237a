from __future__ import annotations

import orchestrator
from orchestrator.cluster.backlog import missing_measures
from orchestrator.cluster.backlog_reading import Backlog
from orchestrator.study.trials import expand_trials


def test_trained_networks_are_measured_first(small_study):
    study = orchestrator.load_study(small_study(seeds=1))
    trials = {trial.trial_id: trial for trial in expand_trials(study)}
    reasons = ["epoch", "epoch; final", "train_loss 0.1"]
    snapshots = [
        {"trial_id": trial_id, "checkpoint_id": f"{trial_id}-{number}", "reason": reason}
        for trial_id in [*trials, "another study's"]
        for number, reason in enumerate(reasons)
    ]
    orders = missing_measures(study, trials, Backlog(), snapshots)
    ids = [order.checkpoint["checkpoint_id"] for order in orders]
    assert ids == [f"{one}-1" for one in trials] + [f"{one}-{n}" for one in trials for n in (0, 2)]
    assert {order.requests for order in orders} == {tuple(study.requests)}

    measured = Backlog(measured={ids[0]: set(study.requests), ids[1]: {"margin"}})
    first, *_ = missing_measures(study, trials, measured, snapshots)
    assert first.checkpoint["checkpoint_id"] == ids[1]
    assert "margin" not in first.requests
