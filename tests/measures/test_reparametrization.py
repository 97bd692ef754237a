"""The same function with other weights."""

import pytest
import torch
from torch import nn

from orchestrator.measures.reparametrization import permuted, rescaled, with_scaled_logits
from tests.measures.cases import CASES, case, cnn, mlp, randomize_batch_norm

# Hidden layers whose units can be rescaled and permuted with the function unchanged.
HIDDEN = {
    "linear": (0, 0),
    "mlp": (2, 2),
    "cnn": (2, 2),
    "residual": (1, 1),
    "residual_batch_norm": (1, 1),
    "mlp_batch_norm": (1, 1),
    "unused_parameter": (1, 1),
    "tanh": (0, 1),
    "gelu": (0, 1),
    "tied": (0, 0),
    # Scale and shift come after the statistics; units are only free within their group.
    "group_norm": (1, 0),
}


def logits(model, x):
    with torch.no_grad():
        return model.to(torch.float64).eval()(x.to(torch.float64))


@pytest.mark.parametrize("name", HIDDEN)
def test_the_weights_change_but_not_the_function(name):
    subject, x = case(name), case(name).dataset().train_x
    before = logits(subject.model(), x)
    for change, expected in zip((rescaled, permuted), HIDDEN[name], strict=True):
        model, layers = change(subject.model(), x, 3)
        assert layers == expected
        torch.testing.assert_close(logits(model, x), before, rtol=0, atol=1e-12)
        moved = [
            not torch.equal(a, b.to(torch.float64))
            for a, b in zip(model.parameters(), subject.model().parameters(), strict=True)
        ]
        assert any(moved) == (expected > 0)


@pytest.mark.parametrize("subject", CASES, ids=lambda case: case.name)
def test_no_test_case_changes_its_function(subject):
    x = subject.dataset().train_x
    before = logits(subject.model(), x)
    for change in (rescaled, permuted):
        model, _ = change(subject.model(), x, 2)
        scale = float(before.abs().max())
        torch.testing.assert_close(logits(model, x), before, rtol=0, atol=1e-9 * scale)


def test_rescaling_applies_the_factor_layer_by_layer():
    model = mlp(5, 6, 4, 3)
    changed, _ = rescaled(model, torch.randn(7, 5), 3.0)
    ratios = [
        (b / a.to(torch.float64)).mean().item()
        for a, b in zip(model.parameters(), changed.parameters(), strict=True)
    ]
    # weights 1, biases 1, weights 2 (divided and multiplied), biases 2, weights 3, biases 3;
    # the biases of the second layer see activations of the old scale again.
    assert ratios == pytest.approx([3, 3, 1, 3, 1 / 3, 1])


def test_a_unit_before_a_flattening_is_permuted_with_all_its_pixels():
    x = torch.randn(4, 1, 6, 6)
    _, layers = permuted(cnn(), x, 5)
    assert layers == 2


def test_batch_statistics_are_permuted_with_their_units():
    layers = [nn.Conv2d(1, 5, 3), nn.BatchNorm2d(5), nn.ReLU(), nn.Flatten(), nn.Linear(80, 2)]
    model = randomize_batch_norm(nn.Sequential(*layers))
    changed, found = permuted(model, torch.randn(4, 1, 6, 6), 1)
    assert found == 1
    before, after = model[1].running_mean, changed[1].running_mean
    assert sorted(before.tolist()) == pytest.approx(sorted(after.tolist()))
    assert before.tolist() != pytest.approx(after.tolist())


@pytest.mark.parametrize("name", ["linear", "mlp", "cnn", "residual_batch_norm", "tanh"])
def test_logits_are_scaled_by_the_factor(name):
    subject, x = case(name), case(name).dataset().train_x
    model = with_scaled_logits(subject.model(), x, 2.0)
    torch.testing.assert_close(logits(model, x), 2 * logits(subject.model(), x))


def test_bounded_logits_cannot_be_scaled():
    model = nn.Sequential(nn.Linear(5, 3), nn.Softmax(1))
    assert with_scaled_logits(model, torch.randn(6, 5), 2.0) is None


def test_the_callers_network_stays_unchanged():
    model, x = mlp(5, 6, 3), torch.randn(6, 5)
    before = [parameter.clone() for parameter in model.parameters()]
    rescaled(model, x, 3.0), permuted(model, x), with_scaled_logits(model, x, 2.0)
    assert model.training
    assert all(map(torch.equal, before, model.parameters()))
