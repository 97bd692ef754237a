"""The comparison of two networks on the line between them, in the process of a measurer."""

from __future__ import annotations

import torch

from orchestrator.cluster.processes.shared_data import SharedData
from orchestrator.cluster.snapshots.subject import subject
from orchestrator.cluster.work_items import PairItem
from orchestrator.measures import linear_connectivity
from orchestrator.measures.sharpness.linear_connectivity import barrier, why_no_barrier
from orchestrator.models import named_as
from orchestrator.results import ResultsFolder, write_part
from orchestrator.study.spec import Study
from orchestrator.training import read_snapshot


def connect_pair(
    item: PairItem, folder: ResultsFolder, study: Study, data: SharedData, device: str
) -> int:
    """Compare two snapshots and store the rows as one part.

    Returns:
        Number of rows.

    Raises:
        ResultsError: If a snapshot is missing or damaged.
    """
    config, settings = item.config, study.measuring
    dataset = data.load(config.data, device)
    one, other = (
        read_snapshot(folder.path / row["path"], row["sha256"]) for row in (item.one, item.other)
    )
    network = subject(config, 0, dataset, settings, device, one)
    context = network.context(getattr(torch, settings.dtype))
    found = linear_connectivity(context, named_as(network.model.state_dict(), other))
    curves = {
        ("train", "loss"): found.train_losses,
        ("train", "error"): found.train_errors,
        ("test", "loss"): found.test_losses,
        ("test", "error"): found.test_errors,
    }
    rows = [
        {
            "condition_id": item.condition_id,
            "trial_id": item.one["trial_id"],
            "other_trial_id": item.other["trial_id"],
            "checkpoint_id": item.one["checkpoint_id"],
            "other_checkpoint_id": item.other["checkpoint_id"],
            "split": split,
            "quantity": quantity,
            "barrier": barrier(found.alphas, values),
            "alpha": list(found.alphas),
            "value": list(values),
            "reason": why_no_barrier(found.alphas, values),
        }
        for (split, quantity), values in curves.items()
    ]
    write_part(folder, "connectivity", rows, item.name)
    return len(rows)
