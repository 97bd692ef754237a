import math

import pytest
import torch
from torch import nn

from orchestrator.study.training_options import CrossEntropyOptions
from orchestrator.training import evaluation
from orchestrator.training.evaluation import evaluate
from orchestrator.training.losses import build_loss

LOSS = build_loss(CrossEntropyOptions())


def test_loss_and_error_equal_those_worked_out_by_hand():
    logits = torch.tensor([[1.0, 0.0], [0.0, 2.0], [3.0, 0.0]])
    labels = torch.tensor([0, 1, 1])
    found = evaluate(nn.Identity(), logits, labels, LOSS)
    softplus = [math.log1p(math.exp(-m)) for m in (1.0, 2.0, -3.0)]
    assert found.loss == pytest.approx(sum(softplus) / 3, rel=1e-14)
    assert found.error == 1 / 3


def test_every_example_has_equal_weight_for_any_pass_size(monkeypatch):
    torch.manual_seed(0)
    logits, labels = torch.randn(70, 3), torch.randint(0, 3, (70,))
    whole = evaluate(nn.Identity(), logits, labels, LOSS)
    monkeypatch.setattr(evaluation, "EXAMPLES_PER_PASS", 64)
    split = evaluate(nn.Identity(), logits, labels, LOSS)
    assert split.loss == pytest.approx(whole.loss, rel=1e-15)
    assert split.error == whole.error


@pytest.mark.parametrize("margin", [5.0, 17.0, 25.0, 36.0])
def test_small_losses_are_not_rounded_to_zero(margin):
    found = evaluate(nn.Identity(), torch.tensor([[margin, 0.0]]), torch.tensor([0]), LOSS)
    # The subtraction in log-softmax is good to an absolute 1e-15 or so in float64.
    assert found.loss == pytest.approx(math.log1p(math.exp(-margin)), abs=8e-15)
    assert found.loss > 0


def test_evaluation_changes_neither_buffers_nor_gradients():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Dropout(0.5), nn.Linear(6, 3))
    inputs, labels = torch.randn(20, 4), torch.randint(0, 3, (20,))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    first = evaluate(model, inputs, labels, LOSS)
    assert evaluate(model, inputs, labels, LOSS) == first
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_misaligned_memory_gives_the_same_bits():
    torch.manual_seed(0)
    model = nn.Linear(37, 3)
    aligned, labels = torch.randn(50, 37), torch.randint(0, 3, (50,))
    memory = torch.empty(50 * 37 + 1)
    misaligned = memory[1:].view(50, 37).copy_(aligned)
    assert misaligned.data_ptr() % 64 != 0
    assert evaluate(model, misaligned, labels, LOSS) == evaluate(model, aligned, labels, LOSS)


def test_a_loss_of_nan_logits_is_nan():
    found = evaluate(nn.Identity(), torch.full((2, 3), math.nan), torch.tensor([0, 1]), LOSS)
    assert math.isnan(found.loss)
