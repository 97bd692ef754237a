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
    """Shares of examples whose prediction does not change when inputs are moved within a ball.

    Computed on a fixed subset of each split; the variant is the norm and the radius, in the units
    of the standardized inputs, such as ``linf 0.1``.

    - ``natural_accuracy``: Pr[argmax f(x) = y] on that subset;
    - ``perturbation_stability``: Pr[argmax f(x + δ) = argmax f(x) for all δ tried], where δ
      attacks the network's own prediction (Wu et al., arXiv:2010.01279);
    - ``robust_accuracy``: Pr[argmax f(x + δ) = y for all δ tried] (Madry et al.,
      arXiv:1706.06083);
    - ``robustness_zero_gradients``: the share of examples at which every gradient is zero or only
      rounding, so that a gradient attack has no direction to follow and they look robust.

    An example is robust exactly if it is correct and stable, so natural accuracy + stability − 1
    ≤ robust accuracy ≤ both. The attack is projected gradient ascent on the lead of the best
    other class (``attack.flip``). It may miss points, so accuracy and stability are upper bounds.
    Networks with masked gradients look more robust than they are.

    Invariances: rescaling of layers, scaling of logits, permutation of units. Higher is better.
    Cost: steps times restarts gradients, shared by all measures that use the same attack.
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
        """Yield the shares of each split."""
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
                        name, nan, reason=f"{int((~finite).sum())} examples have non-finite logits"
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
