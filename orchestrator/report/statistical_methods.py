"""The statistics of a report in words, equations and citations: those that it uses."""

from __future__ import annotations

from collections.abc import Collection

from orchestrator.report.predictors import GAPS
from orchestrator.statistics.bootstrap import LEVEL, RESAMPLES
from orchestrator.statistics.matched_time import POINTS

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
    f"Intervals have level {100 * LEVEL:g} %. Snapshots of one network are not independent, so "
    f"they come from {RESAMPLES:,} bootstrap resamples of whole trials within their condition, "
    "k − 1 of k with weight k/(k − 1) (Rao, Wu and Yue 1992, Survey Methodology 18), and reach as "
    "far as Student’s quantile times the resampled standard deviation, on Fisher’s z scale, "
    "z = arctanh r, for correlations and on a logarithmic one for ratios. Equal seeds make them "
    "repeatable.",
)
_CLAIMS: Paragraph = (
    "Claims",
    "A claim holds if its whole interval lies where it has to, fails if the whole interval lies "
    "on the other side, and is unclear otherwise.",
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
_TIME: Paragraph = (
    "Matched time",
    "The share of variance that batch size explains is that of batch size within points of time, "
    "less what chance puts there (ω²), relative to all variance over networks and time; batch "
    "sizes are compared in pairs, over the updates and the epochs that both cover, at "
    f"{POINTS} times equally far apart in logarithm. Intervals of the difference of shares are the "
    "jackknife's over networks with Satterthwaite's degrees of freedom; in simulated studies of "
    "two to five seeds they covered it in 91 to 98 %.",
)


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
        *([_TIME] if "large_batch_needs_time" in claims else []),
    ]
