"""Loss, gradients and curvature of networks whose softmax is confident, against exact decimals."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal, localcontext
from functools import cache, partial
from math import inf
from sys import float_info
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call, jacrev
from torch.nn import functional as F

from orchestrator.measures import MeasureContext, measure_snapshot
from orchestrator.measures.precise_loss import PerExampleLoss
from orchestrator.training.losses.cross_entropy import cross_entropy
from tests.measures.cases import CROSS_ENTROPY, mlp, random_dataset
from tests.measures.requested import requests

MARGINS = (5.0, 20.0, 36.0, 60.0, 400.0, 700.0)
PROBES = 32


class OfTorch:
    """A user's own loss, by PyTorch's kernel."""

    def per_example(self, logits: Tensor, labels: Tensor) -> Tensor:
        return F.cross_entropy(logits, labels, reduction="none")


class ByLogSoftmax:
    def per_example(self, logits: Tensor, labels: Tensor) -> Tensor:
        return F.nll_loss(logits.log_softmax(-1), labels, reduction="none")


def decimals(logits: list[float], label: int) -> tuple[float, list[float], list[list[float]]]:
    """Loss, gradient and Hessian in the logits, each entry right to its last digit."""
    with localcontext() as context:
        context.prec = 1000
        exponentials = [(Decimal(z) - Decimal(max(logits))).exp() for z in logits]
        p = [e / sum(exponentials) for e in exponentials]
        gradient = [float(q - (c == label)) for c, q in enumerate(p)]
        hessian = [[float(a * ((i == j) - b)) for j, b in enumerate(p)] for i, a in enumerate(p)]
        return float(-p[label].ln()), gradient, hessian


@dataclass(frozen=True)
class Exact:
    """What the mean loss of a network is, with its derivatives in all parameters."""

    loss: float
    gradient: Tensor
    hessian: Tensor


def network(margin: float) -> nn.Module:
    """Its logits lie ``margin`` apart for the least certain example."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2)
        model = mlp(4, 5, 3, activation=nn.Tanh).double()
    x = random_dataset((4,), 6, 3).train_x.double()
    with torch.no_grad():
        first, second = model(x).topk(2, dim=1).values.unbind(1)
        scale = margin / (first - second).min()
        model[2].weight.mul_(scale)
        model[2].bias.mul_(scale)
    return model


def context_of(
    margin: float, *, right: bool = True, loss: PerExampleLoss = CROSS_ENTROPY
) -> MeasureContext:
    model, data = network(margin), random_dataset((4,), 6, 3)
    with torch.no_grad():
        data.train_y.copy_(model(data.train_x.double()).argmax(1))
    if not right:
        data.train_y[0] = (data.train_y[0] + 1) % 3
    return MeasureContext(model, data, loss, seed=1)


@cache
def exact(margin: float, right: bool = True) -> Exact:
    """From derivatives of the logits, in which nothing cancels, and decimals of the rest."""
    context = context_of(margin, right=right)
    (x, y), theta = next(context.batches("train")), context.parameter_vector()

    def logits(theta: Tensor) -> Tensor:
        values = dict(zip(context.parameters, context.unflatten(theta), strict=True))
        return functional_call(context.model, values, (x,))

    z, jacobian = logits(theta), jacrev(logits)(theta)
    curvature = jacrev(jacrev(logits))(theta)
    loss, gradient = 0.0, torch.zeros_like(theta)
    hessian = torch.outer(gradient, gradient)
    for i, label in enumerate(y.tolist()):
        own, slopes, bends = decimals(z[i].tolist(), label)
        # Relative to the likeliest class, whose entries are minus the sums of the others.
        others = [c for c in range(z.shape[1]) if c != z[i].argmax()]
        j = (jacobian[i] - jacobian[i, z[i].argmax()])[others]
        c = (curvature[i] - curvature[i, z[i].argmax()])[others]
        a = torch.tensor(bends, dtype=torch.float64)[others][:, others]
        g = torch.tensor(slopes, dtype=torch.float64)[others]
        loss += own / len(y)
        gradient = gradient + g @ j / len(y)
        hessian = hessian + (j.T @ a @ j + torch.einsum("k,kab->ab", g, c)) / len(y)
    return Exact(loss, gradient, hessian)


def close(found: Tensor, expected: Tensor, rtol: float = 1e-11) -> None:
    scale = expected.abs().max()
    assert scale > 0
    torch.testing.assert_close(found / scale, expected / scale, rtol=0, atol=rtol)


@pytest.mark.parametrize("right", [True, False], ids=["right", "one_wrong"])
@pytest.mark.parametrize("margin", MARGINS)
def test_loss_gradient_and_hessian_keep_their_digits(margin: float, right: bool) -> None:
    _keeps_its_digits(context_of(margin, right=right), exact(margin, right))


@pytest.mark.parametrize("loss", [OfTorch(), ByLogSoftmax()], ids=["cross_entropy", "log_softmax"])
def test_so_do_those_of_ones_own_loss(loss: PerExampleLoss) -> None:
    _keeps_its_digits(context_of(60.0, loss=loss), exact(60.0))


def _keeps_its_digits(context: MeasureContext, expected: Exact) -> None:
    assert context.loss_value("train") == pytest.approx(expected.loss, rel=1e-13, abs=0)
    close(context.gradient("train"), expected.gradient)
    columns = torch.eye(context.n_parameters, dtype=torch.float64)
    close(torch.stack([context.hessian_vector_product(v) for v in columns]), expected.hessian)


