"""Networks whose curvature is known, and changes of a network that must change nothing."""

from __future__ import annotations

from math import exp, isnan, log1p
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from orchestrator.data import Dataset
from orchestrator.measures import (
    MeasureContext,
    exact_ggn_trace,
    exact_trace,
    fisher_trace,
    measure_snapshot,
)
from orchestrator.measures.curvature.gauss_newton import gauss_newton
from orchestrator.measures.reparametrization import rescaled
from orchestrator.measures.symmetric_operator import SymmetricOperator
from tests.measures.cases import CROSS_ENTROPY, Case, case, mlp, random_dataset, regression_context
from tests.measures.requested import requests


def values_of(context: MeasureContext, *names: Any) -> dict[tuple[str, str, str | None], float]:
    """By measure, variant and split."""
    rows = measure_snapshot(context, requests(*names))
    return {
        (row["measure"], row["variant"], row["split"]): row["value"]
        for row in rows
        if "measure" in row
    }


def dense(A: SymmetricOperator) -> Tensor:
    """The matrix, from its products with unit vectors."""
    return A @ torch.eye(A.size, dtype=A.dtype)


class SquaredError:
    """(z − y)² of a single output."""

    def per_example(self, logits: Tensor, labels: Tensor) -> Tensor:
        return (logits[:, 0] - labels).square()


def test_linear_softmax_has_a_known_hessian() -> None:
    """H = 1/n Σ (diag p − ppᵀ) ⊗ xxᵀ: as many zeros as inputs, for what shifts all classes."""
    inputs, classes, n = 4, 3, 30
    data = random_dataset((inputs,), n, classes)
    context = MeasureContext(nn.Linear(inputs, classes, bias=False), data, CROSS_ENTROPY)
    x, p = data.train_x.double(), context.logits("train").softmax(1)
    expected = torch.zeros(inputs * classes, inputs * classes, dtype=torch.float64)
    for one, of_one in zip(x, p, strict=True):
        expected += torch.kron(of_one.diag() - of_one.outer(of_one), one.outer(one)) / n
    for found in (dense(context.hessian), dense(gauss_newton(context))):
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-15)
    eigenvalues = torch.linalg.eigvalsh(expected)
    assert (eigenvalues[:inputs].abs() < 1e-15).all()
    assert (eigenvalues[inputs:] > 1e-3).all()
    found = values_of(context, {"hessian_spectrum": {"top": 5}})
    assert found["hessian_eigenvalue_1", "", "train"] == pytest.approx(eigenvalues[-1].item())
    assert found["hessian_eigenvalue_min", "", "train"] == pytest.approx(0, abs=1e-14)
    trace = ((1 - p.square().sum(1)) * x.square().sum(1)).mean().item()
    for exact in (exact_trace(context), exact_ggn_trace(context), fisher_trace(context)):
        assert exact.total == pytest.approx(trace, rel=1e-12)


