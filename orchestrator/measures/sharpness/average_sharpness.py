"""The mean increase of the loss under noise on the weights."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import inf, isfinite

import torch

from orchestrator.errors import MeasureError
from orchestrator.measures.base import CatalogEntry, Measure, Value
from orchestrator.measures.context import MeasureContext
from orchestrator.measures.curvature.hutchinson import carried_by_few, probe_mean
from orchestrator.measures.sharpness.displaced import displaced
from orchestrator.measures.sharpness.normalized_logits import NormalizedLogits
from orchestrator.measures.sharpness.sam_sharpness import ball_text
from orchestrator.study.measure_options.sharpness import AverageSharpnessOptions


class AverageSharpness(Measure, options=AverageSharpnessOptions):
    """E L(θ + δ) − L(θ) of the training loss under Gaussian noise.

    - default: δ ~ N(0, ρ² I), as in PAC-Bayes bounds around a deterministic network (Neyshabur
      et al., arXiv:1706.08947);
    - ``adaptive``: δ_i ~ N(0, ρ² θ_i²) (Andriushchenko et al., arXiv:2302.07011, average-case
      sharpness with c = |θ|);
    - ``normalize_logits``: the loss of (z − z̄) / ‖z − z̄‖₂ (``NormalizedLogits``).

    For small ρ it is ρ²/2 Σ c_i² H_ii. For a quadratic loss without adaptation this is exact:
    ρ² tr H / 2.

    Draws come in pairs ±δ, whose mean cancels the gradient and all odd orders of the loss. The
    pairs are independent, and the standard error is that of their mean. Drawing stops after 16,
    32, 64 … pairs if the standard error is small enough (as for ``hessian_trace``), or at the
    maximum number of draws. If a few draws dominate the mean, as can happen with large noise on a
    confident network, the error is infinite. The noise is the same at every checkpoint.

    Invariances: the adaptive variant does not change under rescaling of ReLU layers; the default
    does. Both change with the logit scale, unless logits are normalized: the adaptive variant then
    does not change with it. Lower is flatter. Cost: one forward pass per draw.
    """

    entries = (
        CatalogEntry(
            measure="average_sharpness",
            family="flatness",
            symbol="E L(θ + δ) − L(θ), δ ~ N(0, ρ²)",
            unit="loss",
            direction="lower",
            citation="Neyshabur et al., arXiv:1706.08947; Andriushchenko et al., arXiv:2302.07011",
            cost="32 to 64 F, at most draws F",
            invariances="layer rescaling (adaptive), logit scale (adaptive, normalized_logits)",
        ),
    )

    version = 4

    def __init__(self, options: AverageSharpnessOptions) -> None:
        if options.draws < 4:
            raise MeasureError(
                f"average_sharpness: draws is {options.draws}, expected at least 4: draws come in "
                f"pairs, and a standard error needs two pairs"
            )
        self.rho = options.rho
        self.adaptive = options.adaptive
        self.most_pairs = options.draws // 2
        self.relative_error = options.relative_error
        self.normalize_logits = options.normalize_logits

    def compute(self, context: MeasureContext) -> Iterator[Value]:
        """Yield the value with its standard error."""
        loss_at, base = self._loss(context)
        scale: float | torch.Tensor = self.rho
        if self.adaptive:
            scale = self.rho * context.parameter_vector().abs()

        increases: list[float] = []

        def increase(index: int) -> float:
            noise = scale * context.probe(index, "gaussian")
            increases.append((loss_at(noise) - base + loss_at(-noise) - base) / 2)
            return increases[-1]

        mean = probe_mean(increase, probes=self.most_pairs, relative_error=self.relative_error)
        variant = ball_text(self.rho, self.adaptive)
        variant += ", normalized_logits" if self.normalize_logits else ""
        error, reason = mean.standard_error, None
        if not isfinite(mean.value):
            reason = "the loss is not finite under the noise"
        elif carried_by_few(increases):
            error = inf
            reason = f"a few of {len(increases)} draw pairs dominate the mean; rarer ones may too"
        yield Value("average_sharpness", mean.value, error, variant, reason=reason)

    def _loss(self, context: MeasureContext) -> tuple[Callable[[torch.Tensor], float], float]:
        """Return δ ↦ L(θ + δ), and L(θ)."""
        if not self.normalize_logits:
            return context.loss_at, context.loss_value("train")
        loss = NormalizedLogits(context.loss)
        zero = torch.zeros_like(context.parameter_vector())
        base = displaced(context, zero, loss=loss).loss
        return lambda delta: displaced(context, delta, loss=loss).loss, base
