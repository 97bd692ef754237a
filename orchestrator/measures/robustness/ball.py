"""Balls around inputs, in two norms: projection, steepest steps, random points."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

Norm = Literal["l2", "linf"]


def lengths(displacements: Tensor, norm: Norm) -> Tensor:
    """Return the norm of each row, shape ``(n,)``."""
    flat = displacements.flatten(1)
    order = 2.0 if norm == "l2" else torch.inf
    found: Tensor = torch.linalg.vector_norm(flat, ord=order, dim=1)
    return found


def dual_lengths(gradients: Tensor, norm: Norm) -> Tensor:
    """Return the dual norm over the last dimension: the fastest growth per unit of ``norm``."""
    found: Tensor = torch.linalg.vector_norm(gradients, ord=2.0 if norm == "l2" else 1.0, dim=-1)
    return found


@dataclass(frozen=True)
class Ball:
    """A ball around each of n inputs.

    Attributes:
        norm: ``l2`` or ``linf``.
        radius: Radius of each ball, shape ``(n,)``.
    """

    norm: Norm
    radius: Tensor

    def project(self, displacements: Tensor) -> Tensor:
        """Return the nearest displacements within the balls."""
        radius = self._like(displacements)
        if self.norm == "linf":
            return displacements.clamp(min=-radius, max=radius)
        size = lengths(displacements, "l2").view(radius.shape)
        return torch.where(size > radius, displacements * (radius / size), displacements)

    def steepest(self, gradients: Tensor) -> Tensor:
        """Return displacements as long as the radius, in the direction of steepest ascent.

        Where a gradient is zero, no such direction exists and the displacement is zero.
        """
        radius = self._like(gradients)
        if self.norm == "linf":
            return radius * gradients.sign()
        size = lengths(gradients, "l2").view(radius.shape)
        return torch.where(size > 0, radius * gradients / size, torch.zeros_like(gradients))

    def random(self, noise: Tensor) -> Tensor:
        """Return points distributed uniformly over the balls.

        Args:
            noise: For l2, independent Gaussians and an additional last column of uniform numbers;
                for linf, uniform numbers, whose last column is unused. See :func:`noise`.
        """
        flat, uniform = noise[:, :-1], noise[:, -1:]
        radius = self.radius[:, None]
        if self.norm == "linf":
            return radius * (2 * flat - 1)
        scale = uniform ** (1 / flat.shape[1])
        return radius * scale * flat / lengths(flat, "l2")[:, None]

    def _like(self, tensor: Tensor) -> Tensor:
        return self.radius.view(-1, *[1] * (tensor.ndim - 1))


def noise(norm: Norm, n: int, size: int, generator: torch.Generator) -> Tensor:
    """Draw the input of :meth:`Ball.random` for n points of ``size`` coordinates.

    It is float64 on the CPU.
    """
    uniform = torch.rand(n, size + 1, generator=generator, dtype=torch.float64)
    if norm == "linf":
        return uniform
    gaussian = torch.randn(n, size, generator=generator, dtype=torch.float64)
    return torch.cat([gaussian, uniform[:, -1:]], dim=1)
