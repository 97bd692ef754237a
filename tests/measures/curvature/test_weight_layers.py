import pytest
import torch
from torch import nn

from orchestrator.measures.context import MeasureContext
from orchestrator.measures.curvature.weight_layers import weight_layers, weight_matrices
from tests.measures.cases import CROSS_ENTROPY, Unused, case, random_dataset


def names(context):
    return [layer.name for layer in weight_layers(context)]


def test_layers_are_in_the_order_of_their_calls():
    class Backwards(nn.Module):
        def __init__(self):
            super().__init__()
            self.last = nn.Linear(4, 3)
            self.first = nn.Linear(5, 4)

        def forward(self, x):
            return self.last(self.first(x))

    context = MeasureContext(Backwards(), random_dataset((5,), 4, 3), CROSS_ENTROPY)
    assert names(context) == ["first.weight", "last.weight"]
    assert names(case("cnn").context()) == ["0.weight", "3.weight", "6.weight"]


def test_unused_and_frozen_layers_are_left_out():
    assert names(case("unused_parameter").context()) == ["first.weight", "head.weight"]
    model = Unused()
    model.first.weight.requires_grad_(False)
    assert names(MeasureContext(model, random_dataset((5,), 4, 3), CROSS_ENTROPY)) == [
        "head.weight"
    ]


def test_a_weight_shared_by_two_layers_counts_for_each():
    assert names(case("tied").context()) == ["first.weight", "first.weight", "head.weight"]


@pytest.mark.parametrize("groups", [1, 2])
def test_rows_of_weight_matrices_are_outputs(groups):
    layer = nn.Conv2d(4, 6, 3, groups=groups)
    matrices = weight_matrices(layer)
    assert matrices.shape == (groups, 6 // groups, 4 // groups * 9)
    torch.testing.assert_close(matrices.flatten(0, 1), layer.weight.flatten(1))
    assert not matrices.requires_grad
    assert weight_matrices(nn.Linear(5, 2)).shape == (1, 2, 5)
