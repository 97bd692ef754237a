"""The largest noise on the weights that the accuracy withstands on average."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import exp, isfinite, isnan, log, nan
from statistics import fmean

import torch
from torch import Tensor

from orchestrator.errors import MeasureError
from orchestrator.measures.base import CatalogEntry, Direction, Measure, Value
from orchestrator.measures.context import MeasureContext
from orchestrator.measures.curvature.hutchinson import standard_error
from orchestrator.measures.norms.weight_norms import distance_from_initialization, weight_norm
from orchestrator.measures.sharpness.displaced import displaced
from orchestrator.measures.sharpness.threshold_search import (
    Threshold,
    censored_reason,
    largest_withstood,
)
from orchestrator.study.measure_options.sharpness import PacBayesSigmaOptions

_OF_SIGMA = "layer rescaling (magnitude_aware, epsilon=0), logit scale (magnitude_aware, epsilon=0)"
_SUMMARY: tuple[tuple[str, str, str, Direction, str, str], ...] = (
    (
        "pac_bayes_sigma",
        "max σ: acc(θ) − E acc(θ + σz) ≤ 0.1",
        "weight",
        "higher",
        "Jiang et al., arXiv:1912.02178; Dziugaite et al., arXiv:2010.11924",
        _OF_SIGMA,
    ),
    (
        "inverse_square_sigma",
        "1/σ²",
        "1 / weight²",
        "lower",
        "Jiang et al., arXiv:1912.02178, eq. 53 and 61",
        _OF_SIGMA,
    ),
    (
        "pac_bayes_complexity",
        "‖θ − θ₀‖²/4σ² + log(m/σ) + 10",
        "1",
        "lower",
        "Jiang et al., arXiv:1912.02178, eq. 48, 49, 56 and 57",
        "none",
    ),
)
_ROUNDING = 1e-9  # A drop of exactly accuracy_drop, a share of examples, is still allowed.
_SLOPE_FACTOR = 2**0.25  # Wide enough for the noise of common draws, narrow for the curvature.
_LARGEST_LOG_ERROR = 20.0  # σ is then unknown, and the exponential is still finite.


@dataclass(frozen=True)
class Sigma:
    """An estimated standard deviation of noise.

    Attributes:
        threshold: The largest standard deviation withstood.
        standard_error: Standard error over draws; None if censored, NaN if the accuracy does not
            fall around the estimate.
    """

    threshold: Threshold
    standard_error: float | None


def pac_bayes_sigma(context: MeasureContext, options: PacBayesSigmaOptions) -> Sigma | None:
    """Return the largest σ at which weight noise costs at most ``accuracy_drop`` on average.

    All σ are tried with the same ``draws`` of the noise. Their mean loss of accuracy D(σ) has
    a standard error s / √draws. The standard error of σ is that divided by dD/dσ, the slope
    between 0.84 σ and 1.19 σ (delta method); it does not include ``tolerance``. A network whose
    logits are NaN or +∞ under the noise counts as having lost all its accuracy.

    Returns:
        The estimate; None if logits are NaN or +∞ without noise.
    """
    base = _Noise(context, options)
    if isnan(base.error):
        return None
    threshold = largest_withstood(base.breaks, largest=options.largest, tolerance=options.tolerance)
    if threshold.censored is not None:
        return Sigma(threshold, None)
    sigma = threshold.value
    spread = standard_error(base.drops(sigma))
    rise = fmean(base.drops(sigma * _SLOPE_FACTOR)) - fmean(base.drops(sigma / _SLOPE_FACTOR))
    per_log_sigma = rise / (2 * log(_SLOPE_FACTOR))
    return Sigma(threshold, sigma * spread / per_log_sigma if per_log_sigma > 0 else nan)


class _Noise:
    """Drops of the training accuracy under the common draws of noise."""

    def __init__(self, context: MeasureContext, options: PacBayesSigmaOptions) -> None:
        self._context, self._options = context, options
        self._theta = context.parameter_vector()
        self.error = displaced(context, torch.zeros_like(self._theta)).error

    def drops(self, sigma: float) -> list[float]:
        return list(self._drops(sigma))

    def breaks(self, sigma: float) -> bool:
        """Whether the mean drop is too large, from no more draws than needed to decide."""
        allowed = self._options.accuracy_drop * self._options.draws + _ROUNDING
        total = 0.0
        for count, drop in enumerate(self._drops(sigma), start=1):
            total += drop
            left = self._options.draws - count
            if total - left * self.error > allowed:
                return True
            if total + left * (1 - self.error) <= allowed:
                return False
        return total > allowed

    def _drops(self, sigma: float) -> Iterator[float]:
        scale = noise_scale(self._theta, sigma, self._options)
        for index in range(self._options.draws):
            error = displaced(self._context, scale * self._context.probe(index, "gaussian")).error
            yield (1.0 if isnan(error) else error) - self.error


def noise_scale(theta: Tensor, sigma: float, options: PacBayesSigmaOptions) -> Tensor:
    """Return each parameter's noise level: σ, or √(σ² θ² + ε²) if magnitude-aware."""
    if not options.magnitude_aware:
        return torch.full_like(theta, sigma)
    return (sigma**2 * theta.square() + options.epsilon**2).sqrt()


def isotropic_complexity(distance: float, sigma: float, examples: int) -> float:
    """Return ‖θ − θ₀‖² / (4σ²) + log(m/σ) + 10 (Jiang et al., arXiv:1912.02178, equation 48).

    Args:
        distance: ‖θ − θ₀‖₂; ‖θ‖₂ gives equation 49.
        sigma: Standard deviation of the noise, for both prior and posterior.
        examples: m.
    """
    return distance**2 / (4 * sigma**2) + log(examples / sigma) + 10


