"""Loss and error over a whole split."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from orchestrator.training.losses import Loss

EXAMPLES_PER_PASS = 1024
"""Most examples of one forward pass; the result does not depend on it."""
_ALIGNMENT = 64  # Bytes.


@dataclass(frozen=True)
class SplitMetrics:
    """How a network does on one split.

    Attributes:
        loss: Mean loss over the examples.
        error: Share of examples whose highest logit is another class's, in [0, 1].
    """

    loss: float
    error: float


@torch.no_grad()
def evaluate(model: nn.Module, inputs: Tensor, labels: Tensor, loss: Loss) -> SplitMetrics:
    """Evaluate a network in eval mode (running statistics, no dropout).

    Logits are computed in the network's own float32, as they are in training. From there on
    everything is in float64: the cross-entropy of a right answer is exactly 0 in float32 from
    a margin of 17 on, and a sum over many examples loses digits. Every example weighs the same,
    however they are split into passes.

    Args:
        model: Is left in eval mode.
        inputs: Shape ``(n, *input_shape)``.
        labels: Shape ``(n,)``.
        loss: The loss that is trained on.
    """
    model.eval()
    total = torch.zeros((), dtype=torch.float64, device=inputs.device)
    wrong = torch.zeros((), dtype=torch.int64, device=inputs.device)
    for start in range(0, len(labels), EXAMPLES_PER_PASS):
        here = slice(start, start + EXAMPLES_PER_PASS)
        logits = model(_aligned(inputs[here])).double()
        total += loss.per_example(logits, labels[here]).sum()
        wrong += (logits.argmax(dim=1) != labels[here]).sum()
    return SplitMetrics(total.item() / len(labels), wrong.item() / len(labels))


def _aligned(examples: Tensor) -> Tensor:
    """The examples where matrix products give the same bits in every process."""
    return examples if examples.data_ptr() % _ALIGNMENT == 0 else examples.clone()
