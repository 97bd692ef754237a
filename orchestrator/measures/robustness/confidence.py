"""Confidence: the distribution of the predicted probabilities."""

from __future__ import annotations

from collections.abc import Iterator
from math import nan

import torch

from orchestrator.data.dataset import Split
from orchestrator.measures.base import CatalogEntry, Curve, Direction, Measure, Value
from orchestrator.measures.context import MeasureContext
from orchestrator.study.measure_options.robustness import ConfidenceOptions

_CITATION = "Guo et al., arXiv:1706.04599, section 2"
_SUMMARY: tuple[tuple[str, str, Direction, str], ...] = (
    ("confidence_mean", "E max p", "neutral", _CITATION),
    (
        "calibration_error",
        "Σ_b n_b/n |acc_b − conf_b|",
        "lower",
        "Guo et al., arXiv:1706.04599, eq. 3",
    ),
    ("near_boundary_share", "Pr[p₁ − p₂ ≤ τ]", "lower", _CITATION),
    ("confidence_histogram", "density of max p", "neutral", _CITATION),
)


class Confidence(Measure, options=ConfidenceOptions):
    """The largest predicted probability: its mean, its histogram, and the share of near ties.

    On all measured examples of each split:

    - ``confidence_mean``: E max_c p_c;
    - ``calibration_error``: Σ_b n_b/n · |accuracy_b − confidence_b| over the bins of the
      histogram, the expected calibration error;
    - ``near_boundary_share``: Pr[p₁ − p₂ ≤ near] for the two largest probabilities, the mass
      that adversarial training concentrates at the boundary;
    - the curve ``confidence_histogram``: density of max_c p_c at the centers of the bins.

    All of them change with the scale of logits, but not under rescaling of layers. Lower is better
    for the error and the share near the boundary; confidence itself has no better direction.
    Cost: one forward pass, shared.
    """

    entries = tuple(
        CatalogEntry(name, "robustness", symbol, "1", direction, citation, "1 F", "layer rescaling")
        for name, symbol, direction, citation in _SUMMARY
    )

    curves = "always"

    def __init__(self, options: ConfidenceOptions) -> None:
        self.options = options

    def compute(self, context: MeasureContext) -> Iterator[Value | Curve]:
        """Yield the values and the histogram of each split."""
        splits: tuple[Split, ...] = ("train", "test")
        for split in splits:
            yield from self._of_split(context, split)

    def _of_split(self, context: MeasureContext, split: Split) -> Iterator[Value | Curve]:
        bins = self.options.bins
        middles = [(b + 0.5) / bins for b in range(bins)]
        p = context.logits(split).to(torch.float64).softmax(dim=1)
        if not p.isfinite().all():
            reason = "logits are not finite"
            for name in ("confidence_mean", "calibration_error", "near_boundary_share"):
                yield Value(name, nan, split=split, reason=reason)
            yield Curve("confidence_histogram", middles, [nan] * bins, split=split, reason=reason)
            return
        confidence, predicted = p.max(dim=1)
        right = (predicted == context.data.labels(split)).to(torch.float64)
        of_bin = (confidence * bins).to(torch.int64).clamp(max=bins - 1)
        sums = [
            torch.zeros(bins, dtype=torch.float64, device=p.device).index_add_(0, of_bin, column)
            for column in (torch.ones_like(right), right - confidence)
        ]
        top = p.topk(min(2, p.shape[1]), dim=1).values
        lead = top[:, 0] - (top[:, 1] if top.shape[1] > 1 else 0)
        near = (lead <= self.options.near).to(torch.float64)
        yield Value("confidence_mean", confidence.mean().item(), split=split)
        yield Value("calibration_error", sums[1].abs().sum().item() / len(p), split=split)
        yield Value("near_boundary_share", near.mean().item(), split=split)
        density = sums[0] * bins / len(p)
        yield Curve("confidence_histogram", middles, density.tolist(), split=split)
