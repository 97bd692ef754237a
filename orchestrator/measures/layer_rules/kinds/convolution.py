"""Convolutions over one to three axes.

The k filters of k directions are applied as one convolution whose channels lie side by side, within
each group. Padding that the convolution itself cannot do comes first, as a linear map.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from orchestrator.measures.layer_rules.kinds.linear_maps import LinearMap
from orchestrator.measures.layer_rules.layer_call import LayerCall, Parts, Source, merged, rule_of
from orchestrator.measures.layer_rules.layer_call import split as split_rows

_CONVOLVE = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}


@rule_of(nn.Conv1d, nn.Conv2d, nn.Conv3d)
class Convolution(LayerCall):
    """z = W * a + b."""

    def __init__(self, source: Source) -> None:
        super().__init__(source)
        module: Any = source.module
        self.groups = module.groups
        before = margins(module)
        plain = module.padding_mode == "zeros" and all(low == high for low, high in before)
        self.padding = [low if plain else 0 for low, _ in before]
        self.stride, self.dilation = list(module.stride), list(module.dilation)
        self.padded: LinearMap | None = None
        if not plain:
            mode = "constant" if module.padding_mode == "zeros" else module.padding_mode
            widths = [width for margin in reversed(before) for width in margin]
            pad = Source(lambda a: F.pad(a, widths, mode=mode), needed=source.needed)
            self.padded = LinearMap(pad)

    def forward(self, *inputs: Tensor) -> Tensor:  # noqa: D102
        (a,) = inputs
        if a.ndim != self.weight.ndim:
            raise self.unknown("is not applied to a batch")
        self.a = a if self.padded is None else self.padded.forward(a)
        return self._convolve(self.a, self.weight, self.bias)

    def arrive(self, delta: Tensor) -> None:  # noqa: D102
        self.delta = delta

    def tangent(self, inputs: Sequence[Tensor | None], directions: Parts) -> Tensor:  # noqa: D102
        change = self._padded(inputs)
        result = None
        if change is not None:
            result = split_rows(self._convolve(merged(change), self.weight, None), len(change))
        if "weight" in self.trained:
            v = directions[self.trained["weight"]]
            rows = self._apart(self._convolve(self.a, self._outputs_together(v), None), len(v))
            result = rows.contiguous() if result is None else result.add_(rows)
        if "bias" in self.trained:
            v = directions[self.trained["bias"]]
            v = v.view(len(v), 1, -1, *[1] * (self.a.ndim - 2))
            if result is None:
                shape = (len(v), *self._convolve(self.a, self.weight, None).shape)
                result = v.new_zeros(shape)
            result.add_(v)
        assert result is not None  # noqa: S101
        return result

    def transposed(  # noqa: D102
        self, delta: Tensor, gradients: Parts
    ) -> Sequence[Tensor | None]:
        k = len(delta)
        if "weight" in self.trained:
            found = self._weight_gradient(self._together(delta), self.a, k * len(self.weight))
            groups = found.view(self.groups, k, -1, *self.weight.shape[1:])
            gradient = gradients[self.trained["weight"]]
            gradient.add_(groups.transpose(0, 1).reshape(gradient.shape))
        if "bias" in self.trained:
            gradients[self.trained["bias"]].add_(delta.flatten(3).sum((1, 3)))
        if not self.needed[0]:
            return [None]
        back = self._input_gradient(merged(delta), self.weight, self.a.shape[1])
        return self._unpadded(split_rows(back, k))

    def second(  # noqa: D102
        self, inputs: Sequence[Tensor | None], directions: Parts, gradients: Parts
    ) -> Sequence[Tensor | None] | None:
        change = self._padded(inputs)
        if change is None or "weight" not in self.trained:
            return None
        v = directions[self.trained["weight"]]
        k, outputs, per_group, kernel = len(v), v.shape[1], v.shape[2], v.shape[3:]
        found = self._weight_gradient(self.delta, self._together(change), outputs)
        found = found.view(outputs, k, per_group, *kernel)
        gradients[self.trained["weight"]].add_(found.transpose(0, 1))
        filters = v.transpose(0, 1).reshape(outputs, k * per_group, *kernel)
        back = self._input_gradient(self.delta, filters, k * self.a.shape[1])
        return self._unpadded(self._apart(back, k))

    def _padded(self, inputs: Sequence[Tensor | None]) -> Tensor | None:
        return inputs[0] if self.padded is None else self.padded.map(inputs[0])

    def _unpadded(self, delta: Tensor) -> Sequence[Tensor | None]:
        return [delta] if self.padded is None else self.padded.transposed(delta, [])

    def _outputs_together(self, v: Tensor) -> Tensor:
        """Return k filters ``(k, outputs, …)`` as one with k times the outputs in each group."""
        grouped = v.view(len(v), self.groups, -1, *v.shape[2:])
        return grouped.transpose(0, 1).reshape(-1, *v.shape[2:])

    def _together(self, rows: Tensor) -> Tensor:
        """Return ``(k, n, channels, …)`` as ``(n, k · channels, …)``, k times within each group."""
        grouped = rows.reshape(*rows.shape[:2], self.groups, -1, *rows.shape[3:])
        return grouped.movedim(0, 2).flatten(1, 3)

    def _apart(self, rows: Tensor, k: int) -> Tensor:
        """Undo :meth:`_together`."""
        grouped = rows.reshape(len(rows), self.groups, k, -1, *rows.shape[2:])
        return grouped.movedim(2, 0).flatten(2, 3)

    def _convolve(self, a: Tensor, filters: Tensor, bias: Tensor | None) -> Tensor:
        convolve = _CONVOLVE[self.weight.ndim - 2]
        return convolve(a, filters, bias, self.stride, self.padding, self.dilation, self.groups)

    def _input_gradient(self, delta: Tensor, filters: Tensor, channels: int) -> Tensor:
        shape = (len(delta), channels, *self.a.shape[2:])
        return self._backward(delta, delta.new_empty(1).expand(shape), filters, 0)

    def _weight_gradient(self, delta: Tensor, a: Tensor, outputs: int) -> Tensor:
        shape = (outputs, a.shape[1] // self.groups, *self.weight.shape[2:])
        return self._backward(delta, a, delta.new_empty(1).expand(shape), 1)

    def _backward(self, delta: Tensor, a: Tensor, filters: Tensor, wanted: int) -> Tensor:
        found = torch.ops.aten.convolution_backward(
            delta,
            a,
            filters,
            None,
            self.stride,
            self.padding,
            self.dilation,
            False,
            [0] * len(self.stride),
            self.groups,
            [place == wanted for place in range(3)],
        )
        result: Tensor = found[wanted]
        return result


def margins(module: nn.Conv1d | nn.Conv2d | nn.Conv3d) -> list[tuple[int, int]]:
    """Return the padding before and behind each axis."""
    if module.padding == "same":
        reaches = [(k - 1) * d for k, d in zip(module.kernel_size, module.dilation, strict=True)]
        return [(reach // 2, reach - reach // 2) for reach in reaches]
    if module.padding == "valid":
        return [(0, 0)] * len(module.kernel_size)
    return [(int(margin), int(margin)) for margin in module.padding]
