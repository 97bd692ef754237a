from decimal import Decimal, localcontext
from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from orchestrator.measures.curvature.loss_hessian import (
    NUMBERS_AT_ONCE,
    autograd_hessian,
    loss_hessian,
    paired_squares,
    softmax_hessian,
)
from orchestrator.measures.precise_loss import is_cross_entropy, precise_loss
from orchestrator.study.training_options import (
    CrossEntropyOptions,
    MseOptions,
    MultiMarginOptions,
)
from orchestrator.training import build_loss

LOSSES = {
    "cross_entropy": build_loss(CrossEntropyOptions()),
    "label_smoothing": build_loss(CrossEntropyOptions(label_smoothing=0.2)),
    "mse": build_loss(MseOptions(name="mse")),
    "multi_margin": build_loss(MultiMarginOptions(name="multi_margin", p=2, margin=1.5)),
}


class Indefinite:
    """Not convex in the logits."""

    def per_example(self, logits, labels):
        return logits[:, 0] * logits[:, 1] + logits.sin().sum(1) * (labels + 1)


def examples(n=6, classes=4, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(n, classes, generator=generator, dtype=dtype)
    return logits, torch.randint(0, classes, (n,), generator=generator)


def assembled(factors):
    signs = factors.columns.new_ones(factors.columns.shape[:2])
    signs = signs if factors.signs is None else factors.signs
    return torch.einsum("rn,rni,rnj->nij", signs, factors.columns, factors.columns)


def dense(loss, logits, labels):
    """The Hessian of each example's loss, one example at a time."""
    return torch.stack(
        [
            torch.autograd.functional.hessian(
                lambda row, y=y: loss.per_example(row[None], y[None])[0], row
            )
            for row, y in zip(logits, labels, strict=True)
        ]
    )


@pytest.mark.parametrize("loss", [*LOSSES.values(), Indefinite()], ids=[*LOSSES, "indefinite"])
@pytest.mark.parametrize("few", [True, False])
@pytest.mark.parametrize("way", [loss_hessian, lambda *given: [autograd_hessian(*given)]])
def test_the_squares_sum_to_the_hessian(loss, way, few, monkeypatch):
    logits, labels = examples()
    if not few:  # one square at a time
        monkeypatch.setattr("orchestrator.measures.curvature.loss_hessian.NUMBERS_AT_ONCE", 1)
    torch.testing.assert_close(
        sum(map(assembled, way(loss, logits, labels))),
        dense(loss, logits, labels),
        rtol=0,
        atol=1e-13,
    )


def test_softmax_needs_one_square_fewer_than_classes():
    logits, labels = examples(classes=5)
    (factors,) = loss_hessian(LOSSES["label_smoothing"], logits, labels)
    assert factors.columns.shape == (4, 6, 5)
    assert factors.signs is None


def test_a_hinge_needs_no_square_for_classes_beyond_the_margin():
    logits = torch.tensor([[9.0, 0.0, 8.5, 0.0], [9.0, 8.2, 0.0, 0.0]], dtype=torch.float64)
    (factors,) = loss_hessian(LOSSES["multi_margin"], logits, torch.tensor([0, 0]))
    assert len(factors.columns) == 1


def test_a_piecewise_linear_loss_has_no_squares():
    hinge = build_loss(MultiMarginOptions(name="multi_margin", p=1))
    (factors,) = loss_hessian(hinge, *examples())
    assert len(factors.columns) == 0


class Sum:
    """Its gradient doesn't depend on the logits at all."""

    def per_example(self, logits, labels):
        return logits.sum(1)


def test_a_linear_loss_has_no_squares():
    assert autograd_hessian(Sum(), *examples()).columns.shape == (0, 6, 4)


def test_an_indefinite_hessian_has_squares_of_both_signs():
    factors = autograd_hessian(Indefinite(), *examples())
    assert factors.signs is not None
    assert factors.signs.min() == -1
    assert factors.signs.max() == 1


def test_a_single_class_has_no_curvature():
    logits, labels = examples(classes=1)
    assert len(softmax_hessian(logits).columns) == 0
    assert [len(part.columns) for part in loss_hessian(LOSSES["mse"], logits, labels)] == [1]


def exact_trace_of_softmax(logits):
    """tr(diag p − ppᵀ) = Σ p_c (1 − p_c), in decimals."""
    with localcontext() as context:
        context.prec = 400
        exponentials = [Decimal(z).exp() for z in logits]
        total = sum(exponentials)
        return float(sum(e * (total - e) for e in exponentials) / total**2)


@pytest.mark.parametrize("margin", [1.0, 17.0, 36.0, 40.0, 100.0, 400.0, 650.0])
@pytest.mark.parametrize("winner", [0, 1, 2])
def test_a_saturated_softmax_keeps_its_curvature(margin, winner):
    logits = torch.tensor([0.0, -3.0, 1.5], dtype=torch.float64)
    logits[winner] += margin
    columns = softmax_hessian(logits[None]).columns
    expected = exact_trace_of_softmax(logits.tolist())
    assert expected > 0
    assert columns.square().sum().item() == pytest.approx(expected, rel=1e-11)


def test_curvature_below_the_smallest_float_is_zero_not_nan():
    columns = softmax_hessian(torch.tensor([[0.0, 5000.0, 0.0]], dtype=torch.float64)).columns
    assert columns.isfinite().all()
    assert columns.square().sum() == 0


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(-300, 300), min_size=2, max_size=6))
def test_the_trace_of_softmax_is_exact_for_any_logits(logits):
    row = torch.tensor(logits, dtype=torch.float64)
    columns = softmax_hessian(row[None]).columns[:, 0]
    expected = exact_trace_of_softmax(logits)
    assert columns.square().sum().item() == pytest.approx(expected, rel=1e-10)
    # Adding a constant to all logits changes no probability.
    assert columns.sum(1).abs().max() <= 1e-12 * columns.abs().max()


