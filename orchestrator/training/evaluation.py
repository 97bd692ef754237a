"""Loss and error over a whole split."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from orchestrator.models.input_writers import may_write_into_inputs
from orchestrator.training.losses import Loss

EXAMPLES_PER_PASS = 1024
"""Maximum number of examples per forward pass; the result does not depend on it."""
_ALIGNMENT = 64  # Bytes.


@dataclass(frozen=True)
class SplitMetrics:
    """Loss and error of a network on one split.

    Attributes:
        loss: Mean loss over the examples.
        error: Share of examples whose highest logit belongs to another class, in [0, 1].
    """

    loss: float
    error: float


@torch.no_grad()
def evaluate(model: nn.Module, inputs: Tensor, labels: Tensor, loss: Loss) -> SplitMetrics:
    """Evaluate a network in eval mode (running statistics, no dropout).

    Logits are computed in the network's own float32, as in training. All later computations are in
    float64: in float32, the cross-entropy of a correct answer is exactly 0 above a margin of 17,
    and a sum over many examples loses digits. Every example has the same weight, however the
    examples are split into passes.

    Args:
        model: The network, which is left in eval mode.
        inputs: Shape ``(n, *input_shape)``. Networks that may modify their inputs get copies.
        labels: Shape ``(n,)``.
        loss: The training loss.
    """
    model.eval()
    copy = may_write_into_inputs(model)
    total = torch.zeros((), dtype=torch.float64, device=inputs.device)
    wrong = torch.zeros((), dtype=torch.int64, device=inputs.device)
    for start in range(0, len(labels), EXAMPLES_PER_PASS):
        here = slice(start, start + EXAMPLES_PER_PASS)
        logits = model(inputs[here].clone() if copy else _aligned(inputs[here])).double()
        total += loss.per_example(logits, labels[here]).sum()
        wrong += (logits.argmax(dim=1) != labels[here]).sum()
    return SplitMetrics(total.item() / len(labels), wrong.item() / len(labels))


def _aligned(examples: Tensor) -> Tensor:
    """Return the examples, aligned so that matrix products give equal bits in every process."""
    return examples if examples.data_ptr() % _ALIGNMENT == 0 else examples.clone()
