import pytest
import torch
from torch import nn

from orchestrator.errors import ModelError
from orchestrator.training.flat_parameters import FlatParameters, trainable_parameters
from tests.training.cases import Peculiar


class Tied(Peculiar):
    """Two layers with one weight, besides all the rest."""

    def __init__(self, inputs, classes):
        super().__init__(inputs, classes)
        self.tied = nn.Linear(inputs, inputs)
        self.tied.weight = self.first.weight

    def forward(self, inputs):
        return super().forward(self.tied(inputs))


def test_parameters_keep_their_values_and_become_views():
    model = nn.Sequential(nn.Linear(3, 5), nn.Linear(5, 2))
    before = [parameter.detach().clone() for parameter in model.parameters()]
    flat = FlatParameters(model)
    for parameter, value in zip(model.parameters(), before, strict=True):
        assert torch.equal(parameter, value)
        assert parameter.untyped_storage().data_ptr() == flat.values.untyped_storage().data_ptr()
        assert parameter.data_ptr() % 64 == flat.values.data_ptr() % 64
    with torch.no_grad():
        flat.values.zero_()
    assert all(bool((parameter == 0).all()) for parameter in model.parameters())


def test_gradients_equal_those_of_a_plain_network():
    torch.manual_seed(0)
    flat_model, plain = Tied(4, 3).eval(), Tied(4, 3).eval()
    plain.load_state_dict(flat_model.state_dict())
    flat = FlatParameters(flat_model)
    inputs = torch.randn(7, 4)
    for _ in range(2):  # What the first pass left must be gone in the second.
        flat.zero_gradients()
        flat_model(inputs).square().sum().backward()
    plain(inputs).square().sum().backward()
    reference = dict(plain.named_parameters())
    for name, parameter in flat_model.named_parameters():
        if name == "unused":
            assert torch.equal(parameter.grad, torch.zeros(3))
        elif name == "fixed":
            assert parameter.grad is None
        else:
            assert torch.equal(parameter.grad, reference[name].grad)
    assert flat_model.tied.weight is flat_model.first.weight
    squares = sum(float(p.grad.square().sum()) for p in plain.parameters() if p.grad is not None)
    assert float(flat.gradients.square().sum()) == pytest.approx(squares)  # Tied ones once.


def test_parameters_that_are_not_trained_are_left_out():
    model = nn.Linear(20, 1)
    model.weight.requires_grad_(False)
    assert FlatParameters(model).values.numel() == 16


def test_a_network_without_trainable_parameters_is_refused():
    with pytest.raises(ModelError, match="ReLU has no trainable parameters"):
        trainable_parameters(nn.ReLU())


def test_parameters_of_mixed_types_are_refused():
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2).double())
    with pytest.raises(ModelError, match=r"float32.*float64"):
        FlatParameters(model)