def test_squares_in_single_precision_agree_with_double():
    logits, labels = examples(dtype=torch.float32)
    for loss in LOSSES.values():
        (factors,) = loss_hessian(loss, logits, labels)
        assert factors.columns.dtype == torch.float32
        expected = dense(loss, logits.double(), labels).float()
        torch.testing.assert_close(assembled(factors), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_nonfinite_logits_give_nan_for_their_example_only(loss, bad):
    logits, labels = examples()
    logits[2, 1] = bad
    for (factors,) in (loss_hessian(loss, logits, labels), [paired(loss, logits, labels)]):
        traces = factors.columns.square().sum((0, 2))
        assert traces[2].isnan()
        assert traces[[0, 1, 3, 4, 5]].isfinite().all()


def paired(loss, logits, labels):
    return paired_squares(loss, logits, labels, torch.ones_like(logits))


@pytest.mark.parametrize("loss", [*LOSSES.values(), Indefinite()], ids=[*LOSSES, "indefinite"])
@pytest.mark.parametrize("margin", [0.0, 6.0])
def test_pairs_of_squares_equal_bilinear_forms_of_the_hessian(loss, margin):
    logits, labels = examples()
    logits[:, 1] += margin
    generator = torch.Generator().manual_seed(1)
    network, directions = (
        torch.randn(*shape, generator=generator, dtype=torch.float64) for shape in ((7, 4), (6, 4))
    )
    factors = paired_squares(loss, logits, labels, directions)
    found = (factors.signs * (factors.columns @ network.T).square().sum(2)).sum(0)
    products = torch.einsum("nij,nj->ni", dense(loss, logits, labels), directions)
    here, there = directions @ network.T, products @ network.T
    rounding = 1e-12 * here.norm(dim=1) * there.norm(dim=1)
    assert ((found - (here * there).sum(1)).abs() <= rounding).all()


def test_piecewise_linear_losses_have_empty_pairs():
    hinge = build_loss(MultiMarginOptions(name="multi_margin", p=1))
    assert paired(hinge, *examples()).columns.abs().max() == 0


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
def test_many_classes_never_form_a_matrix_of_classes(loss):
    logits, labels = examples(n=2, classes=300)
    traces, most = torch.zeros(2, dtype=torch.float64), 0
    for columns, signs in loss_hessian(loss, logits, labels):
        each = columns.square().sum(2)
        traces += (each if signs is None else signs * each).sum(0)
        most = max(most, columns.numel())
    assert most <= max(NUMBERS_AT_ONCE, 2 * logits.numel())
    expected = torch.stack([matrix.trace() for matrix in dense(loss, logits, labels)])
    torch.testing.assert_close(traces, expected, rtol=1e-12, atol=0)


class Own:
    def __init__(self, function):
        self.per_example = function


def test_cross_entropy_is_recognized():
    assert is_cross_entropy(LOSSES["cross_entropy"])
    assert is_cross_entropy(LOSSES["label_smoothing"])
    assert is_cross_entropy(precise_loss(Own(partial(F.cross_entropy, reduction="none"))))


@pytest.mark.parametrize(
    "function",
    [
        partial(F.cross_entropy, reduction="none", weight=torch.ones(4)),
        partial(F.cross_entropy, reduction="none", ignore_index=0),
        partial(F.multi_margin_loss, reduction="none"),
        lambda logits, labels: 2 * F.cross_entropy(logits, labels, reduction="none"),
    ],
)
def test_other_losses_are_not_taken_for_cross_entropy(function):
    assert not is_cross_entropy(precise_loss(Own(function)))