def magnitude_aware_complexity(
    distance: float, sigma: float, examples: int, scale: Tensor
) -> float:
    """Return ¼ Σ_i log(v / s_i²) + log(m/σ′) + 10, with v = (‖θ − θ₀‖² + Σ_i s_i²) / P.

    The sum is half the divergence of the posterior N(θ, s_i²) from the prior N(θ₀, v). The
    posterior is the very noise with which σ′ was found; the variance v of the prior minimizes the
    divergence. Jiang et al., arXiv:1912.02178, equations 56 and 57, have (θ_i − θ₀_i)² for θ_i² in
    s_i², which is not the noise of their σ′.

    Args:
        distance: ‖θ − θ₀‖₂, or ‖θ‖₂ for a prior around 0.
        sigma: σ′.
        examples: m.
        scale: The standard deviations s_i, flat.

    Returns:
        The complexity; infinite if a parameter has no noise at all.
    """
    variances = scale.to(torch.float64).square()
    prior = (distance**2 + variances.sum()) / len(variances)
    divergence = (prior.log() - variances.log()).sum().item()
    return divergence / 4 + log(examples / sigma) + 10


class PacBayesSigma(Measure, options=PacBayesSigmaOptions):
    """Noise that costs at most ``accuracy_drop`` of the training accuracy, and its complexity.

    - ``pac_bayes_sigma``: the largest σ with acc(θ) − E acc(θ + u) ≤ 0.1, where u ~ N(0, σ² I)
      (Jiang et al., arXiv:1912.02178; Dziugaite et al., arXiv:2010.11924). If
      ``magnitude_aware``, u_i ~ N(0, σ′² θ_i² + ε²). σ is a standard deviation; public code
      that passes σ² in its place gives √σ here.
    - ``inverse_square_sigma``: 1/σ² (equation 53; 61 if magnitude-aware).
    - ``pac_bayes_complexity``: the bound's numerator, with variants ``initialization`` and
      ``origin`` named after the prior's center (equations 48 and 49; ``magnitude_aware_complexity``
      in place of 56 and 57). It is not a bound by itself: the paper's bound is
      √(complexity / (m − 1)).

    If ``largest`` is withstood, the values are those at ``largest`` and marked ``censored``. The
    noise is the same at every checkpoint. ``pac_bayes_sigma`` explains the standard error of
    log σ, which is carried over to each value as half its change from one error below to one above.

    Invariances: multiplying all logits by a constant has no effect except that the size of the
    last layer changes the noise. σ′ does not change under rescaling of ReLU layers as ε → 0; σ
    does. Higher σ is flatter. Cost: 300 to 700 forward passes with 48 draws; fewer than half of
    the draws are needed where σ is far too large.
    """

    entries = tuple(
        CatalogEntry(
            name, "flatness", symbol, unit, direction, citation, "300 to 700 F", invariances
        )
        for name, symbol, unit, direction, citation, invariances in _SUMMARY
    )

    version = 3

    def __init__(self, options: PacBayesSigmaOptions) -> None:
        if options.draws < 2:
            raise MeasureError("pac_bayes_sigma: one draw has no standard error, expected 2 draws")
        self.options = options

    def compute(self, context: MeasureContext) -> Iterator[Value]:
        """Yield σ, 1/σ², and the complexity for each of two priors."""
        variant = f"drop={self.options.accuracy_drop!r}"
        variant += ", magnitude_aware" if self.options.magnitude_aware else ""
        found = pac_bayes_sigma(context, self.options)
        for name, suffix, function in self._functions(context):
            value, error, reason = self._carried(found, function)
            yield Value(name, value, error, variant + suffix, reason=reason)

    def _carried(
        self, found: Sigma | None, function: Callable[[float], float]
    ) -> tuple[float, float | None, str | None]:
        """Return a value derived from σ, its standard error, and its caveat if any."""
        if found is None:
            return nan, None, "the logits are not finite at these weights"
        sigma, error = found.threshold.value, found.standard_error
        try:
            value = function(sigma)
        except MeasureError as missing:
            return nan, None, str(missing)
        if not isfinite(value):
            return value, None, "a parameter that is exactly zero has no noise: raise epsilon"
        if error is None:
            return value, None, censored_reason(found.threshold, "σ", self.options.accuracy_drop)
        if isnan(error):
            return value, nan, "the accuracy does not fall around σ, so the error of σ is unknown"
        # Not by the slope at σ: derived values are far from linear within a large error of σ.
        factor = exp(min(error / sigma, _LARGEST_LOG_ERROR))
        return value, abs(function(sigma * factor) - function(sigma / factor)) / 2, None

    def _functions(
        self, context: MeasureContext
    ) -> tuple[tuple[str, str, Callable[[float], float]], ...]:
        """Return the name, the end of the variant and the function of σ for each value."""

        def complexity(distance: Callable[[MeasureContext], float], sigma: float) -> float:
            examples = context.data.n_examples("train")
            if not self.options.magnitude_aware:
                return isotropic_complexity(distance(context), sigma, examples)
            scale = noise_scale(context.parameter_vector(), sigma, self.options)
            return magnitude_aware_complexity(distance(context), sigma, examples, scale)

        return (
            ("pac_bayes_sigma", "", lambda sigma: sigma),
            ("inverse_square_sigma", "", lambda sigma: sigma**-2),
            (
                "pac_bayes_complexity",
                ", initialization",
                lambda sigma: complexity(distance_from_initialization, sigma),
            ),
            ("pac_bayes_complexity", ", origin", lambda sigma: complexity(weight_norm, sigma)),
        )
