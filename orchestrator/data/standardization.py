"""Standardization to zero mean and unit variance per channel of the training split."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

_EXAMPLES_PER_CHUNK = 1000
_RELATIVE_ROUNDING = 1e-6


def channel_statistics(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and standard deviation of each channel over all examples and positions.

    Inputs of shape ``(n, features)`` count as one channel, so features on a common scale keep
    their relation. Users should standardize features on different scales themselves. NumPy sums
    in float64 and in a fixed order, so results do not depend on the number of threads.

    Args:
        x: Shape ``(n, features)`` or ``(n, channels, …)``.

    Returns:
        Two float32 tensors that broadcast over ``x``. The deviation of a channel that is
        constant up to rounding is set to one, so that it becomes zero without a division by zero.
    """
    channels = 1 if x.ndim == 2 else x.shape[1]
    per_channel = x.numel() // channels
    mean = sum(rows.sum(axis=(0, 2)) for rows in _chunks(x, channels)) / per_channel
    squares = sum(((rows - mean[:, None]) ** 2).sum(axis=(0, 2)) for rows in _chunks(x, channels))
    deviation = np.sqrt(squares / per_channel)
    deviation[deviation <= _RELATIVE_ROUNDING * np.abs(mean)] = 1.0
    shape = (1, channels) + (1,) * (x.ndim - 2)
    return (
        torch.from_numpy(mean.astype(np.float32)).reshape(shape),
        torch.from_numpy(deviation.astype(np.float32)).reshape(shape),
    )


def _chunks(x: Tensor, channels: int) -> Iterator[NDArray[np.float64]]:
    """Yield chunks of ``(examples, channels, positions)``, small enough to bound memory."""
    array = x.numpy()
    for start in range(0, len(array), _EXAMPLES_PER_CHUNK):
        chunk = array[start : start + _EXAMPLES_PER_CHUNK]
        yield chunk.reshape(len(chunk), channels, -1).astype(np.float64)


def standardize(train_x: Tensor, test_x: Tensor) -> None:
    """Standardize both splits in place with the statistics of the training split.

    Args:
        train_x: Shape ``(n, features)`` or ``(n, channels, …)``, float32, on the CPU.
        test_x: Test inputs, like ``train_x``.
    """
    mean, deviation = channel_statistics(train_x)
    for x in (train_x, test_x):
        x.sub_(mean).div_(deviation)
