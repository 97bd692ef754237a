"""A context refuses outputs and labels for which its formulas mean nothing."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from orchestrator.errors import MeasureError
from orchestrator.measures import MeasureContext
from tests.measures.cases import CROSS_ENTROPY, random_dataset
from tests.measures.trust.networks import Made


@pytest.mark.parametrize(
    ("outputs", "classes", "message"),
    [
        (1, 1, "the data have 1 class, expected at least 2"),
        (1, 2, "returns 1 logits per example, expected 2"),
        (2, 3, "returns 2 logits per example, expected 3"),
        (4, 3, "returns 4 logits per example, expected 3"),
    ],
)
def test_networks_without_one_logit_per_class_are_refused(outputs, classes, message):
    with pytest.raises(MeasureError, match=message):
        MeasureContext(nn.Linear(5, outputs), random_dataset((5,), 8, classes), CROSS_ENTROPY)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (torch.tensor([0, 1, 2, 3]), "from 0 to 3, expected 0 to 2"),
        (torch.tensor([0, -1, 2, 1]), "from -1 to 2, expected 0 to 2"),
        (torch.tensor([0.0, 1.0, 2.0, 1.0]), "torch.float32"),
    ],
)
def test_labels_that_are_not_classes_are_refused(labels, message):
    data = random_dataset((5,), 4, 3)
    with pytest.raises(MeasureError, match=message):
        MeasureContext(nn.Linear(5, 3), replace(data, train_y=labels), CROSS_ENTROPY)


def test_integer_logits_are_refused():
    model = Made(lambda s, x: s.a(x).long(), a=nn.Linear(5, 3))
    with pytest.raises(MeasureError, match=r"the logits are torch.int64, expected floating"):
        MeasureContext(model, random_dataset((5,), 8, 3), CROSS_ENTROPY)


def test_a_network_that_raises_may_still_have_norms():
    model = Made(lambda s, x: s.a(x.float()), a=nn.Linear(5, 3))
    MeasureContext(model, random_dataset((5,), 8, 3), CROSS_ENTROPY)