class Logistic(nn.Module):
    """Logits (wᵀx, 0): binary logistic regression."""

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.linear = nn.Linear(inputs, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        z: Tensor = self.linear(x)
        return torch.cat([z, torch.zeros_like(z)], 1)


def test_binary_logistic_regression_has_a_known_hessian() -> None:
    """H = 1/n Xᵀ diag(σ(1 − σ)) X."""
    data = random_dataset((4,), 20, 2)
    context = MeasureContext(Logistic(4), data, CROSS_ENTROPY)
    x, p = data.train_x.double(), context.logits("train").softmax(1)
    expected = x.T @ (p[:, :1] * p[:, 1:] * x) / len(x)
    torch.testing.assert_close(dense(context.hessian), expected, rtol=1e-12, atol=1e-15)
    assert exact_ggn_trace(context).total == pytest.approx(expected.trace().item(), rel=1e-12)


@pytest.mark.parametrize(("margin", "ratio"), [(1, 0.628), (5, 0.990), (10, 0.9999), (30, 1.0)])
def test_at_a_large_margin_the_trace_is_proportional_to_the_loss(
    margin: float, ratio: float
) -> None:
    """tr H / (ℓ ‖x‖²) = σ(γ) σ(−γ) / log(1 + e^−γ) → 1: why flatness tracks the margin."""
    x = torch.tensor([[3.0, 4.0]], dtype=torch.float64)
    model = Logistic(2).double()
    with torch.no_grad():
        model.linear.weight.copy_(margin * x / 25)
    data = Dataset("one", x, torch.tensor([0]), x, torch.tensor([0]), 2, "hash")
    context = MeasureContext(model, data, CROSS_ENTROPY)
    loss = log1p(exp(-margin))
    assert context.loss_value("train") == pytest.approx(loss, abs=1e-15)
    assert exact_ggn_trace(context).total / (25 * loss) == pytest.approx(ratio, abs=5e-4)


def test_least_squares_has_a_known_hessian() -> None:
    """H = 2/n XᵀX, whatever the weights and labels."""
    data = random_dataset((4,), 20, 3)
    context = regression_context(nn.Linear(4, 1, bias=False), data, SquaredError())
    x = data.train_x.double()
    torch.testing.assert_close(dense(context.hessian), 2 * x.T @ x / len(x), rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize(("a", "b"), [(1.0, 1.0), (2.0, 0.5), (4.0, 0.25), (2.0, 1.0), (0.5, 3.0)])
def test_a_two_layer_scalar_linear_network_has_a_known_trace(a: float, b: float) -> None:
    """Of mean (abx − cx)² off the minimum, too: the Hessian alone has s²(ab − c) beside it."""
    model = nn.Sequential(nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False))
    with torch.no_grad():
        model[0].weight.fill_(a)
        model[1].weight.fill_(b)
    x = torch.tensor([[1.0], [2.0], [-3.0]])
    data = Dataset("line", x, x[:, 0].long(), x, x[:, 0].long(), 1, "hash")  # c = 1
    context = regression_context(model, data, SquaredError())
    s = 2 * x.double().square().mean().item()
    G = s * torch.tensor([[b * b, a * b], [a * b, a * a]], dtype=torch.float64)
    rest = s * (a * b - 1) * torch.tensor([[0.0, 1.0], [1.0, 0.0]], dtype=torch.float64)
    torch.testing.assert_close(dense(gauss_newton(context)), G)
    torch.testing.assert_close(dense(context.hessian), G + rest)
    # Equal layers are the flattest way to write the same function.
    assert exact_trace(context).total == pytest.approx(s * (a * a + b * b), rel=1e-12)
    assert exact_trace(context).total >= 2 * s * abs(a * b) * (1 - 1e-12)


KEPT_UNDER_RESCALING = {
    *("margin_", "input_margin_", "relative_flatness", "path_norm", "fisher_rao_norm"),
    *("spectral_norm_product", "frobenius_norm_product", "stable_rank", "confidence_mean"),
}


def test_rescaling_a_relu_network_changes_only_values_that_depend_on_weights() -> None:
    """α = 3: blocks of the trace change by 1/9 and 9, what is of the function not at all."""
    model, data = mlp(5, 6, 3, bias=False), random_dataset((5,), 20, 3)
    other, layers = rescaled(model, data.train_x, 3.0)
    assert layers == 1
    asked: tuple[Any, ...] = (
        *("margin", "input_margin", "path_norm", "fisher_rao_norm", "norms", "stable_rank"),
        *("confidence", "hessian_spectrum", "sam_sharpness", "gradient_norm"),
        {"relative_flatness": {"layers": "all"}},
        {"hessian_trace": {"per_layer": True}},
    )
    before, after = (
        values_of(MeasureContext(network, data, CROSS_ENTROPY), *asked)
        for network in (model, other)
    )
    for key, value in before.items():
        if key[0].startswith(tuple(KEPT_UNDER_RESCALING)):
            assert after[key] == pytest.approx(value, rel=1e-9, nan_ok=True), key
    blocks = [("hessian_trace", f"{place}.weight", "train") for place in (0, 2)]
    assert after[blocks[0]] == pytest.approx(before[blocks[0]] / 9)
    assert after[blocks[1]] == pytest.approx(before[blocks[1]] * 9)
    changed = (
        *(("weight_norm", "", None), ("hessian_eigenvalue_1", "", "train")),
        *(("sam_sharpness", "rho=0.05", "train"), ("gradient_norm", "", "train")),
    )
    for key in changed:
        assert after[key] != pytest.approx(before[key], rel=0.05), key
    # Σ θ_i² H_ii, twice the adaptive average-case sharpness over ρ² for small ρ.
    weighted = [
        (context.parameter_vector().square() * dense(context.hessian).diagonal()).sum().item()
        for context in (MeasureContext(network, data, CROSS_ENTROPY) for network in (model, other))
    ]
    assert weighted[1] == pytest.approx(weighted[0], rel=1e-9)


@pytest.mark.parametrize("name", ["mlp", "tanh", pytest.param("cnn", marks=pytest.mark.slow)])
def test_adding_a_constant_to_all_logits_changes_nothing(name: str) -> None:
    """Of cross-entropy and of margins; what looks at the size of that bias is left out."""
    subject: Case = case(name)
    model = subject.model().double()
    asked = (
        *("margin", "hidden_margin", "input_margin", "confidence", "hessian_trace"),
        *("hessian_spectrum", "fisher", "ggn_trace", "gradient_norm", "sam_sharpness"),
        *("average_sharpness", "relative_flatness", "robustness", "local_lipschitz"),
    )
    found = []
    for shift in (0.0, 4.0):
        with torch.no_grad():
            *_, bias = model.parameters()
            bias.add_(shift)
        found.append(values_of(MeasureContext(model, subject.dataset(), CROSS_ENTROPY), *asked))
    assert len(found[0]) > 50
    for key, value in found[0].items():
        assert found[1][key] == pytest.approx(value, rel=1e-6, abs=1e-9, nan_ok=True), key
        assert isnan(value) == isnan(found[1][key])
