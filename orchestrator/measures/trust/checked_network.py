"""Subject of the checks: a few real examples and a copy of the network with perturbed weights.

Freshly initialized weights are special: zero biases put ReLU units exactly on their kink for blank
images, and a zero last layer hides all layers before it. The checks therefore perturb the weights
slightly at random; they test a property of the code, not of the weights.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from orchestrator.data.dataset import Dataset
from orchestrator.data.stratification import stratified_order
from orchestrator.errors import named_error
from orchestrator.measures.context import MeasureContext
from orchestrator.models.shared_tensors import copy_with_ties
from orchestrator.random_streams import stream_seed

MOST_EXAMPLES = 100
_LEAST_EXAMPLES = 8
_MOST_NUMBERS = 2**21  # Over all inputs together: large examples need large networks.
_RELATIVE_MOVE, _LEAST_MOVE = 1e-2, 1e-3


def stream(purpose: str) -> torch.Generator:
    """Return a separate CPU generator for one purpose of the checks."""
    return torch.Generator().manual_seed(stream_seed(0, "trust_checks", purpose))


def sampled(dataset: Dataset, most: int = MOST_EXAMPLES) -> Dataset:
    """Copy a few examples of each split, stratified by class."""

    def chosen(inputs: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        numbers = max(1, inputs[:1].numel())
        n = min(most, max(_LEAST_EXAMPLES, _MOST_NUMBERS // numbers))
        order = stratified_order(labels, stream_seed(0, "trust_checks", "examples"))
        places = order[:n].sort().values
        return inputs[places.to(inputs.device)].clone(), labels[places.to(labels.device)].clone()

    train_x, train_y = chosen(dataset.train_x, dataset.train_y)
    test_x, test_y = chosen(dataset.test_x, dataset.test_y)
    return replace(dataset, train_x=train_x, train_y=train_y, test_x=test_x, test_y=test_y)


@dataclass(frozen=True)
class Subject:
    """A network prepared for the checks.

    Attributes:
        dataset: Copies of at most :data:`MOST_EXAMPLES` examples per split.
        measured: Context of the network with perturbed weights, in the precision of measuring.
        logits: Logits of its training examples in one pass; None if the network raised.
        raised: Exception that the network raised, if any.
        double: Context of the same network in float64; None if its logits are not float64.
        why_not_double: Why ``double`` is None.
    """

    dataset: Dataset
    measured: MeasureContext
    logits: Tensor | None
    raised: Exception | None
    double: MeasureContext | None
    why_not_double: str | None = None

    @classmethod
    def of(cls, context: MeasureContext) -> Subject:
        """Build the subject for the network and data of ``context``, which is not modified."""
        (train_x, train_y), (test_x, test_y) = context.data("train"), context.data("test")
        everything = Dataset("", train_x, train_y, test_x, test_y, context.classes, "")
        dataset = sampled(everything, min(MOST_EXAMPLES, context.data.examples_per_pass))
        measured, logits, raised = _first_pass(context, dataset)
        double, seen = measured, logits
        if context.dtype != torch.float64:
            double = _context(measured.model, dataset, context, torch.float64)
            try:
                seen = inputs_pass(double)
            except Exception as error:
                reason = f"it does not run in float64: {named_error(error)}"
                return cls(dataset, measured, logits, raised, None, reason.partition("\n")[0])
        if seen is not None and seen.dtype != torch.float64:
            reason = f"its logits are {str(seen.dtype).removeprefix('torch.')} even in float64"
            return cls(dataset, measured, logits, raised, None, reason)
        return cls(dataset, measured, logits, raised, double)

    def part(self, start: int, n: int) -> MeasureContext:
        """Return a float64 context with only ``n`` examples, from ``start`` on, cyclically."""
        double = self.measured if self.double is None else self.double
        x, y = self.dataset.train_x, self.dataset.train_y
        places = torch.arange(start, start + min(n, len(y)), device=y.device) % len(y)
        few = replace(self.dataset, train_x=x[places], train_y=y[places])
        return _context(double.model, few, double, double.dtype)

    def first_pass(self) -> Tensor:
        """Return the logits.

        Raises:
            Exception: The network's own exception.
        """
        if self.logits is None:
            raise self.raised or RuntimeError("no logits")
        return self.logits


def inputs_pass(context: MeasureContext) -> Tensor:
    """Return the logits of all training examples in one pass, without graph."""
    inputs, _ = next(context.data.batches("train"))
    with torch.no_grad():
        return context.forward(inputs.clone())


def _context(
    model: nn.Module, dataset: Dataset, like: MeasureContext, dtype: torch.dtype
) -> MeasureContext:
    return MeasureContext(model, dataset, like.loss, device=like.device, dtype=dtype)


def _first_pass(
    context: MeasureContext, dataset: Dataset
) -> tuple[MeasureContext, Tensor | None, Exception | None]:
    """Return the network, perturbed unless its logits are then not finite, and its logits."""
    found: tuple[MeasureContext, Tensor | None, Exception | None]
    for model in (_moved(context.model), context.model):
        own = sampled(dataset)  # A copy, to detect writes by passes.
        tried = _context(model, own, context, context.dtype)
        try:
            logits = inputs_pass(tried)
        except Exception as error:
            found = tried, None, error
            continue
        found = tried, logits, None
        if logits.isfinite().all():
            break
    return found


def _moved(model: nn.Module) -> nn.Module:
    """Return a copy with weights perturbed in place, so that tied weights stay tied."""
    moved, generator = copy_with_ties(model, "the network"), stream("moved")
    with torch.no_grad():
        for parameter in moved.parameters():
            size = parameter.abs().double().square().mean().sqrt() if parameter.numel() else 0.0
            noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            step = (_RELATIVE_MOVE * size + _LEAST_MOVE) * noise.to(parameter.device)
            parameter.add_(step.to(parameter.dtype))
    return moved
