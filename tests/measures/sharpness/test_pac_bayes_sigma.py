from __future__ import annotations

from functools import cache
from math import asinh, isnan, log, sinh
from statistics import NormalDist, fmean

import pytest
import torch

from orchestrator.errors import MeasureError
from orchestrator.measures.base import Value
from orchestrator.measures.context import MeasureContext
from orchestrator.measures.sharpness.displaced import LossAndError, displaced
from orchestrator.measures.sharpness.pac_bayes_sigma import (
    PacBayesSigma,
    magnitude_aware_complexity,
)
from orchestrator.study.measure_options.sharpness import PacBayesSigmaOptions
from tests.binomial import assert_covers, with_simulations
from tests.measures.cases import case
from tests.measures.sharpness.accurate import accurate_context, overflowing, threshold_context

NORMAL = NormalDist()


def options(**given: object) -> PacBayesSigmaOptions:
    return PacBayesSigmaOptions(name="pac_bayes_sigma", **given)


def measured(context: MeasureContext, **given: object) -> list[Value]:
    return list(PacBayesSigma(options(**given)).compute(context))


@pytest.mark.parametrize(
    ("drop", "magnitude_aware"),
    [
        (0.1, False),
        (0.3, True),
        pytest.param(0.1, True, marks=pytest.mark.slow),
        pytest.param(0.3, False, marks=pytest.mark.slow),
    ],
)
def test_sigma_of_a_threshold_classifier_has_a_closed_form(
    drop: float, magnitude_aware: bool
) -> None:
    """Accuracy Φ(w/s) under noise of standard deviation s: s = w / Φ⁻¹(1 − drop)."""
    weight = 0.5
    expected = weight / NORMAL.inv_cdf(1 - drop)
    if magnitude_aware:  # s² = σ′² w² + ε²
        expected = (expected**2 - 0.1**2) ** 0.5 / weight
    found, *_ = measured(
        threshold_context(weight, torch.zeros(3)),
        accuracy_drop=drop,
        magnitude_aware=magnitude_aware,
        draws=300,
        largest=8.0,
        epsilon=0.1,
    )
    assert found.variant == f"drop={drop}" + (", magnitude_aware" if magnitude_aware else "")
    assert abs(found.value - expected) < 3 * found.standard_error
    assert 0.02 * expected < found.standard_error < 0.15 * expected


@with_simulations(40, 3000)
def test_the_standard_errors_cover_the_exact_values(
    monkeypatch: pytest.MonkeyPatch, simulations: int
) -> None:
    """Accuracy mean_i Φ((w − x_i)/σ), over the noise of many seeds: of σ and of 1/σ²."""
    # The same numbers as the network's, without its forward passes.
    monkeypatch.setattr(
        "orchestrator.measures.sharpness.pac_bayes_sigma.displaced",
        lambda context, delta: LossAndError(0, fmean(x >= 0.5 + delta.item() for x in xs)),
    )
    points = torch.linspace(-1.0, 0.4, 12)
    xs = points.tolist()
    low, high = 0.01, 10.0
    for _ in range(60):
        middle = (low * high) ** 0.5
        accuracy = fmean(NORMAL.cdf((0.5 - x) / middle) for x in xs)
        low, high = (middle, high) if accuracy > 0.9 else (low, middle)
    inside = [0, 0]
    for seed in range(simulations):
        context = threshold_context(0.5, points, seed)
        context.probe = cache(context.probe)
        sigma, inverse, *_ = measured(context)
        for place, (value, exact) in enumerate(((sigma, low), (inverse, low**-2))):
            assert value.standard_error is not None
            inside[place] += abs(value.value - exact) <= 1.96 * value.standard_error
    for count, what in zip(inside, ("coverage of σ", "coverage of 1/σ²"), strict=True):
        assert_covers(count, simulations, what=what)


@pytest.mark.parametrize(
    ("name", "magnitude_aware"),
    [
        ("mlp", False),
        ("cnn", True),
        ("tanh", False),
        pytest.param("mlp", True, marks=pytest.mark.slow),
        pytest.param("cnn", False, marks=pytest.mark.slow),
        pytest.param("tanh", True, marks=pytest.mark.slow),
    ],
)
def test_sigma_is_where_the_mean_accuracy_over_all_draws_has_dropped(
    name: str, magnitude_aware: bool
) -> None:
    """Brute force over every draw: no draw may be skipped that the decision needs."""
    context = accurate_context(name)
    given = {"magnitude_aware": magnitude_aware, "draws": 20, "tolerance": 1e-6}
    sigma = measured(context, **given)[0].value
    theta = context.parameter_vector()

    def fall(size: float) -> float:
        scale = (size**2 * theta**2 + 1e-6).sqrt() if magnitude_aware else size
        before = displaced(context, 0 * theta).error
        return fmean(
            displaced(context, scale * context.probe(index, "gaussian")).error - before
            for index in range(20)
        )

    assert fall(sigma * (1 - 1e-5)) <= 0.1 + 1e-12
    assert fall(sigma * (1 + 1e-5)) > 0.1