def rows(context: MeasureContext, *names: object) -> dict[tuple[str, str], dict[str, Any]]:
    found = measure_snapshot(context, requests(*names))
    return {(row["measure"], row["split"]): row for row in found if "measure" in row}


@pytest.mark.parametrize("margin", MARGINS)
def test_measures_of_curvature_state_what_the_exact_hessian_gives(margin: float) -> None:
    context, hessian = context_of(margin), exact(margin).hessian
    found = rows(
        context,
        "gradient_norm",
        {"hessian_trace": {"method": "hutchinson", "probes": PROBES, "relative_error": 1e-9}},
        {"hessian_frobenius_norm": {"probes": PROBES, "relative_error": 1e-9}},
        {"hessian_spectrum": {"top": 2, "iterations": 100}},
    )
    probes = torch.stack([context.probe(index) for index in range(PROBES)])
    products = probes @ hessian / hessian.abs().max()
    forms = (probes * products).sum(1)
    squares = products.square().sum(1)
    values = torch.linalg.eigvalsh(hessian / hessian.abs().max())
    expected = {
        "gradient_norm": (exact(margin).gradient / hessian.abs().max()).norm(),
        "hessian_trace": forms.mean(),
        "hessian_frobenius_norm": squares.mean().sqrt(),
        "hessian_eigenvalue_1": values[-1],
        "hessian_eigenvalue_2": values[-2],
    }
    for name, value in expected.items():
        row = found[name, "train"]
        assert row["status"] == "ok", row
        assert row["value"] / hessian.abs().max() == pytest.approx(value.item(), rel=1e-9), name
    error = found["hessian_trace", "train"]["standard_error"] / hessian.abs().max()
    assert error >= forms.std() / PROBES**0.5
    error = found["hessian_frobenius_norm", "train"]["standard_error"] / hessian.abs().max()
    assert error >= squares.std() / PROBES**0.5 / 2 / squares.mean().sqrt()


@pytest.mark.parametrize("margin", MARGINS)
def test_so_do_moments_of_the_spectrum(margin: float) -> None:
    context, hessian = context_of(margin), exact(margin).hessian
    request = {"hessian_spectral_density": {"probes": 4, "moments": 4, "iterations": 43}}
    found = rows(context, request)
    size = hessian.abs().max().item()
    probes = torch.stack([context.probe(index) for index in range(4)])
    powers, moments = probes, {}
    for order in range(1, 9):
        powers = powers @ (hessian / size)
        moments[order] = (probes * powers).sum(1).mean().item() / len(hessian)
    for order in range(1, 5):
        row = found[f"hessian_spectral_moment_{order}", "train"]
        value = moments[order] * size**order
        if abs(value) < float_info.min:
            assert row["status"] == "nonfinite"
            assert "outside the range of float64" in row["error"]
            continue
        assert row["value"] == pytest.approx(value, rel=1e-9)
        spread = moments[2 * order] - moments[order] ** 2
        least = (2 * spread / len(hessian) / 4) ** 0.5 * size**order
        assert row["standard_error"] == pytest.approx(least, rel=1e-6)
    rank = found["hessian_effective_rank", "train"]
    assert rank["value"] == pytest.approx(len(hessian) * moments[1] ** 2 / moments[2], rel=1e-9)
    assert rank["standard_error"] > 0


def test_squares_of_gradients_below_the_least_float_have_a_reason() -> None:
    found = rows(context_of(400.0), "fisher")
    assert found["fisher_trace", "train"]["status"] == "ok"
    for name in ("empirical_fisher_trace", "gradient_noise", "gradient_noise_scale"):
        row = found[name, "train"]
        assert row["status"] == "nonfinite"
        assert "whose square underflows in float64" in row["error"]


class Scaled(nn.Module):
    """The logits of a network times a number that is not trained."""

    def __init__(self, model: nn.Module, factor: float) -> None:
        super().__init__()
        self.model, self.factor = model, factor

    def forward(self, x: Tensor) -> Tensor:
        return self.factor * self.model(x)


def test_the_noise_that_accuracy_withstands_does_not_depend_on_confidence() -> None:
    data = random_dataset((4,), 6, 3)
    found = [
        rows(MeasureContext(Scaled(network(5.0), factor), data, CROSS_ENTROPY), "pac_bayes_sigma")
        for factor in (1.0, 2.0**7)  # exact, so that every comparison of logits is the same
    ]
    for key, row in found[0].items():
        assert (row["value"], row["standard_error"]) == (
            found[1][key]["value"],
            found[1][key]["standard_error"],
        )


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_cross_entropy_is_that_of_torch(smoothing: float) -> None:
    generator = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn(50, 7, generator=generator, dtype=torch.float64)
    labels = torch.randint(0, 7, (50,), generator=generator)
    found, expected = (
        function(logits, labels, label_smoothing=smoothing)
        for function in (cross_entropy, partial(F.cross_entropy, reduction="none"))
    )
    torch.testing.assert_close(found, expected, rtol=1e-14, atol=1e-14)


def test_logits_that_are_not_finite_have_no_finite_loss() -> None:
    nan = float("nan")
    rows = [[inf, 0.0], [0.0, nan], [inf, inf], [-inf, 0.0], [0.0, -inf]]
    found = cross_entropy(torch.tensor(rows), torch.zeros(5, dtype=torch.int64))
    assert found.isfinite().tolist() == [False, False, False, False, True]
    assert found[-1].item() == 0
    assert str(found[-1].item()) == "0.0"  # not −0
