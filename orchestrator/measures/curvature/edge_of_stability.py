"""The largest Hessian eigenvalue relative to the stability threshold of the learning rate."""

from __future__ import annotations

from collections.abc import Iterator
from math import inf, nan

from orchestrator.errors import error_text
from orchestrator.measures.base import CatalogEntry, Measure, Value
from orchestrator.measures.context import MeasureContext
from orchestrator.measures.curvature.hessian_krylov import extreme_eigenvalues
from orchestrator.measures.curvature.hessian_spectrum import eigenvalue
from orchestrator.measures.trust.finding import SECOND_DERIVATIVES
from orchestrator.study.measure_options.curvature import (
    EdgeOfStabilityOptions,
    HessianSpectrumOptions,
)
from orchestrator.training.update_rule import UpdateRule

EDGE = "edge_of_stability"
THRESHOLD = "stability_threshold"


def stability_threshold(rule: UpdateRule) -> float:
    """Return the curvature beyond which steps of ``rule`` on a quadratic grow without bound.

    Along an eigenvector with eigenvalue λ, the steps follow a linear recursion. Its roots lie in
    the unit circle if λ is below (Cohen et al., arXiv:2103.00065)

    - 2/η for gradient descent,
    - (2 + 2β)/η with momentum β,
    - (2 + 2β)/(η (1 + 2β)) with Nesterov momentum.
    """
    if rule.learning_rate == 0:
        return inf
    numerator = 2 + 2 * rule.momentum
    return numerator / rule.learning_rate / (1 + 2 * rule.momentum if rule.nesterov else 1)


class EdgeOfStability(Measure, options=EdgeOfStabilityOptions):
    """λ_1 over the stability threshold of the updates that led to the snapshot.

    - ``stability_threshold``: 2/η for gradient descent, (2 + 2β)/η with momentum β, with η the
      learning rate of the last update, including its schedule.
    - ``edge_of_stability`` = (λ_1 + weight decay) / ``stability_threshold``: full-batch gradient
      descent increases sharpness until this is about 1 and then hovers there. An L2 penalty adds
      weight decay to every eigenvalue. Batches smaller than the training set keep it below 1, and
      smaller batches more so; it is then a position relative to the edge, not a prediction.

    λ_1 is that of the mean training loss on the measured examples, in eval mode. It comes from
    the Lanczos run of a default ``hessian_spectrum``, as does the variant ``unconverged``. Both
    values are NaN, with a reason, for networks not trained by SGD (Adam's steps have a different
    threshold, arXiv:2207.14484) or without an ``update_rule`` in the context.

    Invariances: none for the threshold; the ratio does not change when the loss is multiplied
    and the learning rate divided by the same number. Neutral: 1 is the edge. Cost: that of
    ``hessian_spectrum``, or none if that is also measured.
    """

    needs = frozenset({"gradient_graph", "krylov_space"})
    requires = SECOND_DERIVATIVES
    version = 5
    entries = (
        CatalogEntry(
            measure=EDGE,
            family="flatness",
            symbol="(λ_1(∇²L) + weight decay) · η / (2 + 2β)",
            unit="1",
            direction="neutral",
            citation="Cohen et al., arXiv:2103.00065",
            cost="shared with hessian_spectrum",
        ),
        CatalogEntry(
            measure=THRESHOLD,
            family="flatness",
            symbol="(2 + 2β) / η",
            unit="loss / weight²",
            direction="neutral",
            citation="Cohen et al., arXiv:2103.00065",
            cost="none",
        ),
    )

    def __init__(self, options: EdgeOfStabilityOptions) -> None:
        # Other options default to those of the spectrum, so that one run serves both.
        self.options = HessianSpectrumOptions(
            name="hessian_spectrum", iterations=options.iterations, tolerance=options.tolerance
        )

    def compute(self, context: MeasureContext) -> Iterator[Value]:
        """Yield the ratio and the threshold."""
        rule = context.update_rule
        if rule is None:
            reason = (
                "no update rule is known: the network was not trained by SGD, or the context "
                "was created without update_rule"
            )
            yield Value(EDGE, nan, reason=reason)
            yield Value(THRESHOLD, nan, split=None, reason=reason)
            return
        threshold = stability_threshold(rule)
        try:
            largest = eigenvalue(extreme_eigenvalues(context, self.options), EDGE, 0)
        except FloatingPointError as error:
            yield Value(EDGE, nan, reason=error_text(error))
        else:
            ratio = (largest.value + rule.weight_decay) / threshold
            yield Value(EDGE, ratio, variant=largest.variant, reason=largest.reason)
        still = "the learning rate was 0" if threshold == inf else None
        yield Value(THRESHOLD, threshold, split=None, reason=still)
