"""Rules of layers give what double backward passes over the whole network give."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from orchestrator.errors import MeasureError, OrchestratorError
from orchestrator.measures.context import MeasureContext
from orchestrator.measures.curvature.gauss_newton import gauss_newton
from orchestrator.measures.layer_rules import network_pass
from orchestrator.measures.layer_rules.layer_call import UnknownLayerError
from orchestrator.measures.layer_rules.layer_network import LayerNetwork
from orchestrator.measures.layer_rules.network_pass import NetworkPass
from orchestrator.study.training_options import CrossEntropyOptions, MseOptions
from orchestrator.training import build_loss
from tests.measures.cases import Case, SquaredHinge, case, mlp
from tests.measures.curvature.test_gauss_newton import dense_gauss_newton
from tests.measures.grammar import grammar_case
from tests.measures.layer_rules.networks import KNOWN, UNKNOWN
from tests.measures.layer_rules.random_stacks import random_stack
from tests.measures.references import dense_hessian
from tests.measures.test_grammar import context_of

LOSSES = {
    "smoothed": build_loss(CrossEntropyOptions(label_smoothing=0.2)),
    "squared": build_loss(MseOptions(name="mse")),
    "hinge": SquaredHinge(),
}
GRAMMAR_SLICE, GRAMMAR = 60, 4000
STACKS_SLICE, STACKS = 60, 4000


def without_rules(context: MeasureContext) -> MeasureContext:
    assert context.shared("layer_network", lambda: None) is None
    return context


def results(context: MeasureContext, k: int) -> list[Tensor]:
    """Gradient, and products of both matrices with the same k random vectors."""
    V = torch.stack([context.probe(index, "gaussian") for index in range(k)], dim=1)
    return [context.gradient("train"), context.hessian @ V, gauss_newton(context) @ V]


def assert_agreement(found: list[Tensor], expected: list[Tensor], tolerance: float = 1e-10) -> None:
    for one, other in zip(found, expected, strict=True):
        size = other.abs().max().item()
        torch.testing.assert_close(one, other, rtol=0, atol=tolerance * size)


@pytest.mark.parametrize("subject", KNOWN, ids=lambda case: case.name)
@pytest.mark.filterwarnings("ignore:Using padding=.same.:UserWarning")
def test_rules_agree_with_double_backward_passes(subject: Case) -> None:
    context = subject.context()
    assert context.layer_network() is not None
    assert all(isinstance(one, NetworkPass) for one in context.training_passes())
    expected = results(without_rules(subject.context()), 3)
    assert_agreement(results(context, 3), expected)
    assert_agreement(
        results(subject.context(), 1), [t[..., :1] if t.ndim > 1 else t for t in expected]
    )


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("name", ["mlp", "tanh", "cnn", "tied", "group_norm"])
def test_rules_hold_for_every_loss(name: str, loss: str) -> None:
    subject = replace(case(name), loss=LOSSES[loss])
    context = subject.context()
    assert context.layer_network() is not None
    assert_agreement(results(context, 3), results(without_rules(subject.context()), 3))


@pytest.mark.parametrize("name", ["mlp", "tanh", "cnn", "residual_batch_norm", "tied", "gelu"])
def test_rules_agree_with_dense_matrices(name: str) -> None:
    context = case(name).context()
    assert context.layer_network() is not None
    identity = torch.eye(context.n_parameters, dtype=torch.float64)
    torch.testing.assert_close(context.hessian @ identity, dense_hessian(context))
    torch.testing.assert_close(gauss_newton(context) @ identity, dense_gauss_newton(context))


@pytest.mark.parametrize("subject", UNKNOWN, ids=lambda case: case.name)
def test_networks_that_are_not_known_take_the_general_path_to_the_bit(subject: Case) -> None:
    context = subject.context()
    assert context.layer_network() is None
    expected = results(without_rules(subject.context()), 3)
    for one, other in zip(results(context, 3), expected, strict=True):
        assert torch.equal(one, other)


def test_hooks_of_parameters_are_refused() -> None:
    """Contexts measure copies, which torch makes without these hooks."""
    model = mlp(5, 4, 3)
    model[0].weight.register_hook(lambda gradient: 2 * gradient)
    with pytest.raises(UnknownLayerError, match=r"parameter '0.weight' has hooks"):
        LayerNetwork(model, dict(model.named_parameters()))


@pytest.mark.parametrize("matrix", ["hessian", "gauss_newton"])
def test_products_are_refused_after_weights_have_changed(matrix: str) -> None:
    context = case("mlp").context()
    A = context.hessian if matrix == "hessian" else gauss_newton(context)
    A @ context.probe(0)
    with torch.no_grad():
        context.model[0].weight.mul_(2)
    with pytest.raises(MeasureError, match="changed since"):
        A @ context.probe(0)


def assert_random_networks_agree(seeds: range) -> None:
    """Require agreement wherever there are rules: few of these odd networks have some."""
    known, complaints = 0, []
    for seed in seeds:
        drawn = grammar_case(seed)
        try:
            context = context_of(drawn)
            if context.layer_network() is None:
                continue
            expected = results(without_rules(context_of(drawn)), 3)
        except OrchestratorError:
            continue
        known += 1
        try:
            assert_agreement(results(context, 3), expected)
        except AssertionError as error:
            complaints.append(f"{drawn}: {error}")
    assert complaints == []
    assert known > 0


def assert_random_stacks_agree(seeds: range) -> None:
    for seed in seeds:
        subject = random_stack(seed)
        context = subject.context()
        assert context.layer_network() is not None, subject.name
        assert_agreement(results(context, 3), results(without_rules(subject.context()), 3))


def test_random_stacks_of_known_layers_have_rules_that_agree() -> None:
    assert_random_stacks_agree(range(STACKS_SLICE))


@pytest.mark.full
def test_thousands_of_random_stacks_have_rules_that_agree() -> None:
    assert_random_stacks_agree(range(STACKS))


@pytest.mark.filterwarnings("ignore:There is a performance drop:UserWarning")
def test_no_random_network_has_a_wrong_product() -> None:
    assert_random_networks_agree(range(GRAMMAR_SLICE))


@pytest.mark.full
@pytest.mark.filterwarnings("ignore:There is a performance drop:UserWarning")
def test_no_random_network_of_thousands_has_a_wrong_product() -> None:
    assert_random_networks_agree(range(GRAMMAR))


@pytest.mark.parametrize("name", ["cnn", "tanh", "tied"])
def test_the_division_into_passes_and_blocks_changes_rounding_only(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = results(case(name).context(), 5)
    assert_agreement(results(case(name).context(examples_per_pass=5), 5), expected)
    monkeypatch.setattr(network_pass, "BLOCK_BYTES", 1)
    assert_agreement(results(case(name).context(), 5), expected)


def test_dead_infinite_activations_count_as_the_network_counts_them() -> None:
    model = mlp(5, 6, 3)
    with torch.no_grad():
        model[0].bias[0] = -torch.inf
    subject = Case("infinite", lambda: model)
    found, expected = (results(c, 2) for c in (subject.context(), without_rules(subject.context())))
    for one, other in zip(found, expected, strict=True):
        assert bool(other.isfinite().all())
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_networks_without_finite_values_give_what_they_gave(value: float) -> None:
    model = mlp(5, 6, 3, activation=nn.Tanh)
    with torch.no_grad():
        model[2].weight[0, 0] = value
    subject = Case("not finite", lambda: model)
    found, expected = (results(c, 2) for c in (subject.context(), without_rules(subject.context())))
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, equal_nan=True)


@pytest.mark.parametrize("method", ["hessian", "gauss_newton"])
def test_products_that_are_not_finite_by_rules_are_left_to_the_network(
    method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rules multiply by zeros what a network leaves out."""

    def overflow(_: NetworkPass, rows: Tensor) -> Tensor:
        return rows * torch.inf

    context = case("mlp").context()
    assert context.layer_network() is not None
    monkeypatch.setattr(NetworkPass, method, overflow)
    place = ["gradient", "hessian", "gauss_newton"].index(method)
    found, expected = (
        results(c, 2)[place] for c in (context, without_rules(case("mlp").context()))
    )
    assert torch.equal(found, expected)


def test_float32_uses_rules_too() -> None:
    context = case("cnn").context()
    operator = context.hessian_in(torch.float32)
    V = torch.stack([context.probe(index) for index in range(3)], dim=1)
    torch.testing.assert_close(
        (operator @ V.float()).double(), context.hessian @ V, rtol=1e-4, atol=1e-5
    )


def test_kept_passes_are_dropped_with_the_shared_results(monkeypatch: pytest.MonkeyPatch) -> None:
    context = Case("many", lambda: mlp(5, 6, 3), examples=40).context(examples_per_pass=8)
    product = context.hessian @ context.probe(0)
    first = list(context.training_passes())
    assert all(one is other for one, other in zip(first, context.training_passes(), strict=True))
    assert context.shrink_passes()
    again = list(context.training_passes())
    assert len(again) > len(first)
    assert not any(
        one is other for one, other in zip(again, context.training_passes(), strict=True)
    )
    torch.testing.assert_close(context.hessian @ context.probe(0), product)
