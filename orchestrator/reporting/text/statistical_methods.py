"""Statistical methods that a report uses, in words, equations and citations."""

from __future__ import annotations

from collections.abc import Collection

from orchestrator.reporting.claims.built_in import BUILT_IN
from orchestrator.reporting.data.gap_predictors import GAPS
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
_OF_FIGURES: tuple[tuple[str, Paragraph], ...] = (
    (
        "threshold",
        (
            "Correlations",
            "Pearson’s r = cov(x, y) / √(var x · var y). A partial r correlates the residuals of "
            "x and y after linear regression on the quantities held fixed. Within conditions, r "
            "correlates the deviations of trial means from the mean of their condition. "
            "Spearman’s ρ is r of mid-ranks. Fisher’s interval, which ignores trials, is "
            "tanh(arctanh r ± 1.96 / √(n − 3)).",
        ),
    ),
    (
        "interventions",
        (
            "Ways of training",
            "A shift is a mean minus the mean under the usual training, in standard deviations "
            "within ways of training. The share of variance that ways of training explain beyond "
            "seeds is σ²_ways / (σ²_ways + σ²_seeds), with an interval from the noncentral F "
            "distribution.",
        ),
    ),
    (
        "gaps",
        (
            "Rank correlations",
            "Kendall’s τ_b = Σ s / √(pairs untied in x · pairs untied in y), with "
            "s = sign(x_i − x_j) sign(y_i − y_j), over all pairs of networks (Kendall 1945, "
            "Biometrika 33). τ_a divides by the number of all pairs instead.",
        ),
    ),
    (
        "predictors",
        (
            "Many measures",
            f"p-values are adjusted over all measures and {len(GAPS)} gaps together by Holm’s "
            "method (1979, Scandinavian Journal of Statistics 6) and, in the table, also by that "
            "of Benjamini and Hochberg (1995, Journal of the Royal Statistical Society B 57). The "
            "noise ceiling is |r| ≤ √ICC(1), drawn as τ = (2/π) arcsin r (Greiner 1909). "
            "ICC(1) = (MSB − MSW) / (MSB + (k − 1) MSW) uses the mean squares between conditions "
            "(MSB) and within them (MSW) over k seeds (Shrout and Fleiss 1979, Psychological "
            "Bulletin 86). A measure estimated with standard error SE has reliability "
            "1 − E SE² / var over networks, whose square root limits |r| in the same way "
            "(Spearman 1904, American Journal of Psychology 15).",
        ),
    ),
    (
        "granulated",
        (
            "One hyperparameter at a time",
            "ψ_i is the mean of τ_a over groups of conditions that differ only in hyperparameter "
            "i, and Ψ is the mean of ψ_i over i. K = min_S I(V_μ; V_g | U_S) / H(V_g | U_S), where "
            "V_μ and V_g are the signs of the differences in measure and gap over ordered pairs "
            "without ties. U_S are the levels, in both conditions, of a set S of at most two "
            "hyperparameters (Jiang et al., arXiv:1912.02178, section 2.2).",
        ),
    ),
    (
        "environments",
        (
            "Sign error",
            "SE = (1 − sign Δμ · sign Δg) / 2 over pairs of networks of two conditions, and ½ for "
            "a tie. For the error gap, a pair has weight (w − ½)₊ with "
            "w = max(0, 1 − 2 exp(−2 n (Δg/2)²))² for n test examples, from Hoeffding’s "
            "inequality. An environment needs a minimum effective size (Σ w)² / Σ w² (Dziugaite "
            "et al., arXiv:2010.11924, sections 4 and 5).",
        ),
    ),
    (
        "designs",
        (
            "Matched designs",
            "τ_b over only those pairs of networks that are at the same train loss, update or "
            "epoch. Values between snapshots are interpolated linearly in the logarithm of time.",
        ),
    ),
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
        *(paragraph for key, paragraph in _OF_FIGURES if key in figures),
        *filter(None, (BUILT_IN[name].methods for name in CLAIM_NEEDS if name in claims)),
    ]
