"""A measure of one's own, as a package that others install."""

from __future__ import annotations

from collections.abc import Iterator

from orchestrator.measures import CatalogEntry, Measure, MeasureContext, Value


class PredictionEntropy(Measure):
    """Mean entropy of the predicted class probabilities, on both splits.

    Args:
        temperature: Divides the logits; a study file gives it as
            ``{prediction_entropy: {temperature: 2}}``.
    """

    version = 1  # raise it when the values change: snapshots are then measured again
    entries = (
        CatalogEntry(
            measure="prediction_entropy",
            family="margin",
            symbol="−E_x Σ_c p_c log p_c",
            unit="nat",
            direction="neutral",
            citation="Shannon, 1948",
            cost="1 F, shared with the margins",
        ),
    )

    def __init__(self, temperature: float = 1.0) -> None:
        self.temperature = temperature

    def compute(self, context: MeasureContext) -> Iterator[Value]:
        """Yield the entropy on the training and on the test split."""
        for split in ("train", "test"):
            log_p = (context.logits(split) / self.temperature).log_softmax(dim=1)
            entropy = -(log_p.exp() * log_p).sum(dim=1).mean().item()
            yield Value("prediction_entropy", entropy, split=split)
