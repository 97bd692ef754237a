"""Detection of gradients that should be zero and consist only of rounding errors.

If the logits do not depend on the inputs (a normalization whose output is averaged, a saturated
unit), the computed gradient is seldom exactly zero. Distances obtained by dividing by it would be
arbitrary. Two criteria detect such a gradient:

* The change of the logits that it predicts over the whole length of the input is below the
  rounding of the logits themselves.
* The gradient changes at inputs that differ by a few units in the last place.

The second criterion costs another pass, so it is tested only for distances many times the length
of the input. If the logits themselves change at such inputs, the distance is undefined.
"""

from __future__ import annotations

import torch
from torch import Tensor

from orchestrator.measures.context import MeasureContext

FAR = 1e3
"""Distances are checked above this multiple of the length of the longest input."""
UNSTEADY = 0.1
"""Fraction of its length above which a change marks a gradient as rounding."""
_ROUNDINGS = 32.0
_SHAKE = 8.0


def unresolved(steepness: Tensor, reach: Tensor, logits: Tensor) -> Tensor:
    """Whether a step of length ``reach`` changes logits by no more than their rounding.

    Args:
        steepness: Rate of change of the logits, shape ``(n, …)``.
        reach: Length of the longest input; if zero, the result is False.
        logits: Logits of the same examples, shape ``(n, classes)``.
    """
    rounding = torch.finfo(logits.dtype).eps * logits.detach().abs().amax(dim=1)
    least = _ROUNDINGS * rounding.view(-1, *[1] * (steepness.ndim - 1))
    return (steepness * reach <= least) & (reach > 0)


def shaken(x: Tensor) -> Tensor:
    """Return ``x`` with every number changed by a few units in the last place, reproducibly.

    Integers stay unchanged.
    """
    if not x.is_floating_point():
        return x
    generator = torch.Generator().manual_seed(0)
    signs = torch.randint(0, 2, x.shape, generator=generator).to(x) * 2 - 1
    return x * (1 + _SHAKE * torch.finfo(x.dtype).eps * signs)


def set_by_rounding(context: MeasureContext, x: Tensor, logits: Tensor) -> Tensor:
    """Whether the logits of each example change with the rounding of its input.

    This happens if all logits should be zero, or if the network branches on a number that should
    be zero, such as the sum of a layer norm's output.

    Args:
        context: The network.
        x: Inputs, shape ``(n, *input_shape)``.
        logits: Their logits, shape ``(n, classes)``.
    """
    if not x.is_floating_point():
        return torch.zeros(len(x), dtype=torch.bool, device=x.device)
    with torch.no_grad():
        changes = context.forward(shaken(x.detach())) - logits.detach()
    return changes.abs().amax(dim=1) > UNSTEADY * logits.detach().abs().amax(dim=1)
