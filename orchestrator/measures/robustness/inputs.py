"""The examples whose inputs are moved, and the quantities shared by measures that do so."""

from __future__ import annotations

from dataclasses import dataclass
from math import isnan, nan

import torch
from torch import Tensor

from orchestrator.data.dataset import Split
from orchestrator.errors import MeasureError
from orchestrator.measures.base import CatalogEntry, Value
from orchestrator.measures.context import MeasureContext
from orchestrator.measures.measured_examples import moved_places
from orchestrator.measures.network import in_precision
from orchestrator.measures.robustness.ball import lengths
from orchestrator.measures.rounding import FAR, UNSTEADY, shaken, unresolved


@dataclass(frozen=True)
class Inputs:
    """Some examples of one split.

    Attributes:
        split: Split of the examples.
        x: Inputs, shape ``(n, *input_shape)``, in the context's precision and in the standardized
            units that the network receives.
        y: Labels, shape ``(n,)``.
    """

    split: Split
    x: Tensor
    y: Tensor

    def __len__(self) -> int:
        return len(self.y)


def chosen_inputs(context: MeasureContext, split: Split, examples: int) -> Inputs:
    """Return at most ``examples`` measured examples: a stratified subset, equal for all networks.

    Raises:
        MeasureError: If inputs are not real numbers but, for example, token ids.
    """

    def choose() -> Inputs:
        x, y = context.data(split)
        if not x.is_floating_point():
            raise MeasureError(
                f"inputs are of type {str(x.dtype).removeprefix('torch.')} (such as token ids), "
                "not real numbers: small displacements of them and distances between them are "
                "meaningless"
            )
        if examples < len(y):
            chosen = moved_places(y, split, examples)
            context.data.subsets[split, examples] = context.data.positions(split)[chosen.cpu()]
            x, y = x[chosen.to(x.device)], y[chosen.to(y.device)]
        return Inputs(split, in_precision(x, context.dtype), y)

    return context.shared(("inputs", split, examples), choose)


def logits_of(context: MeasureContext, x: Tensor) -> Tensor:
    """Return the logits of inputs, shape ``(n, classes)``, without gradient, pass by pass."""
    with torch.no_grad():
        return torch.cat([context.forward(part) for (part,) in context.data.in_passes(x)])


def zero_gradient_entry(measure: str) -> CatalogEntry:
    """Return the catalog entry of ``zero_gradient_share``, as a value of ``measure``."""
    return CatalogEntry(
        f"{measure}_zero_gradients",
        "robustness",
        "Pr[∇_x f(x) = 0]",
        "1",
        "neutral",
        "Athalye, Carlini, Wagner, arXiv:1802.00420, section 3",
        "1 G over the examples chosen",
        "layer rescaling, logit scale",
    )


def zero_gradient_value(
    context: MeasureContext, inputs: Inputs, measure: str, variant: str
) -> Value:
    """Return ``zero_gradient_share`` as a value of ``measure``."""
    share = zero_gradient_share(context, inputs)
    reason = "gradients with respect to the inputs are not finite" if isnan(share) else None
    return Value(
        f"{measure}_zero_gradients",
        share,
        variant=variant,
        split=inputs.split,
        n_examples=len(inputs),
        reason=reason,
    )


def zero_gradient_share(context: MeasureContext, inputs: Inputs) -> float:
    """Return the share of inputs at which the gradient of every logit is zero or only rounding.

    The share is NaN if a gradient is not finite. An attack finds no direction for such inputs,
    so they look robust regardless of the network. The result is shared by all calls with the same
    inputs.
    """

    def compute() -> float:
        generator = context.generator("zero_gradients")
        weights = torch.rand(context.classes, generator=generator, dtype=torch.float64)
        zeros = 0
        for (x,) in context.data.in_passes(inputs.x):
            logits, found = _weighted_gradient(context, x, weights)
            if not found.isfinite().all():
                return nan
            steepness, reach = lengths(found, "l2"), lengths(x, "l2").max()
            flat = (steepness == 0) | unresolved(steepness, reach, logits)
            far = ~flat & (logits.abs().amax(dim=1) > FAR * reach * steepness)
            if far.any():
                _, again = _weighted_gradient(context, shaken(x), weights)
                flat |= far & (lengths(again - found, "l2") > UNSTEADY * steepness)
            zeros += int(flat.sum())
        return zeros / len(inputs)

    return context.shared(("zero_gradient_share", inputs.split, len(inputs)), compute)


def _weighted_gradient(
    context: MeasureContext, x: Tensor, weights: Tensor
) -> tuple[Tensor, Tensor]:
    """Return the logits, and the gradient of a weighted sum of each example's logits."""
    with torch.enable_grad():
        at = x.detach().clone().requires_grad_()
        logits = context.forward(at)
        found = _gradient((logits * weights.to(at)).sum(), at)
    return logits.detach(), found


def _gradient(total: Tensor, at: Tensor) -> Tensor:
    if not total.requires_grad:
        return torch.zeros_like(at)
    (found,) = torch.autograd.grad(total, at, allow_unused=True, materialize_grads=True)
    return found


def lead(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the lead of ``labels`` over the best other class, z_y − max_{j≠y} z_j, ``(n,)``."""
    own = logits.gather(1, labels[:, None])[:, 0]
    return own - logits.scatter(1, labels[:, None], -torch.inf).amax(dim=1)
