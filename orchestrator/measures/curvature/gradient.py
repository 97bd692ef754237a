"""The norm of the gradient."""

from __future__ import annotations

from collections.abc import Iterator

from orchestrator.data.dataset import Split
from orchestrator.measures.base import CatalogEntry, Measure, Value
from orchestrator.measures.context import MeasureContext
from orchestrator.measures.scaling import norm
from orchestrator.measures.trust.finding import PARAMETER_GRADIENTS
from orchestrator.study.measure_options.curvature import GradientNormOptions


class GradientNorm(Measure, options=GradientNormOptions):
    """‖∇L(θ)‖₂ of the mean loss over the whole split.

    On the training split it shows how far a network is from a stationary point, which is needed
    to interpret curvature. On the test split it has no such meaning and is only a diagnostic.

    Invariances: none under rescaling of layers or scaling of logits. Lower is flatter to first
    order. Cost: one gradient per split; the training gradient is shared.
    """

    needs = frozenset({"gradient_graph"})
    requires = PARAMETER_GRADIENTS
    version = 2
    entries = (
        CatalogEntry(
            measure="gradient_norm",
            family="flatness",
            symbol="‖∇L(θ)‖₂",
            unit="loss / weight",
            direction="lower",
            citation="Zhao, Zhang, Hu, arXiv:2202.03599",
            cost="1 G per split",
        ),
    )

    def __init__(self, options: GradientNormOptions) -> None:
        del options  # unused: this measure has no options

    def compute(self, context: MeasureContext) -> Iterator[Value]:
        """Yield the norm on train and on test."""
        splits: tuple[Split, ...] = ("train", "test")
        for split in splits:
            yield Value("gradient_norm", norm(context.gradient(split)), split=split)
