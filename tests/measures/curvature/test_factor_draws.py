"""Traces from random factors: unbiased, within their stated error, at every confidence."""

from __future__ import annotations

import pytest
import torch
from scipy import stats
from torch import nn

from orchestrator.measures.context import MeasureContext
from orchestrator.measures.curvature.exact_trace import exact_trace
from orchestrator.measures.curvature.factor_draws import (
    drawn_trace,
    loss_draw,
    softmax_draw,
)
from orchestrator.measures.curvature.fisher import Fisher
from orchestrator.measures.curvature.ggn_trace import (
    GgnTrace,
    exact_ggn_trace,
    sampled_ggn_trace,
)
from orchestrator.measures.curvature.hessian_trace import HessianTrace
from orchestrator.study.measure_options.curvature import (
    FisherOptions,
    GgnTraceOptions,
    HessianTraceOptions,
)
from tests.measures.cases import CROSS_ENTROPY, SquaredHinge, case, mlp, random_dataset

_RUNS = 60
# Misses of a 95 % interval in 60 runs that a binomial test at 1e-4 on either side allows.
_MOST_MISSES = int(stats.binom.ppf(1 - 1e-4, _RUNS, 0.05))
CONFIDENT = [0.0, 12.0, 60.0]


def confident(margin, classes=12, examples=10, loss=CROSS_ENTROPY, **options):
    """Its logits lie about ``margin`` apart, more for some examples than for others."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = mlp(6, 8, classes, activation=nn.Tanh).double()
        data = random_dataset((6,), examples, classes)
        with torch.no_grad():
            top = network(data.train_x.double()).topk(2, dim=1).values
            scale = max(1.0, margin / (top[:, 0] - top[:, 1]).median().item())
            network[-1].weight.mul_(scale)
            network[-1].bias.mul_(scale)
    return MeasureContext(network, data, loss, **options)


@pytest.mark.parametrize("classes", [2, 3, 7])
@pytest.mark.parametrize("margin", [0.0, 3.0, 40.0, 400.0])
def test_the_mean_over_all_signs_is_the_covariance_of_one_label(classes, margin):
    generator = torch.Generator().manual_seed(classes)
    logits = torch.randn(1, classes, generator=generator, dtype=torch.float64)
    logits[0, classes // 2] += margin
    signs = torch.cartesian_prod(*[torch.tensor([-1.0, 1.0]).double()] * classes)
    (columns,), _ = softmax_draw(logits.expand(len(signs), -1), signs)
    found = columns.T @ columns / len(signs)
    p = logits.softmax(1)[0]
    expected = -torch.outer(p, p)
    for c in range(classes):  # 1 − p_c without subtraction
        expected[c, c] = p[c] * torch.cat([p[:c], p[c + 1 :]]).sum()
    scale = expected.abs().max()
    torch.testing.assert_close(found / scale, expected / scale, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("samples", [2, 4])
@pytest.mark.parametrize("margin", CONFIDENT)
def test_intervals_cover_the_exact_trace_at_every_confidence(margin, samples):
    exact = exact_ggn_trace(confident(margin)).total
    context = confident(margin)
    found = []
    for seed in range(_RUNS):
        context.seed = seed
        found.append(sampled_ggn_trace(context, samples))
    misses = sum(abs(one.value - exact) > 1.96 * one.standard_error for one in found)
    assert misses <= _MOST_MISSES
    values = torch.tensor([one.value for one in found])
    assert values.std() <= 1.5 * exact / samples**0.5
    error = values.std() / _RUNS**0.5
    assert abs(values.mean() - exact) <= 4 * error


@pytest.mark.parametrize("margin", [0.0, 30.0])
def test_drawing_labels_instead_would_miss_the_trace(margin):
    """What factors replace: the mean over labels is carried by a label that is never drawn."""
    context = confident(margin)
    p = context.logits("train").softmax(1)
    exact = (p * (1 - p)).sum(1).mean()
    generator = torch.Generator().manual_seed(0)
    drawn = p.multinomial(2000, replacement=True, generator=generator)
    of_labels = 1 - 2 * p.gather(1, drawn) + p.square().sum(1, keepdim=True)
    share = (of_labels.mean() / exact).item()
    assert (abs(share - 1) < 0.1) == (margin == 0)


def test_the_stated_error_equals_the_spread_over_seeds():
    context, found = confident(3.0, examples=40), []
    for seed in range(_RUNS):
        context.seed = seed
        found.append(sampled_ggn_trace(context, 4))
    stated = torch.tensor([one.standard_error for one in found]).square().mean().sqrt()
    assert stated == pytest.approx(torch.tensor([one.value for one in found]).std(), rel=0.2)


@pytest.mark.parametrize("loss", [case("mse").loss, SquaredHinge()], ids=["mse", "squared_hinge"])
def test_intervals_cover_the_trace_for_other_losses_too(loss):
    context = confident(0.0, loss=loss)
    exact, misses = exact_ggn_trace(context).total, 0
    for seed in range(_RUNS):
        context.seed = seed
        found = sampled_ggn_trace(context, 4)
        misses += abs(found.value - exact) > 1.96 * found.standard_error
    assert misses <= _MOST_MISSES


def test_draws_do_not_depend_on_how_examples_are_divided(monkeypatch):
    whole = sampled_ggn_trace(confident(3.0), 4)
    passes = sampled_ggn_trace(confident(3.0, examples_per_pass=3), 4)
    monkeypatch.setattr("orchestrator.measures.curvature.example_gradients.NUMBERS_ON_CPU", 1)
    singles = sampled_ggn_trace(confident(3.0), 4)
    for other in (passes, singles):
        assert other.value == pytest.approx(whole.value, rel=1e-12)
        assert other.standard_error == pytest.approx(whole.standard_error, rel=1e-9)


def test_parts_of_parameters_sum_to_the_total_and_drawing_stops_at_the_error():
    context = confident(3.0)
    few = drawn_trace(context, loss_draw(context.loss), draws=64, relative_error=1.0)
    assert few.total.probes == 16
    found = drawn_trace(context, loss_draw(context.loss), draws=20)
    assert found.total.probes == 20
    parts = [part.value for part in found.per_parameter.values()]
    assert sum(parts) == pytest.approx(found.total.value, rel=1e-12)
    with pytest.raises(ValueError, match="at least 2 draws"):
        drawn_trace(context, loss_draw(context.loss), draws=1)


def test_beyond_257_classes_three_measures_share_the_draws():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        network = mlp(4, 3, 300)
    context = MeasureContext(network, random_dataset((4,), 8, 300), CROSS_ENTROPY)
    exact = exact_trace(context).total
    rows = [
        *GgnTrace(GgnTraceOptions(name="ggn_trace")).compute(context),
        *HessianTrace(HessianTraceOptions(name="hessian_trace")).compute(context),
        next(Fisher(FisherOptions(name="fisher")).compute(context)),
    ]
    assert len({(row.value, row.standard_error) for row in rows}) == 1
    for row in rows:
        assert row.variant == "sampled_factors"
        assert abs(row.value - exact) <= 3 * row.standard_error
        assert row.standard_error <= 0.05 * row.value
    (asked,) = HessianTrace(HessianTraceOptions(name="hessian_trace", method="exact")).compute(
        context
    )
    assert (asked.value, asked.variant, asked.standard_error) == (exact, "exact", None)
