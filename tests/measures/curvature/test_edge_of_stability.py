import math

import pytest
import torch
from torch import nn

from orchestrator.measures.context import MeasureContext
from orchestrator.measures.curvature.edge_of_stability import EdgeOfStability, stability_threshold
from orchestrator.measures.curvature.hessian_spectrum import HessianSpectrum
from orchestrator.study.measure_options.curvature import (
    EdgeOfStabilityOptions,
    HessianSpectrumOptions,
)
from orchestrator.training import UpdateRule
from tests.measures.cases import CROSS_ENTROPY, case, mlp, random_dataset
from tests.measures.quadratic import QuadraticLoss, quadratic_context
from tests.measures.references import dense_hessian

RULES = (
    UpdateRule(0.1),
    UpdateRule(0.1, 0.9),
    UpdateRule(0.1, 0.5, nesterov=True),
    UpdateRule(0.02, 0.95, nesterov=True),
    UpdateRule(0.1, 0.9, weight_decay=3.0),
)


def edge_of(context, **options):
    options = EdgeOfStabilityOptions(name="edge_of_stability", **options)
    return list(EdgeOfStability(options).compute(context))


def grows(rule, curvature, steps=3000):
    """Whether PyTorch's own SGD runs away on ½ curvature · w²."""
    weight = nn.Parameter(torch.ones(1, dtype=torch.float64))
    optimizer = torch.optim.SGD(
        [weight],
        lr=rule.learning_rate,
        momentum=rule.momentum,
        nesterov=rule.nesterov,
        weight_decay=rule.weight_decay,
    )
    for _ in range(steps):
        weight.grad = curvature * weight.detach()
        optimizer.step()
    return not abs(weight.item()) < 1


@pytest.mark.parametrize("rule", RULES)
def test_steps_grow_only_beyond_the_stability_threshold(rule):
    threshold = stability_threshold(rule) - rule.weight_decay
    assert not grows(rule, 0.99 * threshold)
    assert grows(rule, 1.01 * threshold)


@pytest.mark.parametrize("relative", [0.97, 1.03])
def test_a_value_of_1_is_the_edge_of_full_batch_descent(relative):
    """Steps on ½ θᵀHθ run away exactly if the value is above 1."""
    context, hessian = quadratic_context()
    momentum, decay = 0.6, 0.1
    largest = torch.linalg.eigvalsh(hessian)[-1].item()
    learning_rate = relative * (2 + 2 * momentum) / (largest + decay)
    context.update_rule = UpdateRule(learning_rate, momentum, weight_decay=decay)
    assert edge_of(context)[0].value == pytest.approx(relative, rel=1e-6)
    theta = nn.Parameter(context.parameter_vector())
    optimizer = torch.optim.SGD([theta], learning_rate, momentum, weight_decay=decay)
    before = torch.linalg.vector_norm(theta).item()
    for _ in range(1000):
        theta.grad = hessian @ theta.detach()
        optimizer.step()
    assert (torch.linalg.vector_norm(theta).item() > before) == (relative > 1)


def test_edge_of_stability_equals_the_dense_eigenvalue_over_the_threshold():
    context = case("cnn").context(update_rule=UpdateRule(0.05, 0.9))
    edge, threshold = edge_of(context)
    largest = torch.linalg.eigvalsh(dense_hessian(context))[-1].item()
    assert threshold.value == pytest.approx(3.8 / 0.05)
    assert edge.value == pytest.approx(largest * 0.05 / 3.8, rel=1e-3)
    assert (edge.measure, threshold.measure) == ("edge_of_stability", "stability_threshold")
    assert (edge.split, threshold.split) == ("train", None)


def test_edge_of_stability_reuses_the_lanczos_run_of_the_spectrum():
    context = case("mlp").context(update_rule=UpdateRule(0.1))
    first, *_ = HessianSpectrum(HessianSpectrumOptions(name="hessian_spectrum")).compute(context)
    context.hessian_vector_product = None  # no further product is asked for
    edge, _ = edge_of(context)
    assert edge.value == first.value / 20


def test_scaling_the_loss_equals_scaling_the_learning_rate():
    class Scaled:
        def per_example(self, logits, labels):
            return 8 * QuadraticLoss().per_example(logits, labels)

    model, data = nn.Linear(4, 2), random_dataset((4,), 12, 2)
    one = MeasureContext(model, data, QuadraticLoss(), update_rule=UpdateRule(0.8, 0.5))
    other = MeasureContext(model, data, Scaled(), update_rule=UpdateRule(0.1, 0.5))
    assert edge_of(one)[0].value == pytest.approx(edge_of(other)[0].value, rel=1e-9)


def test_an_unconverged_eigenvalue_is_marked_with_a_reason():
    context = MeasureContext(
        mlp(20, 20, 5), random_dataset((20,), 60, 5), CROSS_ENTROPY, update_rule=UpdateRule(0.1)
    )
    edge, threshold = edge_of(context, iterations=5, tolerance=1e-9)
    assert edge.variant == "unconverged"
    assert edge.reason.startswith("lower bound: the eigenvalue may be larger by up to ")
    assert (threshold.variant, threshold.reason) == ("", None)


def test_without_an_update_rule_both_values_are_unknown_and_free():
    context = case("mlp").context()
    context.hessian_vector_product = None
    for value in edge_of(context):
        assert math.isnan(value.value)
        assert value.reason.startswith("no update rule is known")


def test_a_learning_rate_of_zero_is_always_stable():
    edge, threshold = edge_of(case("mlp").context(update_rule=UpdateRule(0.0)))
    assert edge.value == 0
    assert (threshold.value, threshold.reason) == (math.inf, "the learning rate was 0")


def test_a_network_that_diverged_gives_a_reason():
    network = mlp(5, 4, 3)
    nn.init.constant_(network[0].bias, math.nan)
    context = MeasureContext(
        network, random_dataset((5,), 6, 3), CROSS_ENTROPY, update_rule=UpdateRule(0.1)
    )
    edge, threshold = edge_of(context)
    assert math.isnan(edge.value)
    assert "finite" in edge.reason
    assert threshold.value == 20
