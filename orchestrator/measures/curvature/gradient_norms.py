"""Squared per-example gradient norms, layer by layer, without the gradients themselves.

For a layer that computes y = W u + b at T positions of an example, the gradient of any scalar
is Δ Uᵀ for W and Δ 1 for b. Here Δ (outputs × T) is the scalar's gradient with respect to y, and
the columns of U (inputs × T) are the inputs of W: the input itself for a linear layer (T = 1 for
vectors), its patches for a convolution (T pixels). The cheapest of these forms is used:

    ‖Δ Uᵀ‖² = ‖Δ‖² ‖U‖²            for T = 1 (Goodfellow, arXiv:1510.01799),
            = ⟨Δᵀ Δ, Uᵀ U⟩          two Gram matrices, T × T,
            = squared norm of the product, outputs × inputs.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from math import prod

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Convolution = nn.Conv1d | nn.Conv2d | nn.Conv3d
AffineLayer = nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d
BatchNorm = nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d


class LayerNorms(ABC):
    """Accumulator of squared per-example gradient norms over several scalars, for one layer.

    Args:
        module: The layer.
        inputs: The layer's inputs, ``n`` examples.

    Attributes:
        seen: Inputs of the weights, in the form required by the kind of layer.
        weight_sums: Accumulated sums for the weight.
        bias_sums: Accumulated sums for the bias, shape ``(n,)``.
    """

    seen: Tensor
    weight_sums: Tensor

    def __init__(self, module: nn.Module, inputs: Tensor) -> None:
        self.n = len(inputs)
        self.bias_sums = inputs.new_zeros(self.n)
        self.has_bias = getattr(module, "bias", None) is not None

    @property
    def numbers(self) -> int:
        """Number of stored values."""
        return self.seen.numel() + self.weight_sums.numel()

    @abstractmethod
    def add(self, delta: Tensor, sign: Tensor | None) -> None:
        """Add the gradient of one more scalar per example.

        Args:
            delta: Gradient of the scalar with respect to the layer's output.
            sign: Factor of its squared norm, shape ``(n,)``; None for 1.
        """

    @abstractmethod
    def weight(self) -> Tensor:
        """Return the sums for the weight, shape ``(n,)``."""

    def squared_norms(self) -> dict[str, Tensor]:
        """Return the sums for ``weight`` and ``bias``, each of shape ``(n,)``."""
        return {"weight": self.weight(), "bias": self.bias_sums}

    def _add_bias(self, delta: Tensor, sign: Tensor | None) -> None:
        """Add to the bias sums from ``delta`` of shape ``(n, channels, positions)``."""
        if self.has_bias:
            self.bias_sums += _signed(
                _squared_norm(delta.sum(2) if delta.shape[2] > 1 else delta), sign
            )


class AffineNorms(LayerNorms):
    """Norms for linear layers and convolutions."""

    def __init__(self, module: AffineLayer, inputs: Tensor) -> None:
        super().__init__(module, inputs)
        self.groups = 1 if isinstance(module, nn.Linear) else module.groups
        self.linear = isinstance(module, nn.Linear)
        if isinstance(module, nn.Linear):
            self.seen = inputs.reshape(self.n, -1, module.in_features).mT
        else:
            self.seen = patches(module, inputs).flatten(0, 1)
        self.positions = self.seen.shape[2]
        self.by_gram = 1 < self.positions < self.seen.shape[1]
        size = (self.positions, self.positions) if self.by_gram else ()
        self.weight_sums = inputs.new_zeros(self.n * self.groups, *size)

    def add(self, delta: Tensor, sign: Tensor | None) -> None:  # noqa: D102
        delta = delta.reshape(self.n, -1, delta.shape[-1]).mT if self.linear else delta.flatten(2)
        self._add_bias(delta, sign)
        delta = delta.reshape(self.n * self.groups, -1, self.positions)
        if sign is not None:
            sign = sign.repeat_interleave(self.groups)
        if self.positions == 1:
            self.weight_sums += _signed(_squared_norm(delta), sign)
        elif self.by_gram:
            signed = delta if sign is None else delta * sign[:, None, None]
            self.weight_sums.baddbmm_(signed.mT, delta)
        else:
            self.weight_sums += _signed(_squared_norm(delta @ self.seen.mT), sign)

    def weight(self) -> Tensor:  # noqa: D102
        sums = self.weight_sums
        if self.positions == 1:
            sums = sums * _squared_norm(self.seen)
        elif self.by_gram:
            sums = (sums * (self.seen.mT @ self.seen)).sum(dim=(1, 2))
        return sums.reshape(self.n, self.groups).sum(1)


class ScaleNorms(LayerNorms):
    """Norms for batch normalization with fixed statistics: scale and shift per channel."""

    def __init__(self, module: BatchNorm, inputs: Tensor) -> None:
        super().__init__(module, inputs)
        assert module.running_mean is not None  # noqa: S101
        assert module.running_var is not None  # noqa: S101
        deviation = (module.running_var + module.eps).sqrt()
        centered = inputs.reshape(*inputs.shape[:2], -1) - module.running_mean[:, None]
        self.seen = centered / deviation[:, None]
        self.weight_sums = inputs.new_zeros(self.n)

    def add(self, delta: Tensor, sign: Tensor | None) -> None:  # noqa: D102
        delta = delta.reshape(self.seen.shape)
        self._add_bias(delta, sign)
        self.weight_sums += _signed(_squared_norm((delta * self.seen).sum(2)), sign)

    def weight(self) -> Tensor:  # noqa: D102
        return self.weight_sums


def patches(module: Convolution, inputs: Tensor) -> Tensor:
    """Return the input patch of each output position of a convolution with one to three axes.

    Args:
        module: Convolution that defines kernel, stride, padding, dilation and groups.
        inputs: Shape ``(n, channels, *positions)``.

    Returns:
        Shape ``(n, groups, channels / groups · kernel entries, output positions)``.
    """
    axes = len(module.kernel_size)
    if module.padding == "same":
        margins = [
            (reach // 2, reach - reach // 2)
            for k, d in zip(module.kernel_size, module.dilation, strict=True)
            for reach in [(k - 1) * d]
        ]
    elif module.padding == "valid":
        margins = [(0, 0)] * axes
    else:
        margins = [(int(margin), int(margin)) for margin in module.padding]
    flat = [width for margin in reversed(margins) for width in margin]  # F.pad: last axis first
    mode = "constant" if module.padding_mode == "zeros" else module.padding_mode
    seen = F.pad(inputs, flat, mode=mode) if any(flat) else inputs
    for axis, (k, s, d) in enumerate(
        zip(module.kernel_size, module.stride, module.dilation, strict=True), start=2
    ):
        seen = seen.unfold(axis, (k - 1) * d + 1, s)[..., ::d]
    # Now (n, channels, *output positions, *kernel): move the kernel before the positions.
    order = [0, 1, *range(2 + axes, 2 + 2 * axes), *range(2, 2 + axes)]
    seen = seen.permute(order)
    positions = prod(seen.shape[2 + axes :])
    return seen.reshape(len(inputs), module.groups, -1, positions)


def _squared_norm(values: Tensor) -> Tensor:
    """Return the sum of squares over all axes but the first."""
    norms: Tensor = torch.linalg.vector_norm(values.flatten(1), dim=1)
    return norms.square()


def _signed(values: Tensor, sign: Tensor | None) -> Tensor:
    return values if sign is None else values * sign
