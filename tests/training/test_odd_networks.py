"""A network written oddly is trained, stored and resumed as the same network written plainly."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F

from orchestrator.models import build_model
from orchestrator.study.options import CustomOptions
from orchestrator.study.spec import CheckpointOptions
from orchestrator.training import EpochEnd, Loss, read_snapshot, train, write_snapshot
from orchestrator.training.evaluation import evaluate
from tests.measures.odd_networks import DATA_WRITER, PAIRS, SHARERS, Pair, some
from tests.training.cases import (
    assert_same_events,
    assert_same_tensors,
    checkpoints_of,
    configuration,
    run,
    untimed,
)

NETWORKS = "tests.measures.odd_networks:named"
OPTIMIZERS: list[dict[str, Any]] = [
    {"name": "sgd", "learning_rate": 0.1, "momentum": 0.9},
    {"name": "sam", "learning_rate": 0.1, "rho": 0.1},
    {"name": "torch.optim:LBFGS", "learning_rate": 0.1, "max_iter": 3},
]


def events(pair: Pair, side: str, dataset=None, *, optimizer=OPTIMIZERS[0], **options: Any):
    model = {"name": NETWORKS, "pair": pair.name, "side": side}
    config = configuration(model, stop={"epochs": 2}, batch_size=5, optimizer=optimizer)
    return run(config, dataset or pair.dataset(), **options)


@pytest.mark.parametrize("pair", some([*PAIRS, DATA_WRITER]))
def test_losses_equal_those_of_the_same_network_written_plainly(pair: Pair) -> None:
    dataset = pair.dataset()
    copies = {split: [part.clone() for part in dataset.split(split)] for split in ("train", "test")}
    for optimizer in OPTIMIZERS:
        odd, plain = (
            [untimed(event) for event in events(pair, side, dataset, optimizer=optimizer)]
            for side in ("odd", "plain")
        )
        assert odd == plain
        for split, kept in copies.items():
            for part, before in zip(dataset.split(split), kept, strict=True):
                assert torch.equal(part, before)


@pytest.mark.parametrize("pair", some(SHARERS))
def test_shared_tensors_are_stored_once_and_restored_as_shared(pair: Pair, tmp_path) -> None:
    options = CustomOptions(name=NETWORKS, pair=pair.name)
    dataset = pair.dataset()
    final = checkpoints_of(events(pair, "odd"))[-1].state
    file = write_snapshot(tmp_path / "1.safetensors", final)
    numbers = {id(tensor): tensor.nbytes for tensor in final.values()}
    assert len(numbers) < len(final)
    assert file.bytes < sum(numbers.values()) + 2000
    state = read_snapshot(tmp_path / "1.safetensors", file.sha256)
    assert_same_tensors(state, final)
    assert len({id(tensor) for tensor in state.values()}) == len(numbers)
    model = build_model(
        options, dataset.input_shape, dataset.classes, 7, dataset.train_x.dtype
    ).eval()
    model.load_state_dict(state)
    assert_same_tensors(dict(model.state_dict()), final)


@pytest.mark.parametrize("pair", some(SHARERS))
def test_networks_with_shared_tensors_resume_as_if_not_interrupted(pair: Pair) -> None:
    model = {"name": NETWORKS, "pair": pair.name}
    config = configuration(model, stop={"epochs": 2}, batch_size=5)
    whole, states = [], []
    for event in train(config, 0, pair.dataset(), CheckpointOptions()):
        whole.append(event)
        if isinstance(event, EpochEnd):
            states.append(event.resume())
    resumed = list(train(config, 0, pair.dataset(), CheckpointOptions(), resume=states[1]))
    assert_same_events(resumed, whole[-len(resumed) :])


def writes_into_logits(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    logits[torch.arange(len(labels)), labels.clone()] -= 2.0
    labels.clamp_(max=1)
    return F.cross_entropy(logits, labels, reduction="none")


def writes_into_nothing(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    logits = logits - 2.0 * F.one_hot(labels, logits.shape[1])
    return F.cross_entropy(logits, labels.clamp(max=1), reduction="none")


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=lambda options: options["name"])
def test_a_loss_may_write_into_its_inputs(optimizer) -> None:
    found = []
    for loss in (writes_into_logits, writes_into_nothing):
        config = configuration(
            loss=f"{__name__}:{loss.__name__}", stop={"epochs": 2}, optimizer=optimizer
        )
        found.append(run(config))
    assert_same_events(*found)


def test_errors_are_computed_from_the_logits_before_the_loss() -> None:
    torch.manual_seed(0)
    model, x, y = torch.nn.Linear(4, 3), torch.randn(50, 4), torch.arange(50) % 3
    labels = y.clone()
    found = [evaluate(model, x, y, Loss(f)) for f in (writes_into_logits, writes_into_nothing)]
    assert found[0] == found[1]
    assert torch.equal(y, labels)
