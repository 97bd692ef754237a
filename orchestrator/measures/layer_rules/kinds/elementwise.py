"""Activations that map each number by itself, by their first and second derivative."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from orchestrator.measures.layer_rules.layer_call import (
    LayerCall,
    Parts,
    rule_of,
    rule_of_functions,
)


@rule_of(nn.ReLU, nn.LeakyReLU, nn.ReLU6, nn.Hardtanh, nn.Tanh, nn.Sigmoid, nn.GELU, nn.SiLU)
@rule_of(nn.ELU, nn.CELU, nn.SELU, nn.Softplus, nn.Mish, nn.LogSigmoid, nn.Softsign, nn.Tanhshrink)
@rule_of_functions(
    "relu relu_ leaky_relu leaky_relu_ relu6 hardtanh tanh tanh_ sigmoid sigmoid_ gelu silu elu "
    "celu selu softplus mish logsigmoid softsign tanhshrink square",
    torch,
    F,
)
class Elementwise(LayerCall):
    """z = φ(a). φ′ and φ″ are computed by automatic differentiation, once."""

    bend: Tensor | None = None

    def forward(self, *inputs: Tensor) -> Tensor:  # noqa: D102
        with torch.enable_grad():
            a = inputs[0].detach().requires_grad_()
            z: Tensor = self.source.function(a)
            if z.shape != a.shape:
                raise self.unknown("does not map each number by itself")
            (slope,) = torch.autograd.grad(z.sum(), a, create_graph=True)
            if slope.requires_grad:
                (bend,) = torch.autograd.grad(slope.sum(), a, allow_unused=True)
                if bend is not None and bool(bend.any()):
                    self.bend = bend
        self.slope = slope.detach()
        return z.detach()

    def arrive(self, delta: Tensor) -> None:  # noqa: D102
        if self.bend is not None:
            self.bend = self.bend * delta

    def tangent(self, inputs: Sequence[Tensor | None], directions: Parts) -> Tensor:  # noqa: D102
        (change,) = inputs
        assert change is not None  # noqa: S101
        return change * self.slope

    def transposed(  # noqa: D102
        self, delta: Tensor, gradients: Parts
    ) -> Sequence[Tensor | None]:
        return [delta * self.slope]

    def second(  # noqa: D102
        self, inputs: Sequence[Tensor | None], directions: Parts, gradients: Parts
    ) -> Sequence[Tensor | None] | None:
        (change,) = inputs
        return None if self.bend is None or change is None else [change * self.bend]
