"""Max-pooling: the choice of one position per window."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from math import prod
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from orchestrator.measures.layer_rules.layer_call import (
    LayerCall,
    Parts,
    rule_of,
    rule_of_functions,
)

_AXES = (1, 2, 3)


@rule_of(*(getattr(nn, f"{kind}Pool{d}d") for kind in ("Max", "AdaptiveMax") for d in _AXES))
@rule_of_functions(
    " ".join(f"{kind}_pool{d}d" for kind in ("max", "adaptive_max") for d in _AXES), F
)
class MaxPooling(LayerCall):
    """z = the chosen entries of a. The choice does not change with a, almost everywhere."""

    def forward(self, *inputs: Tensor) -> Tensor:  # noqa: D102
        (a,) = inputs
        axes = int(self.source.name[-2])
        if a.ndim <= axes:
            raise self.unknown("mixes different examples")
        z: Tensor
        chosen: Tensor
        z, chosen = self._pool()(a)
        self.before, self.after = a.shape[-axes:], z.shape[-axes:]
        self.chosen = chosen.flatten(-axes)
        return z

    def _pool(self) -> Any:
        """Return the function from activations to maxima and their positions."""
        module: Any = self.source.module
        if module is None:
            return partial(self.source.function, return_indices=True)
        if module.return_indices:
            raise self.unknown("returns positions")
        axes = self.source.name[-2]
        if self.source.name.startswith("Adaptive"):
            pool = getattr(F, f"adaptive_max_pool{axes}d")
            return partial(pool, output_size=module.output_size, return_indices=True)
        return partial(
            getattr(F, f"max_pool{axes}d"),
            kernel_size=module.kernel_size,
            stride=module.stride,
            padding=module.padding,
            dilation=module.dilation,
            ceil_mode=module.ceil_mode,
            return_indices=True,
        )

    def tangent(self, inputs: Sequence[Tensor | None], directions: Parts) -> Tensor:  # noqa: D102
        (change,) = inputs
        assert change is not None  # noqa: S101
        found = change.flatten(-len(self.before)).gather(-1, self._positions(len(change)))
        return found.reshape(*found.shape[:-1], *self.after)

    def transposed(  # noqa: D102
        self, delta: Tensor, gradients: Parts
    ) -> Sequence[Tensor | None]:
        flat = delta.flatten(-len(self.after))
        result = flat.new_zeros(*flat.shape[:-1], prod(self.before))
        result.scatter_add_(-1, self._positions(len(delta)), flat)
        return [result.reshape(*result.shape[:-1], *self.before)]

    def _positions(self, k: int) -> Tensor:
        chosen: Tensor = self.chosen
        return chosen.expand(k, *chosen.shape)
