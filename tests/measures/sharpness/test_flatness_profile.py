from __future__ import annotations

from math import isnan
from statistics import NormalDist, fmean

import pytest
import torch

from orchestrator.errors import MeasureError
from orchestrator.measures.base import Curve, Value
from orchestrator.measures.context import MeasureContext
from orchestrator.measures.curvature.hutchinson import standard_error
from orchestrator.measures.sharpness.displaced import LossAndError, displaced
from orchestrator.measures.sharpness.flatness_profile import (
    FlatnessProfile,
    error_increases,
    mean_height,
)
from orchestrator.study.measure_options.sharpness import FlatnessProfileOptions
from tests.binomial import assert_covers, with_simulations
from tests.measures.cases import CROSS_ENTROPY, case, random_dataset
from tests.measures.sharpness.accurate import accurate_context, overflowing, threshold_context


def measured(context: MeasureContext, **given: object) -> tuple[Curve, Value]:
    options = FlatnessProfileOptions(name="flatness_profile", **given)
    profile, mean = FlatnessProfile(options).compute(context)
    assert isinstance(profile, Curve)
    assert isinstance(mean, Value)
    return profile, mean


@pytest.mark.parametrize("name", ["mlp", "cnn", "tanh"])
def test_the_profile_is_the_mean_over_draws_with_its_error(name: str) -> None:
    context = accurate_context(name, examples_per_pass=7)
    theta = context.parameter_vector()
    profile, mean = measured(context, sigmas=[0.6, 0.3], draws=6)
    assert profile.x == (0.3, 0.6)
    assert profile.standard_errors is not None
    for sigma, value, error in zip(profile.x, profile.values, profile.standard_errors, strict=True):
        found = [
            displaced(context, sigma * theta * context.probe(index, "gaussian")).error
            for index in range(6)
        ]
        assert value == pytest.approx(fmean(found))
        unseen = 3 / context.data.n_examples("train") / 6 / 1.96
        assert error == pytest.approx(max(standard_error(found), unseen))
    # Triangle and trapezoid, 0.3 wide each.
    first, last = profile.values
    assert mean.value == pytest.approx((first / 2 + (first + last) / 2) / 2)
    assert mean.variant == "sigma=0.6"


@with_simulations(100, 3000)
def test_the_standard_errors_cover_the_exact_profile_of_a_threshold_classifier(
    monkeypatch: pytest.MonkeyPatch, simulations: int
) -> None:
    """err = mean_i Φ((x_i − w)/(w σ)): as often as due over many seeds, and its mean over σ."""
    points = torch.linspace(-1.0, 0.4, 12)
    xs = points.tolist()
    # The same numbers as the network's, without its forward passes.
    monkeypatch.setattr(
        "orchestrator.measures.sharpness.flatness_profile.displaced",
        lambda context, delta: LossAndError(0, fmean(x >= 0.5 + delta.item() for x in xs)),
    )
    sigmas = (0.25, 0.5, 1.0)
    exact = [fmean(NormalDist().cdf((x - 0.5) / (0.5 * sigma)) for x in xs) for sigma in sigmas]
    inside = [0, 0, 0, 0]
    for seed in range(simulations):
        profile, mean = measured(threshold_context(0.5, points, seed), sigmas=sigmas)
        assert profile.standard_errors is not None
        for place, (value, error, truth) in enumerate(
            zip(
                [*profile.values, mean.value],
                [*profile.standard_errors, mean.standard_error],
                [*exact, mean_height(sigmas, exact)],
                strict=True,
            )
        ):
            inside[place] += abs(value - truth) <= 1.96 * error
    for count, what in zip(inside, (*sigmas, "the mean"), strict=True):
        assert_covers(count, simulations, what=f"coverage of {what}")


def test_the_mean_has_the_error_of_draws_shared_by_all_sizes() -> None:
    context = accurate_context("mlp")
    _, mean = measured(context, sigmas=[0.3, 0.6], draws=10)
    by_draw = [
        mean_height((0.3, 0.6), list(heights))
        for heights in zip(*error_increases(context, (0.3, 0.6), 10), strict=True)
    ]
    assert mean.value == pytest.approx(fmean(by_draw))
    assert mean.standard_error == pytest.approx(standard_error(by_draw))


def test_the_mean_height_of_a_line_and_of_a_constant_is_exact() -> None:
    assert mean_height((0.1, 0.3, 0.4), [0.2, 0.6, 0.8]) == pytest.approx(0.4)
    assert mean_height((2.0,), [1.0]) == 0.5


@pytest.mark.parametrize("alpha", [0.2, 4.0])
def test_the_profile_is_invariant_to_the_scale_of_layers_and_logits(alpha: float) -> None:
    model = case("mlp_without_bias").model().double()
    before = measured(accurate_context(model))
    with torch.no_grad():
        model[0].weight.mul_(alpha)
        model[2].weight.div_(alpha)
        model[4].weight.mul_(5)
    assert measured(accurate_context(model)) == before
    assert before[1].value > 0


def test_nan_logits_are_not_averaged_away() -> None:
    context = accurate_context(overflowing(), dtype=torch.float32)
    profile, mean = measured(context, sigmas=[0.1, 1e5], draws=4)
    assert not isnan(profile.values[0])
    assert isnan(profile.values[1])
    assert isnan(mean.value)
    assert profile.reason == mean.reason == "logits are not finite under the noise"


def test_a_network_that_cannot_err_is_flat() -> None:
    context = case("certain").context()
    profile, mean = measured(context, sigmas=[0.1, 0.4], draws=8)
    assert not any(profile.values)
    assert mean.value == 0
    # What no draw shows may still be there: one example, from the first sigma on.
    unseen = 3 / context.data.n_examples("train") / 8 / 1.96
    assert profile.standard_errors == pytest.approx([unseen, unseen])
    assert mean.standard_error == pytest.approx(unseen * (1 - 0.1 / 0.4 / 2))


def test_a_change_too_rare_for_the_draws_is_within_the_error() -> None:
    """A prediction that changes in one draw of a million: 32 draws see nothing of it."""
    context = threshold_context(1.0, torch.tensor([-1.0, -0.8, 0.2, 0.3]))
    profile, mean = measured(context, sigmas=[1e-4], draws=32)
    assert profile.standard_errors is not None
    assert profile.values == (0.0,)
    assert profile.standard_errors[0] == pytest.approx(3 / 4 / 32 / 1.96)
    assert mean.standard_error == pytest.approx(profile.standard_errors[0] / 2)


def test_fewer_than_two_draws_are_refused() -> None:
    context = MeasureContext(case("mlp").model(), random_dataset((5,), 9, 3), CROSS_ENTROPY)
    with pytest.raises(MeasureError, match="expected 2 draws"):
        measured(context, draws=1)
