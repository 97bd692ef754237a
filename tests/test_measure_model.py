"""The notebook's door: plain PyTorch things in, a table out."""

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import orchestrator
from orchestrator.errors import DataError, MeasureError
from orchestrator.measures import MeasureContext, measure_snapshot
from orchestrator.study.measure_options import BUILT_IN_OPTIONS, name_of
from orchestrator.training.losses import loss_of_module
from tests.measures.cases import random_dataset

DATA = random_dataset((6,), 20, 3)
TRAIN, TEST = (DATA.train_x, DATA.train_y), (DATA.test_x, DATA.test_y)


def network():
    torch.manual_seed(0)
    width = DATA.train_x[0].numel()
    return nn.Sequential(nn.Flatten(), nn.Linear(width, 5), nn.ReLU(), nn.Linear(5, DATA.classes))


def without_seconds(table):
    return table.drop(columns="seconds")


def test_measure_model_gives_the_values_of_a_study():
    options = [one.model_validate({"name": "margin"}) for one in BUILT_IN_OPTIONS[:1]]
    assert name_of(BUILT_IN_OPTIONS[0]) == "margin"
    model = network()
    context = MeasureContext(model, DATA, loss_of_module(nn.CrossEntropyLoss()))
    rows = list(measure_snapshot(context, {"margin": options[0]}))
    table = orchestrator.measure_model(model, TRAIN, TEST, ["margin"])
    assert list(table["value"]) == [row["value"] for row in rows]
    assert set(table["status"]) == {"ok"}
    assert list(table.columns[:3]) == ["request", "measure", "variant"]


def test_data_may_be_tensors_arrays_data_sets_or_loaders():
    model = network()
    names = ["margin", {"sam_sharpness": {"rho": 0.1}}]
    expected = without_seconds(orchestrator.measure_model(model, TRAIN, TEST, names))
    for train, test in (
        (tuple(part.numpy() for part in TRAIN), tuple(part.numpy() for part in TEST)),
        (TensorDataset(*TRAIN), TensorDataset(*TEST)),
        (DataLoader(TensorDataset(*TRAIN), batch_size=3), DataLoader(TensorDataset(*TEST))),
    ):
        found = without_seconds(orchestrator.measure_model(model, train, test, names))
        pd.testing.assert_frame_equal(found, expected)


def test_losses_may_be_those_of_pytorch():
    model = network()

    def trace(loss, measure="hessian_trace"):
        table = orchestrator.measure_model(model, TRAIN, TEST, [measure], loss=loss)
        assert set(table["status"]) == {"ok"}, list(table["error"])
        return table["value"][0]

    def per_example(logits, labels):
        return nn.functional.cross_entropy(logits, labels, reduction="none")

    plain = trace(None)
    assert trace(nn.CrossEntropyLoss()) == trace(nn.CrossEntropyLoss(reduction="sum")) == plain
    assert trace(per_example) == pytest.approx(plain, rel=1e-9)
    weighted = nn.CrossEntropyLoss(weight=torch.ones(DATA.classes))
    assert trace(weighted) == pytest.approx(plain, rel=1e-9)
    assert weighted.reduction == "mean"
    smoothed = nn.CrossEntropyLoss(label_smoothing=0.1)
    assert trace(smoothed, "gradient_norm") != trace(None, "gradient_norm")
    assert np.isfinite(trace(nn.MultiMarginLoss(p=2)))


def test_the_given_network_stays_unchanged():
    model = nn.Sequential(network(), nn.BatchNorm1d(DATA.classes), nn.Dropout())
    model[1].eval()  # As layers are that are not fine-tuned, in a network that is.
    modes = [module.training for module in model.modules()]
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    orchestrator.measure_model(model, TRAIN, TEST, ["margin", "hessian_trace"])
    assert [module.training for module in model.modules()] == modes
    assert all(torch.equal(state[name], tensor) for name, tensor in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_a_failing_measure_is_a_row():
    table = orchestrator.measure_model(
        network(), TRAIN, TEST, ["margin"], loss=lambda logits, labels: logits.sum()
    )
    assert set(table["status"]) <= {"ok", "error"}


@pytest.mark.parametrize(
    ("wrong", "error", "text"),
    [
        ({"measures": ["margn"]}, MeasureError, "margin"),
        ({"measures": [{"margin": {"normalisations": []}}]}, MeasureError, "normalisations"),
        ({"measures": []}, MeasureError, "no measure"),
        ({"train": (TRAIN[0], TRAIN[1].double() + 0.5)}, DataError, "digitize"),
        ({"train": (TRAIN[0][:3], TRAIN[1])}, DataError, "3 inputs"),
        ({"train": TRAIN[0]}, DataError, "pair of inputs and labels"),
        ({"test": (TEST[0], TEST[1] + 100)}, DataError, "classes"),
        ({"model": nn.Linear(1, 2)}, MeasureError, "Linear"),
    ],
)
def test_wrong_arguments_are_refused_with_a_reason(wrong, error, text):
    given = {"model": network(), "train": TRAIN, "test": TEST, "measures": ["margin"], **wrong}
    with pytest.raises(error) as caught:
        orchestrator.measure_model(**given)
    assert text in str(caught.value)
