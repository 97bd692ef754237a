"""Statistical methods that a report uses, in words, equations and citations."""

from __future__ import annotations

from collections.abc import Collection

from orchestrator.reporting.claims.judge import JUDGES
from orchestrator.reporting.figures import FIGURES
from orchestrator.statistics.intervals.bootstrap import LEVEL, RESAMPLES
from orchestrator.statistics.study_design import FEWEST_CONDITIONS
from orchestrator.study.claim_options import CLAIM_NEEDS

Paragraph = tuple[str, str]

NOTATION: Paragraph = (
    "Notation",
    "θ denotes the parameters of a network, W_l the weights of layer l, z its logits and y the "
    "true class. ℓ is the training loss, L = E ℓ its mean over the training examples, and "
    "g = ∇L(θ). γ = z_y − max_{j≠y} z_j is the margin of an example, negative if it is "
    "misclassified. E is a mean over examples unless stated otherwise.",
)
_DEFINED_GAPS: Paragraph = (
    "Gaps",
    "Loss gap = test loss − training loss; error gap = test error − training error. Both are "
    "shown because their signs can differ.",
)
_INTERVALS: Paragraph = (
    "Intervals",
    f"Intervals have level {100 * LEVEL:g} %. Intervals of claims are described under Claims. "
    "Intervals in figures apply to the conditions of this study with other seeds. Snapshots of "
    f"one network are not independent, so these intervals come from {RESAMPLES:,} bootstrap "
    "resamples of whole trials within their condition: k − 1 of k trials with weight k/(k − 1) "
    "(Rao, Wu and Yue 1992, Survey Methodology 18). Their half-width is Student’s quantile times "
    "the resampled standard deviation, on Fisher’s scale z = arctanh r for correlations and on a "
    "logarithmic scale for ratios. The resampling seed is fixed, so they are reproducible.",
)
_CLAIMS: Paragraph = (
    "Claims",
    "A claim holds if its whole interval satisfies the criterion, fails if the whole interval "
    "violates it, and is unclear otherwise. Conditions have equal weights, as do networks within "
    f"a condition and snapshots within a network. With {FEWEST_CONDITIONS} or more conditions the "
    "interval comes from leaving out one condition at a time. θ is the statistic (z = arctanh r "
    "for correlations), θ₍ᵢ₎ the statistic without condition i of C, θ₍·₎ their mean, and "
    "V = (C − 1)/C Σ (θ₍ᵢ₎ − θ₍·₎)². The interval extends Student’s quantile with C − 1 degrees "
    "of freedom times √V beyond θ and beyond θ minus its bias (C − 1)(θ₍·₎ − θ), whichever lies "
    "further out (Arvesen 1969; Hinkley 1978). On a grid, one level at a time of each axis with "
    "three or more levels is also left out, and the variances of the axes are added (Cameron, "
    "Gelbach and Miller 2011). With six or more evenly spaced levels on every axis, leaving out "
    "conditions suffices, and verdicts apply to the range of the grid. With fewer than "
    f"{FEWEST_CONDITIONS} conditions, trials are left out instead, and verdicts apply to this grid "
    "only. A claim that no longer holds with the known confounders held fixed (the logarithm of "
    "the training loss and every swept hyperparameter), or without networks that did not learn, "
    "is marked “as stated only”. Two-sided p-values are twice the smaller one-sided p at the "
    "threshold. If all parts of a claim must hold, the largest one-sided p counts (Berger 1982); "
    "if one part suffices, the smallest times the number of parts. Holm’s method (1979) adjusts "
    "p-values for all claims together.",
)


def describe_statistics(figures: Collection[str], claims: Collection[str]) -> list[Paragraph]:
    """Return the paragraphs on statistics.

    Args:
        figures: Keys of the drawn figures.
        claims: Names of the judged claims.
    """
    return [
        _DEFINED_GAPS,
        _INTERVALS,
        *([_CLAIMS] if claims else []),
        *filter(None, (one.methods for key, one in FIGURES.items() if key in figures)),
        *filter(None, (JUDGES[name].methods for name in CLAIM_NEEDS if name in claims)),
    ]
