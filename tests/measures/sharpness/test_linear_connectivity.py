from __future__ import annotations

from math import isnan

import pytest
import torch

from orchestrator.errors import MeasureError
from orchestrator.measures import linear_connectivity
from orchestrator.measures.context import MeasureContext
from orchestrator.measures.reparametrization import permuted
from orchestrator.measures.sharpness.linear_connectivity import barrier
from tests.measures.cases import CASES, Case, case
from tests.measures.quadratic import quadratic_context
from tests.measures.sharpness.accurate import trained_context

BARRIERS = (
    "train_loss_barrier",
    "train_error_barrier",
    "test_loss_barrier",
    "test_error_barrier",
)


@pytest.mark.parametrize("recompute", [False, True])
@pytest.mark.parametrize("subject", CASES, ids=lambda case: case.name)
def test_the_same_network_has_no_barrier_and_stays_unchanged(
    subject: Case, recompute: bool
) -> None:
    context = subject.context()
    before = {name: tensor.clone() for name, tensor in context.model.state_dict().items()}
    found = linear_connectivity(context, before, 4, recompute)
    assert [getattr(found, name) for name in BARRIERS] == [0, 0, 0, 0]
    assert found.alphas == pytest.approx((0, 1 / 3, 2 / 3, 1))
    if not recompute:
        assert found.test_losses == pytest.approx([context.loss_value("test")] * 4)
    for name, tensor in context.model.state_dict().items():
        assert torch.equal(tensor, before[name]), name


@pytest.mark.parametrize("name", ["mlp", "cnn", "tied", "residual_batch_norm"])
def test_each_point_is_the_network_with_interpolated_weights(name: str) -> None:
    subject = case(name)
    other = subject.model(1).state_dict()
    found = linear_connectivity(subject.context(), other, points=5, recompute_batch_norm=False)
    for index, alpha in enumerate(found.alphas):
        model = subject.model().double()
        model.load_state_dict(
            {key: (1 - alpha) * own + alpha * other[key] for key, own in model.state_dict().items()}
        )
        context = MeasureContext(model, subject.dataset(), subject.loss)
        wrong = context.logits("train").argmax(1) != context.data.labels("train")
        assert found.train_losses[index] == pytest.approx(context.loss_value("train"))
        assert found.test_losses[index] == pytest.approx(context.loss_value("test"))
        assert found.train_errors[index] == wrong.double().mean().item()


def test_a_convex_loss_has_a_negative_barrier_in_closed_form() -> None:
    """At the middle −⅛ dᵀHd, and −½ α (1 − α) dᵀHd in general: highest next to an end."""
    context, hessian = quadratic_context()
    d = context.probe(0, "gaussian")
    other = {"weight": (context.parameter_vector() + d).view(2, 4)}
    square = (d @ hessian @ d).item()
    middle = linear_connectivity(context, other, points=3)
    assert middle.train_loss_barrier == pytest.approx(-square / 8)
    more = linear_connectivity(context, other, points=11)
    assert more.train_loss_barrier == pytest.approx(-square / 2 * 0.1 * 0.9)


def test_a_permuted_copy_has_equal_ends_and_a_barrier() -> None:
    context = trained_context("mlp")
    inputs, _ = context.data("train")
    other, layers = permuted(context.model, inputs)
    assert layers == 2
    found = linear_connectivity(context, other.state_dict())
    for values in (found.train_losses, found.train_errors, found.test_losses, found.test_errors):
        assert values[-1] == pytest.approx(values[0], abs=1e-12)
    assert found.train_loss_barrier > 0.1
    assert found.train_error_barrier > 0.05
    back = linear_connectivity(
        MeasureContext(other, case("mlp").dataset(), context.loss), context.model.state_dict()
    )
    forth = linear_connectivity(
        MeasureContext(context.model, case("mlp").dataset(), context.loss), other.state_dict()
    )
    assert back.train_losses == pytest.approx(forth.train_losses[::-1])


@pytest.mark.parametrize("recompute", [False, True])
def test_the_size_of_passes_does_not_change_barriers_with_batch_norm(recompute: bool) -> None:
    subject = case("residual_batch_norm")
    other = subject.model(1).state_dict()
    whole, divided = (
        linear_connectivity(subject.context(examples_per_pass=size), other, 5, recompute)
        for size in (1000, 4)
    )
    assert whole.test_losses == pytest.approx(divided.test_losses)
    assert whole.train_errors == divided.train_errors


def test_recomputed_statistics_undo_a_change_of_scale_before_them() -> None:
    """Weights before a batch normalization times 3: the same function, once it is told."""
    subject = case("mlp_batch_norm")
    other = subject.model().state_dict()
    other["0.weight"] = 3 * other["0.weight"]
    other["0.bias"] = 3 * other["0.bias"]
    context = subject.context()
    context.model[1].eps = 0.0
    found = linear_connectivity(context, other)
    assert found.train_losses == pytest.approx([found.train_losses[0]] * 11)
    stale = linear_connectivity(context, other, recompute_batch_norm=False)
    assert stale.train_losses != pytest.approx([stale.train_losses[0]] * 11, rel=0.01)


def test_barriers_are_relative_to_the_line_between_the_ends() -> None:
    assert barrier((0, 0.5, 1), (1.0, 4.0, 3.0)) == 2
    assert barrier((0, 0.25, 0.5, 1), (0.0, 2.0, 2.0, 4.0)) == 1
    assert barrier((0, 0.5, 1), (1.0, 1.0, 3.0)) == -1
    assert isnan(barrier((0, 0.25, 0.5, 1), (0.0, 2.0, float("nan"), 4.0)))
    assert isnan(barrier((0, 0.5, 1), (float("nan"), 1.0, 1.0)))


def test_buffers_outside_the_state_are_those_of_the_first_network() -> None:
    model = case("mlp").model()
    model.register_buffer("scratch", torch.ones(2), persistent=False)
    context = MeasureContext(model, case("mlp").dataset(), case("mlp").loss)
    found = linear_connectivity(context, case("mlp").model(1).state_dict(), points=3)
    assert found.train_losses[0] == pytest.approx(context.loss_value("train"))


def test_too_few_points_and_other_networks_are_refused() -> None:
    context = case("mlp").context()
    state = context.model.state_dict()
    with pytest.raises(MeasureError, match="points is 2, expected at least 3"):
        linear_connectivity(context, state, points=2)
    with pytest.raises(MeasureError, match=r"has nothing for '2\.weight'"):
        linear_connectivity(context, {key: v for key, v in state.items() if key != "2.weight"})
    with pytest.raises(MeasureError, match=r"has \(1,\) for '4\.bias'"):
        linear_connectivity(context, {**state, "4.bias": torch.zeros(1)})