def test_the_other_values_follow_from_sigma() -> None:
    context = accurate_context("mlp", initial_state=case("mlp").model(1).state_dict())
    sigma, inverse, initial, origin = measured(context)
    assert inverse.value == pytest.approx(sigma.value**-2)
    # Half of the change from one error of log σ below to one above.
    of_log = asinh(sigma.standard_error / sigma.value)
    error = sinh(2 * of_log) / sigma.value**2
    assert inverse.standard_error == pytest.approx(error)
    theta = context.parameter_vector()
    before = torch.cat([v.reshape(-1) for v in case("mlp").model(1).state_dict().values()])
    for value, center, name in ((initial, before, "initialization"), (origin, 0, "origin")):
        square = (theta - center).square().sum().item()
        expected = square / (4 * sigma.value**2) + log(40 / sigma.value) + 10
        assert value.value == pytest.approx(expected)
        assert value.variant == f"drop=0.1, {name}"
        assert value.standard_error == pytest.approx(square / 4 * error + of_log)


def test_the_magnitude_aware_complexity_is_half_a_divergence_from_the_best_prior() -> None:
    theta, center = torch.randn(9).double(), torch.randn(9).double()
    scale = (0.3**2 * theta**2 + 1e-4).sqrt()
    distance = (theta - center).norm().item()
    found = magnitude_aware_complexity(distance, 0.3, 50, scale) - log(50 / 0.3) - 10
    posterior = torch.distributions.Normal(theta, scale)
    divergences = [
        torch.distributions.kl_divergence(
            posterior, torch.distributions.Normal(center, deviation)
        ).sum()
        for deviation in torch.logspace(-1, 1, 2001).double()
    ]
    assert found == pytest.approx(min(divergences).item() / 2, rel=1e-5)


def test_without_the_initial_weights_only_one_complexity_is_missing() -> None:
    *others, initial, origin = measured(accurate_context("mlp"))
    assert isnan(initial.value)
    assert initial.reason.startswith("distance_from_initialization needs")
    assert all(value.reason is None for value in (*others, origin))


def test_a_sigma_beyond_the_largest_tried_is_censored() -> None:
    values = measured(case("certain").context(), largest=3.0)
    assert values[0].value == 3
    assert values[1].value == pytest.approx(1 / 9)
    for value in (*values[:2], values[3]):
        assert value.standard_error is None
        assert value.reason.startswith("censored: at σ = 3, the largest tried")


def test_a_sigma_below_the_smallest_tried_is_censored() -> None:
    """At w = x exactly the logits tie: every other draw flips the class."""
    value, *_ = measured(threshold_context(0.0, torch.zeros(2)))
    assert value.value == 2.0 * 2**-40
    assert value.reason.startswith("censored: at σ = ")


def test_noise_that_overflows_the_logits_counts_as_losing_all_accuracy() -> None:
    context = accurate_context(overflowing(), dtype=torch.float32)
    one = torch.full_like(context.parameter_vector(), 1e4)
    assert isnan(displaced(context, one).error)
    value, *_ = measured(context, largest=1e4)
    assert value.reason is None
    assert 0 < value.value < 10


def test_zero_parameters_have_an_infinite_complexity_without_epsilon() -> None:
    model = case("mlp").model()
    with torch.no_grad():
        model[0].weight[0] = 0
    context = accurate_context(model)
    *others, origin = measured(context, magnitude_aware=True, epsilon=0)
    assert origin.value == float("inf")
    assert "exactly zero" in origin.reason
    assert others[0].reason is None
    *_, origin = measured(context, magnitude_aware=True)
    assert origin.reason is None


@pytest.mark.parametrize("alpha", [0.2, pytest.param(4.0, marks=pytest.mark.slow)])
def test_the_magnitude_aware_sigma_is_invariant_to_rescaling(alpha: float) -> None:
    model = case("mlp_without_bias").model().double()

    def both() -> list[float]:
        context = accurate_context(model)
        return [
            measured(context, magnitude_aware=aware, epsilon=0)[0].value for aware in (True, False)
        ]

    before = both()
    with torch.no_grad():
        model[0].weight.mul_(alpha)
        model[2].weight.div_(alpha)
    after = both()
    assert after[0] == pytest.approx(before[0], rel=1e-9)
    assert after[1] != pytest.approx(before[1], rel=0.01)


def test_neither_passes_nor_duplicated_data_change_sigma() -> None:
    once = measured(accurate_context("mlp"))[0]
    assert measured(accurate_context("mlp", examples_per_pass=7))[0] == once
    points = torch.linspace(-1, 0.4, 8)
    single, twice = (measured(threshold_context(0.5, x)) for x in (points, points.repeat(2)))
    assert twice[0].value == pytest.approx(single[0].value)


def test_fewer_than_two_draws_are_refused() -> None:
    with pytest.raises(MeasureError, match="expected 2 draws"):
        PacBayesSigma(options(draws=1))
