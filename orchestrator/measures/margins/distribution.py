"""The distribution of the training margins, and the examples at its lower end."""

from __future__ import annotations

from collections.abc import Iterator
from math import nan

import numpy as np
import torch
from torch import Tensor

from orchestrator.measures.base import CatalogEntry, Curve, Measure, Value
from orchestrator.measures.context import MeasureContext
from orchestrator.measures.margins.output_margins import margins, normalized_margins
from orchestrator.study.measure_options.margins import MarginDistributionOptions

_ENTRIES = (
    ("margin_iqr", "75th − 25th percentile of γ", "logit"),
    ("margin_quantiles", "quantiles of γ", "logit"),
    ("smallest_margins", "γ_i of the examples with the smallest", "logit"),
    ("smallest_margin_predictions", "argmax_c z_ic of the same examples", "class"),
)


class MarginDistribution(Measure, options=MarginDistributionOptions):
    """Quantiles of the output margins of the training examples, and the smallest margins.

    - the curve ``margin_quantiles``: the margin at each of ``quantiles`` evenly spaced
      probabilities from 0 to 1, interpolated as in ``margin_median``;
    - the curve ``smallest_margins``: the ``smallest`` examples with the smallest margins, in
      ascending order; x is the position of the example in the training split (as built by the
      study's data options, counted from 0), the value its margin. Ties are ordered by position;
    - the curve ``smallest_margin_predictions``: the class with the largest logit for each of
      these examples;
    - ``margin_iqr``: the interquartile range, a measure of spread that is robust to outliers.

    The variant is the ``normalization``, as in :class:`Margin`. If its divisor is undefined, the
    margins are NaN with the reason, and the examples are simply the first of the split.

    Invariances: those of :class:`Margin`. The spread grows with the logit scale and by itself says
    nothing about generalization. Cost: one forward pass, shared.
    """

    entries = tuple(
        CatalogEntry(
            measure=name,
            family="margin",
            symbol=symbol,
            unit=unit,
            direction="neutral",
            citation="Jiang et al., arXiv:1810.00113; Bartlett et al., arXiv:1706.08498",
            cost="1 F",
            invariances="layer rescaling (as margin), logit scale (as margin)",
        )
        for name, symbol, unit in _ENTRIES
    )

    version = 2
    curves = "always"

    def __init__(self, options: MarginDistributionOptions) -> None:
        self.options = options

    def compute(self, context: MeasureContext) -> Iterator[Value | Curve]:
        """Yield the spread and the three curves.

        Raises:
            MeasureError: If the network has only one class.
        """
        variant = self.options.normalization
        logits, labels = context.logits("train"), context.data.labels("train")
        found, reason = normalized_margins(context, "train", margins(logits, labels), variant)
        values = found.cpu().numpy()
        if reason is None and np.isnan(values).any():
            reason = f"{np.isnan(values).sum()} margins are NaN"
        probabilities = np.linspace(0, 1, self.options.quantiles)
        with np.errstate(invalid="ignore"):
            quantiles = np.quantile(values, probabilities)
            low, high = np.quantile(values, [0.25, 0.75])
            yield Value("margin_iqr", float(high - low), variant=variant, reason=reason)
        yield Curve(
            "margin_quantiles",
            probabilities.tolist(),
            quantiles.tolist(),
            variant=variant,
            reason=reason,
        )
        least = np.argsort(values, kind="stable")[: self.options.smallest]
        places = context.data.positions("train").numpy()[least].astype(np.float64).tolist()
        smallest = values[least].tolist()
        yield Curve("smallest_margins", places, smallest, variant=variant, reason=reason)
        predictions = _predictions(logits).cpu().numpy()[least]
        unknown = "logits are NaN" if np.isnan(predictions).any() else None
        yield Curve(
            "smallest_margin_predictions",
            places,
            predictions.tolist(),
            variant=variant,
            reason=unknown,
        )


def _predictions(logits: Tensor) -> Tensor:
    """Return the class with the largest logit, as float64; NaN if any logit is NaN."""
    classes = logits.argmax(dim=1).to(torch.float64)
    return classes.masked_fill(logits.isnan().any(dim=1), nan)
