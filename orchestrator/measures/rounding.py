"""Gradients that are nothing but rounding, where they should be zero.

Where the logits do not depend on the inputs (a normalization whose output is averaged, a saturated
unit), a computed gradient is seldom exactly zero. Distances that divide by it would be numbers of
any size. Two signs give such a gradient away:

* the change of the logits that it predicts over the whole length of the input is below the
  rounding of the logits themselves;
* it is another one at inputs that differ by a few units in the last place.

The second costs another pass, so it is looked for only at distances that are many times the length
of the input. Where the logits themselves are other ones at such inputs there is no distance at all.
"""

from __future__ import annotations

import torch
from torch import Tensor

from orchestrator.measures.context import MeasureContext

FAR = 1e3
"""Distances above so many lengths of the longest input are looked at again."""
UNSTEADY = 0.1
"""A gradient that changes by more than this share of its length is rounding."""
_ROUNDINGS = 32.0
_SHAKE = 8.0


def unresolved(steepness: Tensor, reach: Tensor, logits: Tensor) -> Tensor:
    """Whether a move by ``reach`` changes logits by no more than their rounding.

    Args:
        steepness: How fast they change, shape ``(n, …)``.
        reach: The length of the longest input; of length zero, nothing is known.
        logits: Of the same examples, shape ``(n, classes)``.
    """
    rounding = torch.finfo(logits.dtype).eps * logits.detach().abs().amax(dim=1)
    least = _ROUNDINGS * rounding.view(-1, *[1] * (steepness.ndim - 1))
    return (steepness * reach <= least) & (reach > 0)


def shaken(x: Tensor) -> Tensor:
    """``x`` with every number changed by some units in the last place, the same ones each time.

    Integers stay as they are.
    """
    if not x.is_floating_point():
        return x
    generator = torch.Generator().manual_seed(0)
    signs = torch.randint(0, 2, x.shape, generator=generator).to(x) * 2 - 1
    return x * (1 + _SHAKE * torch.finfo(x.dtype).eps * signs)


def set_by_rounding(context: MeasureContext, x: Tensor, logits: Tensor) -> Tensor:
    """Whether the logits of each example change with the rounding of its input.

    They do where they should all be zero, or where the network branches on a number that should be
    zero, as on the sum of a layer norm's output.

    Args:
        context: The network.
        x: Inputs, shape ``(n, *input_shape)``.
        logits: Theirs, shape ``(n, classes)``.
    """
    if not x.is_floating_point():
        return torch.zeros(len(x), dtype=torch.bool, device=x.device)
    with torch.no_grad():
        changes = context.forward(shaken(x.detach())) - logits.detach()
    return changes.abs().amax(dim=1) > UNSTEADY * logits.detach().abs().amax(dim=1)
