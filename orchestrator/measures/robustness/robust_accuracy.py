"""Accuracy and stability under an attack."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from math import nan

import torch
from torch import Tensor

from orchestrator.data.dataset import Split
from orchestrator.measures.base import CatalogEntry, Measure, Value
from orchestrator.measures.context import MeasureContext
from orchestrator.measures.robustness.attack import Settings, attacked
from orchestrator.measures.robustness.inputs import (
    chosen_inputs,
    logits_of,
    zero_gradient_entry,
    zero_gradient_value,
)
from orchestrator.measures.trust.finding import INPUT_GRADIENTS
from orchestrator.study.measure_options.robustness import RobustnessOptions

_COST = "steps · restarts G over the examples chosen"
_NAMES = (
    "natural_accuracy",
    "perturbation_stability",
    "robust_accuracy",
    "robustness_zero_gradients",
)


class Robustness(Measure, options=RobustnessOptions):
    """Shares of examples that stay as they are when inputs are moved within a ball.

    On a fixed subset of each split; the variant is the norm and the radius, in the units of the
    standardized inputs, like ``linf 0.1``.

    - ``natural_accuracy``: Pr[argmax f(x) = y] on that subset;
    - ``perturbation_stability``: Pr[argmax f(x + δ) = argmax f(x) for all δ that were tried],
      with δ away from the network's own prediction (Wu et al., arXiv:2010.01279);
    - ``robust_accuracy``: Pr[argmax f(x + δ) = y for all δ that were tried] (Madry et al.,
      arXiv:1706.06083);
    - ``robustness_zero_gradients``: the share of examples in which every gradient is zero or
      rounding alone, so that an attack by gradients has no way to go and they look robust.

    Example by example, robust means correct and stable, so that natural accuracy + stability − 1
    ≤ robust accuracy ≤ both. The attack is projected gradient ascent on the lead of the best
    other class (``attack.flip``), and finds what it finds: accuracy and stability are upper
    bounds. Networks that hide their gradients look more robust than they are.

    Invariances: rescaling of layers, scaling of logits, permutation of units. Higher is better.
    Cost: steps times restarts gradients, shared with what asks for the same attack.
    """

    entries = (
        *(
            CatalogEntry(
                name,
                "robustness",
                symbol,
                "1",
                "higher",
                citation,
                cost,
                "layer rescaling, logit scale",
            )
            for name, symbol, citation, cost in (
                ("natural_accuracy", "Pr[f(x) = y]", "Madry et al., arXiv:1706.06083", "1 F"),
                (
                    "perturbation_stability",
                    "Pr[∀δ: f(x + δ) = f(x)]",
                    "Wu et al., arXiv:2010.01279",
                    _COST,
                ),
                (
                    "robust_accuracy",
                    "Pr[∀δ: f(x + δ) = y]",
                    "Madry et al., arXiv:1706.06083",
                    _COST,
                ),
            )
        ),
        zero_gradient_entry("robustness"),
    )

    version = 4
    requires = INPUT_GRADIENTS

    def __init__(self, options: RobustnessOptions) -> None:
        self.options = options

    def compute(self, context: MeasureContext) -> Iterator[Value]:
        """Yield the three shares of each split."""
        options = self.options
        settings = Settings(options.norm, options.steps, options.restarts)
        variant = f"{options.norm} {options.radius:g}"
        splits: tuple[Split, ...] = ("train", "test")
        for split in splits:
            inputs = chosen_inputs(context, split, options.examples)
            value = partial(Value, variant=variant, split=split, n_examples=len(inputs))
            finite = logits_of(context, inputs.x).isfinite().all(dim=1)
            if not finite.all():
                for name in _NAMES:
                    yield value(
                        name, nan, reason=f"logits of {int((~finite).sum())} examples aren't finite"
                    )
                continue
            found = attacked(context, split, options.examples, settings, options.radius)
            stable = ~found.flipped
            yield value("natural_accuracy", _share(found.correct))
            yield value("perturbation_stability", _share(stable))
            yield value("robust_accuracy", _share(found.correct & stable))
            yield zero_gradient_value(context, inputs, "robustness", variant)


def _share(which: Tensor) -> float:
    return which.to(torch.float64).mean().item()
