"""The growth of the error under noise proportional to the weights."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from math import isfinite
from statistics import fmean

import torch

from orchestrator.errors import MeasureError
from orchestrator.measures.base import CatalogEntry, Curve, Measure, Value
from orchestrator.measures.context import MeasureContext
from orchestrator.measures.curvature.hutchinson import standard_error
from orchestrator.measures.sharpness.displaced import displaced
from orchestrator.study.measure_options.sharpness import FlatnessProfileOptions

_CITATION = "Pittorino et al., arXiv:2006.07897"


def error_increases(
    context: MeasureContext, sigmas: tuple[float, ...], draws: int
) -> list[list[float]]:
    """Return err(θ ⊙ (1 + σ z)) − err(θ) of the training examples, one list over draws per σ.

    The z are standard Gaussian vectors, the same for every σ and every checkpoint.
    """
    theta = context.parameter_vector()
    before = displaced(context, torch.zeros_like(theta)).error
    found: list[list[float]] = [[] for _ in sigmas]
    for index in range(draws):
        unit = theta * context.probe(index, "gaussian")
        for increases, sigma in zip(found, sigmas, strict=True):
            increases.append(displaced(context, sigma * unit).error - before)
    return found


def mean_height(sigmas: tuple[float, ...], heights: list[float]) -> float:
    """Return the mean of a function over [0, last σ], linear between the σ and 0 at 0."""
    points = [(0.0, 0.0), *zip(sigmas, heights, strict=True)]
    area = sum((b - a) * (u + v) / 2 for (a, u), (b, v) in pairwise(points))
    return area / sigmas[-1]


class FlatnessProfile(Measure, options=FlatnessProfileOptions):
    """δE(σ) = E_z err(θ ⊙ (1 + σ z)) − err(θ), z ~ N(0, I), for several σ.

    - curve ``flatness_profile``: δE at each of ``sigmas`` with its standard error, on the
      training examples (Pittorino et al., arXiv:2006.07897: the local energy).
    - ``flatness_profile_mean``: its mean over [0, largest σ], linear between the points.

    The draws of z are common to all σ and all checkpoints, and the standard errors are those of
    means over draws. If few or no draws change any prediction, as at the smallest σ, the standard
    errors allow for one example that changes only in draws too rare to have occurred. If logits
    are not finite under the noise, the value is not finite either.

    Invariances: the noise is proportional to the weights, so rescaling of ReLU layers changes
    nothing. Nor does the logit scale, if the last layer has no bias or its bias is scaled too.
    Lower is flatter. Cost: ``draws`` forward passes per σ.
    """

    entries = (
        CatalogEntry(
            measure="flatness_profile",
            family="flatness",
            symbol="E_z err(θ(1 + σz)) − err(θ)",
            unit="1",
            direction="neutral",
            citation=_CITATION,
            cost="640 F",
            invariances="layer rescaling, logit scale",
        ),
        CatalogEntry(
            measure="flatness_profile_mean",
            family="flatness",
            symbol="mean of E_z err(θ(1 + σz)) − err(θ) over σ",
            unit="1",
            direction="lower",
            citation=_CITATION,
            cost="640 F, shared",
            invariances="layer rescaling, logit scale",
        ),
    )

    version = 4

    curves = "always"

    def __init__(self, options: FlatnessProfileOptions) -> None:
        if options.draws < 2:
            raise MeasureError("flatness_profile: one draw has no standard error, expected 2 draws")
        self.draws = options.draws
        self.sigmas = tuple(sorted(set(options.sigmas)))

    def compute(self, context: MeasureContext) -> Iterator[Value | Curve]:
        """Yield the profile and its mean."""
        found = error_increases(context, self.sigmas, self.draws)
        # With one class, no prediction can change.
        one_example = (context.classes > 1) / context.data.n_examples("train")
        means, errors = zip(*(_mean_and_error(each, one_example) for each in found), strict=True)
        finite = all(map(isfinite, means))
        reason = None if finite else "logits are not finite under the noise"
        yield Curve("flatness_profile", self.sigmas, means, None, errors, reason=reason)
        by_draw = [mean_height(self.sigmas, list(heights)) for heights in zip(*found, strict=True)]
        value, error = _mean_and_error(
            by_draw, mean_height(self.sigmas, [one_example] * len(found))
        )
        variant = f"sigma={self.sigmas[-1]!r}"
        yield Value("flatness_profile_mean", value, error, variant, reason=reason)


def _mean_and_error(values: list[float], smallest: float) -> tuple[float, float]:
    """Return the mean over draws and its error, at least that of a change missed by all draws.

    An event with a probability of up to 3 / n can be missed by all n draws (a 95 % bound).

    Args:
        values: One value per draw.
        smallest: The smallest change that a draw can show, that of a single example.
    """
    if not all(map(isfinite, values)):
        return sum(values), sum(values)
    unseen = 3 * smallest / len(values) / 1.96
    return fmean(values), max(standard_error(values), unseen)
