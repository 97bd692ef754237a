"""Loss and error on the straight line between two networks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import chain
from math import isfinite

import torch
from torch import Tensor

from orchestrator.errors import MeasureError
from orchestrator.measures.context import MeasureContext
from orchestrator.measures.sharpness import batch_norm_statistics
from orchestrator.measures.sharpness.displaced import loss_and_error


@dataclass(frozen=True)
class LinearConnectivity:
    """Loss and error at θ_α = (1 − α) θ₁ + α θ₂.

    Attributes:
        alphas: α, evenly spaced from 0 to 1.
        train_losses: Mean loss of the measured training examples at each α.
        train_errors: Share of misclassified training examples at each α.
        test_losses: As ``train_losses``, for the test examples.
        test_errors: As ``train_errors``, for the test examples.
    """

    alphas: tuple[float, ...]
    train_losses: tuple[float, ...]
    train_errors: tuple[float, ...]
    test_losses: tuple[float, ...]
    test_errors: tuple[float, ...]

    @property
    def train_loss_barrier(self) -> float:
        """``barrier`` of the training loss."""
        return barrier(self.alphas, self.train_losses)

    @property
    def train_error_barrier(self) -> float:
        """``barrier`` of the training error."""
        return barrier(self.alphas, self.train_errors)

    @property
    def test_loss_barrier(self) -> float:
        """``barrier`` of the test loss."""
        return barrier(self.alphas, self.test_losses)

    @property
    def test_error_barrier(self) -> float:
        """``barrier`` of the test error."""
        return barrier(self.alphas, self.test_errors)


def barrier(alphas: tuple[float, ...], values: tuple[float, ...]) -> float:
    """Return the maximum over 0 < α < 1 of v(α) − [(1 − α) v(0) + α v(1)].

    This is the barrier of Entezari et al., arXiv:2110.06296, over the points between the ends, so
    it is negative if a loss is convex along the line. Frankle et al., arXiv:1912.05671, compare
    with the mean of the ends instead (error instability); the two agree if the ends are equal.

    Args:
        alphas: At least three values of α, from 0 to 1.
        values: v at each α.

    Returns:
        The barrier; NaN if any value is NaN.
    """
    first, last = values[0], values[-1]
    excess = [
        value - (first + alpha * (last - first))
        for alpha, value in zip(alphas[1:-1], values[1:-1], strict=True)
    ]
    return torch.tensor(excess, dtype=torch.float64).max().item()


def why_no_barrier(alphas: tuple[float, ...], values: tuple[float, ...]) -> str | None:
    """Return why ``barrier`` is not finite, or None if it is finite.

    >>> why_no_barrier((0.0, 0.5, 1.0), (1.0, float("nan"), 2.0))
    'not finite at 1 of 3 points, first at alpha=0.5'
    """
    if isfinite(barrier(alphas, values)):
        return None
    bad = [alpha for alpha, value in zip(alphas, values, strict=True) if not isfinite(value)]
    if not bad:
        return "differences of these values overflow"
    return f"not finite at {len(bad)} of {len(alphas)} points, first at alpha={bad[0]:g}"


def linear_connectivity(
    context: MeasureContext,
    other_state: Mapping[str, Tensor],
    points: int = 11,
    recompute_batch_norm: bool = True,
) -> LinearConnectivity:
    """Return loss and error of the networks on the line from one network to another.

    All parameters (trainable or not) and buffers of floating-point type are interpolated; other
    buffers are those of the first network. Both networks are in eval mode, in the precision of
    ``context``.

    Interpolated weights do not have interpolated statistics. With ``recompute_batch_norm``,
    batch-normalization statistics are therefore recomputed at every α, ends included, from all
    measured training examples (``batch_norm_statistics``). The ends then differ from the trained
    networks if the running averages differ from these statistics. Without it, the statistics are
    interpolated and the ends are exact.

    The result is not invariant under rescaling of layers or permutation of units, and is meant to
    reveal just these::

        found = linear_connectivity(context, other.state_dict())
        print(found.test_error_barrier)

    Cost: one forward pass of each split per point. Batch normalization adds one pass over the
    training examples per point, or one per such layer if the examples do not fit into one pass.

    Args:
        context: The first network θ₁ and the data, not changed.
        other_state: ``state_dict`` of the second network θ₂, of the same architecture.
        points: Number of α, ends included.
        recompute_batch_norm: Whether to recompute batch-normalization statistics.

    Raises:
        MeasureError: If ``points`` is less than three, or the state does not fit.
    """
    if points < 3:
        raise MeasureError(f"linear_connectivity: points is {points}, expected at least 3")
    tensors = chain(context.model.named_parameters(), context.model.named_buffers())
    kept = context.model.state_dict().keys()  # Some buffers are not part of the state.
    own = {name: tensor for name, tensor in tensors if name in kept}
    other = {name: _fitting(other_state, name, tensor) for name, tensor in own.items()}
    alphas = torch.linspace(0, 1, points, dtype=torch.float64).tolist()
    found = []
    for alpha in alphas:
        state = {name: _between(tensor, other[name], alpha) for name, tensor in own.items()}
        if recompute_batch_norm:
            batch_norm_statistics.recompute(context, state)
        found.append(
            [loss_and_error(context, state, context.data(split)) for split in ("train", "test")]
        )
    train, test = zip(*found, strict=True)
    return LinearConnectivity(
        tuple(alphas),
        tuple(at.loss for at in train),
        tuple(at.error for at in train),
        tuple(at.loss for at in test),
        tuple(at.error for at in test),
    )


def _fitting(state: Mapping[str, Tensor], name: str, tensor: Tensor) -> Tensor:
    shape = tuple(state[name].shape) if name in state else "nothing"
    if shape != tuple(tensor.shape):
        raise MeasureError(
            f"linear_connectivity: the other network has {shape} for {name!r}, expected shape "
            f"{tuple(tensor.shape)}",
            "compare networks of the same architecture",
        )
    return state[name].detach().to(device=tensor.device, dtype=tensor.dtype)


def _between(one: Tensor, other: Tensor, alpha: float) -> Tensor:
    if not one.is_floating_point():
        return one.detach().clone()
    return torch.lerp(one.detach(), other, alpha)
