"""Local entropy: the volume of small loss around the weights."""

from __future__ import annotations

from collections.abc import Iterator
from math import nan, sqrt

import numpy as np
import torch
from torch import Tensor

from orchestrator.errors import MeasureError
from orchestrator.measures.base import CatalogEntry, Measure, Value
from orchestrator.measures.context import MeasureContext
from orchestrator.measures.sharpness.displaced import displaced_gradient
from orchestrator.measures.sharpness.langevin import ChainMean, tilted_mean
from orchestrator.measures.trust.finding import PARAMETER_GRADIENTS
from orchestrator.study.measure_options.sharpness import LocalEntropyOptions

_NODES = 5
_LARGEST_SCORE = 8.0  # The difference of two rules has up to twice the error of one.


def chain_at(context: MeasureContext, options: LocalEntropyOptions, coupling: float) -> ChainMean:
    """Return the mean of L(θ′) under the density ∝ exp(−λ β L(θ′) − γ/2 ‖θ′ − θ‖²).

    Args:
        context: The network and its data.
        options: γ, β and the length of the chain.
        coupling: λ, from 0 to 1. Each λ has its own stream of random numbers, the same for every
            checkpoint.
    """
    scale = 1 / sqrt(options.gamma)
    tilt = coupling * options.inverse_temperature

    def potential(point: Tensor) -> tuple[float, float, Tensor]:
        found, gradient = displaced_gradient(context, scale * point)
        return found.loss, tilt * found.loss, tilt * scale * gradient

    generator = context.generator("local_entropy", f"{coupling:.6f}")
    start = torch.randn(context.n_parameters, generator=generator, dtype=torch.float64)
    return tilted_mean(
        potential,
        start.to(context.parameter_vector()),
        generator,
        burn_in=options.burn_in,
        samples=options.samples,
    )


class LocalEntropy(Measure, options=LocalEntropyOptions):
    """log ∫ exp(−β L(θ′) − γ/2 ‖θ′ − θ‖²) dθ′, minus its value (P/2) log(2π/γ) for L = 0.

    This is the local entropy of Chaudhari et al., arXiv:1611.01838 (see also Pittorino et al.,
    arXiv:2006.07897), as log E exp(−β L(θ′)) over θ′ ~ N(θ, I/γ). The constant depends only on γ
    and the number of parameters, and would mask everything else. With β = 1 the value is at
    most 0 for losses that are not negative, and near −E L(θ′) unless that is large. L is the
    mean training loss.

    It is computed by thermodynamic integration, −β ∫₀¹ E_λ L dλ, where E_λ is the mean under the
    density with λβ for β. The integral uses five Gauss-Legendre nodes, each with a Langevin chain
    with full gradients and an accept-reject step (``tilted_mean``). Published estimates of the
    entropy's gradient use stochastic gradients without such a step.

    The standard error is that of the chains. The value is NaN with the reason ``unconverged`` if a
    chain fails its diagnostics, or if the integral from three of the nodes differs from that of
    all five by more than eight standard errors and 2 %.

    Invariances: none under rescaling of layers or scaling of logits. Higher is flatter. Cost:
    5 (``burn_in`` + ``samples`` + 1) gradients.
    """

    version = 3
    entries = (
        CatalogEntry(
            measure="local_entropy",
            family="flatness",
            symbol="log E exp(−βL(θ′)), θ′ ~ N(θ, I/γ)",
            unit="nat",
            direction="higher",
            citation="Chaudhari et al., arXiv:1611.01838; Pittorino et al., arXiv:2006.07897",
            cost="505 G",
        ),
    )

    requires = PARAMETER_GRADIENTS

    def __init__(self, options: LocalEntropyOptions) -> None:
        if options.samples < 40:
            raise MeasureError(
                f"local_entropy: samples is {options.samples}, expected at least 40 for the "
                f"diagnostics of a chain"
            )
        self.options = options

    def compute(self, context: MeasureContext) -> Iterator[Value]:
        """Yield the value."""
        beta = self.options.inverse_temperature
        variant = f"gamma={self.options.gamma!r}"
        variant += "" if beta == 1 else f", inverse_temperature={beta!r}"
        nodes, weights = quadrature()
        chains = [chain_at(context, self.options, node) for node in nodes]
        problem = next((chain.problem for chain in chains if chain.problem is not None), None)
        value, fewer = (
            -beta * sum(w * chain.mean for w, chain in zip(rule, chains, strict=True))
            for rule in (weights, embedded_weights(nodes))
        )
        error = beta * sqrt(
            sum((w * chain.standard_error) ** 2 for w, chain in zip(weights, chains, strict=True))
        )
        if abs(value - fewer) > max(_LARGEST_SCORE * error, 0.02 * abs(value)):
            problem = problem or f"five nodes give {value:.4g}, three of them {fewer:.4g}"
        if problem is not None:
            value, error = nan, nan
        reason = None if problem is None else f"unconverged: {problem}"
        yield Value("local_entropy", value, error, variant, reason=reason)


def quadrature() -> tuple[list[float], list[float]]:
    """Return the nodes and weights of the Gauss-Legendre rule on [0, 1]."""
    nodes, weights = np.polynomial.legendre.leggauss(_NODES)
    return [(1 + x) / 2 for x in nodes.tolist()], [w / 2 for w in weights.tolist()]


def embedded_weights(nodes: list[float]) -> list[float]:
    """Return weights on [0, 1] for the outer nodes and the middle one, exact for cubics.

    Args:
        nodes: The five nodes of :func:`quadrature`.
    """
    outer = 1 / (6 * (2 * nodes[-1] - 1) ** 2)
    return [outer, 0.0, 1 - 2 * outer, 0.0, outer]
