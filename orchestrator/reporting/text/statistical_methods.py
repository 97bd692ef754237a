"""The statistics of a report in words, equations and citations: those that it uses."""

from __future__ import annotations

from collections.abc import Collection

from orchestrator.reporting.data.gap_predictors import GAPS
from orchestrator.statistics.intervals.bootstrap import LEVEL, RESAMPLES
from orchestrator.statistics.matched.times import POINTS
from orchestrator.statistics.study_design import FEWEST_CONDITIONS

Paragraph = tuple[str, str]

NOTATION: Paragraph = (
    "Notation",
    "θ are the parameters of a network, W_l the weights of layer l, z its logits and y the true "
    "class. ℓ is the loss that was trained on, L = E ℓ its mean over the training examples, "
    "g = ∇L(θ), and γ = z_y − max_{j≠y} z_j the margin of an example, negative where it is "
    "misclassified. E is a mean over examples, unless it says over what.",
)
_DEFINED_GAPS: Paragraph = (
    "Gaps",
    "Loss gap = test loss − training loss; error gap = test error − training error. Both are "
    "shown, because they can disagree in sign.",
)
_INTERVALS: Paragraph = (
    "Intervals",
    f"Intervals have level {100 * LEVEL:g} %. Those of claims are under Claims; those in figures "
    "speak of the conditions of this study with other seeds. Snapshots of one network are not "
    f"independent, so these come from {RESAMPLES:,} bootstrap resamples of whole trials within "
    "their condition, k − 1 of k with weight k/(k − 1) (Rao, Wu and Yue 1992, Survey Methodology "
    "18), and reach as far as Student’s quantile times the resampled standard deviation, on "
    "Fisher’s z scale, z = arctanh r, for correlations and on a logarithmic one for ratios. Equal "
    "seeds make them repeatable.",
)
_CLAIMS: Paragraph = (
    "Claims",
    "A claim holds if its whole interval lies where it has to, fails if the whole interval lies "
    "elsewhere, and is unclear otherwise. Each condition counts alike, in it each network, in it "
    f"each snapshot. With {FEWEST_CONDITIONS} or more conditions the interval comes from leaving "
    "out one condition at a time: with θ the statistic (z = arctanh r for correlations), "
    "θ₍ᵢ₎ the one without condition i of C and θ₍·₎ their mean, V = (C − 1)/C Σ (θ₍ᵢ₎ − θ₍·₎)², "
    "and the interval reaches Student’s quantile of C − 1 degrees of freedom times √V beyond θ "
    "and θ less its bias (C − 1)(θ₍·₎ − θ), whichever lies further out (Arvesen 1969; Hinkley "
    "1978). On a grid one level of each axis with three or more levels is left out, too, and "
    "the variances of the axes are added (Cameron, Gelbach and Miller 2011); with six or more "
    "evenly spaced levels on every axis conditions suffice, and verdicts speak of the range of "
    "the grid. With fewer conditions trials are left out instead, and verdicts speak of this grid "
    "alone. A claim that does not hold with the known confounders held fixed (the logarithm of "
    "the training loss and every swept hyperparameter), or without networks that did not learn, "
    "holds as stated only. Two-sided p-values are twice the smaller one-sided p at the threshold; "
    "of parts that must all hold the largest counts (Berger 1982), of parts of which one suffices "
    "the smallest times their number. Holm’s method (1979) adjusts them for all claims together.",
)
_OF_FIGURES: tuple[tuple[str, Paragraph], ...] = (
    (
        "threshold",
        (
            "Correlations",
            "Pearson’s r = cov(x, y) / √(var x · var y). A partial r is that of what linear "
            "regressions on the quantities held fixed leave of x and of y; inside conditions "
            "it is that of trial means around the mean of their condition. Spearman’s ρ is r of "
            "mid-ranks. Without regard to trials Fisher’s interval is "
            "tanh(arctanh r ± 1.96 / √(n − 3)).",
        ),
    ),
    (
        "interventions",
        (
            "Ways of training",
            "A shift is a mean minus that under the usual training, in standard deviations inside "
            "ways of training; the share of variance that ways explain beyond seeds is "
            "σ²_ways / (σ²_ways + σ²_seeds), with the interval of the noncentral F distribution.",
        ),
    ),
    (
        "gaps",
        (
            "Rank correlations",
            "Kendall’s τ_b = Σ s / √(pairs untied in x · pairs untied in y), with "
            "s = sign(x_i − x_j) sign(y_i − y_j), over all pairs of networks (Kendall 1945, "
            "Biometrika 33). τ_a divides by all pairs instead.",
        ),
    ),
    (
        "predictors",
        (
            "Many measures",
            f"p-values are adjusted for all measures and {len(GAPS)} gaps together by Holm (1979, "
            "Scandinavian Journal of Statistics 6) and, in the table, by Benjamini and Hochberg "
            "(1995, Journal of the Royal Statistical Society B 57). The noise ceiling rests on "
            "ICC(1) = (MSB − MSW) / (MSB + (k − 1) MSW), of the mean squares between conditions "
            "and within them over k seeds (Shrout and Fleiss 1979, Psychological Bulletin 86): "
            "|r| ≤ √ICC(1), drawn as τ = (2/π) arcsin r (Greiner 1909). An estimate’s own standard "
            "error SE leaves a reliability 1 − E SE² / var, over networks, whose root limits |r| "
            "in the same way (Spearman 1904, American Journal of Psychology 15).",
        ),
    ),
    (
        "granulated",
        (
            "One hyperparameter at a time",
            "ψ_i is the mean of τ_a over groups of conditions that differ in hyperparameter i "
            "only, Ψ the mean of ψ_i over i, and K = min_S I(V_μ; V_g | U_S) / H(V_g | U_S), where "
            "V are the signs of the differences in measure and gap over ordered pairs without "
            "ties, and U_S the levels of the at most two hyperparameters S in both conditions "
            "(Jiang et al., arXiv:1912.02178, section 2.2).",
        ),
    ),
    (
        "environments",
        (
            "Sign error",
            "SE = (1 − sign Δμ · sign Δg) / 2 over pairs of networks of two conditions, ½ for a "
            "tie. For the error gap a pair weighs (w − ½)₊ with "
            "w = max(0, 1 − 2 exp(−2 n (Δg/2)²))² for n test examples, from Hoeffding’s "
            "inequality; environments need an effective size (Σ w)² / Σ w² (Dziugaite et al., "
            "arXiv:2010.11924, sections 4 and 5).",
        ),
    ),
    (
        "designs",
        (
            "Matched designs",
            "τ_b over those pairs of networks only that are at the same train loss, update or "
            "epoch; between snapshots values are interpolated, linear in the logarithm of time.",
        ),
    ),
)
_OF_CLAIMS: dict[str, Paragraph] = {
    "margin_is_cheaper": (
        "Medians",
        "The median of conditions’ medians has the exact interval of order statistics from "
        f"{FEWEST_CONDITIONS} conditions on; of a grid it speaks of this grid alone. With fewer "
        "conditions it comes from the bootstrap over trials on a logarithmic scale, with the "
        "degrees of freedom of the one or two conditions in the middle.",
    ),
    "margin_predicts_gap_at_least_as_well": (
        "Signed rank correlations",
        "τ_b over pairs of networks of different conditions. The claim needs three things of "
        "every gap: −τ(margin) − τ(trace) above its threshold, τ(margin) below 0, and τ(trace) "
        "above 0.",
    ),
    "flatness_is_an_epiphenomenon": (
        "Slopes",
        "Each way of training has its own least-squares line of log10 trace on margin (analysis "
        "of covariance). The ratio of a slope to that of the usual training has Fieller’s "
        "interval, of all ρ for which slope − ρ · usual slope could be 0; conditions that differ "
        "in the way of training alone are left out together.",
    ),
    "large_batch_needs_time": (
        "Matched time",
        "In each setting of everything else the largest and the smallest batch size are compared "
        "at the last number of updates, and at the last epoch, that all their networks reached; "
        "between snapshots values are interpolated, linear in the logarithm of time. The ratio of "
        "mean margins has Fieller’s interval. To be the same, it has to lie within the bounds "
        "(two one-sided tests, Schuirmann 1987). Shares of variance are those of batch size "
        "within points of time, less what chance puts there (ω²), relative to all variance over "
        f"networks and time, at {POINTS} times equally far apart in logarithm.",
    ),
}


def describe_statistics(figures: Collection[str], claims: Collection[str]) -> list[Paragraph]:
    """The paragraphs on statistics.

    Args:
        figures: Keys of the figures that are drawn.
        claims: Names of the claims that are judged.
    """
    return [
        _DEFINED_GAPS,
        _INTERVALS,
        *([_CLAIMS] if claims else []),
        *(paragraph for key, paragraph in _OF_FIGURES if key in figures),
        *(paragraph for name, paragraph in _OF_CLAIMS.items() if name in claims),
    ]
