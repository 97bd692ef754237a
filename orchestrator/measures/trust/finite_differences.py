"""Checks that parameter and input gradients are the derivatives of the logits.

Finite differences of a weighted sum of logits along one direction are compared with its gradient.
Features computed under ``no_grad``, detached factors, straight-through estimators and rounded
inputs give gradients of a function other than the network, often zeros.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from orchestrator.measures.context import MeasureContext
from orchestrator.measures.trust.checked_network import Subject, stream
from orchestrator.measures.trust.finding import Check, Finding

STEPS = (1e-5, 1e-6)
_TOLERANCE = 1e-3  # Relative; differences of smooth functions agree to 1e-8.
_ROUNDING = 1e4 * torch.finfo(torch.float64).eps
_EXAMPLES = 16
_INPUT_JITTER = 1e-3
_INPUT_MOVE = 0.1
_MOST_NAMED = 5
_TRIES = 3
_STEADY = 1e-4  # Relative to the gradient; even with many kinks, one of three tries is below 1e-7.
_SHORT = 1e-7
_NO_DERIVATIVES = "have input gradients that are not the derivatives of their logits"


def parameter_gradients(subject: Subject) -> Finding:
    """Check that random moves of the weights change logits as the gradient predicts."""
    if subject.double is None:
        return no_double(subject, "parameter_gradients")
    context = subject.part(0, _EXAMPLES)
    directions = unit_directions(context, "parameter_gradients")
    x, weights = _examples(context)

    def value(h: float, only: str | None = None) -> tuple[Tensor, Tensor]:
        moved = {
            name: p.detach() + (h if only in (None, name) else 0.0) * directions[name]
            for name, p in context.parameters.items()
        }
        with torch.no_grad():
            terms = weights * context.forward(x.clone(), moved)
        return terms.sum(), terms.abs().sum()

    gradients = _parameter_gradient(context, x, weights)
    # For a complex parameter, torch returns the gradient by real and imaginary part.
    slopes = {name: (g.conj() * directions[name]).sum().real for name, g in gradients.items()}
    if _agrees(sum(slopes.values(), torch.zeros_like(weights[0, 0])), value):
        return Finding("parameter_gradients")

    def alone(name: str) -> Callable[[float], tuple[Tensor, Tensor]]:
        return lambda h: value(h, name)

    hidden = [name for name, slope in slopes.items() if not _agrees(slope, alone(name))]
    if not hidden:
        return Finding(
            "parameter_gradients",
            "undecided",
            "central differences of the logits do not converge along a random direction",
        )
    named = ", ".join(hidden[:_MOST_NAMED]) + (" …" if len(hidden) > _MOST_NAMED else "")
    return Finding(
        "parameter_gradients",
        "failed",
        f"gradients in {len(hidden)} of {len(slopes)} parameters are not the derivatives of the "
        f"logits, for example all zero although the logits change: {named}",
        "check for no_grad, detach() and estimated gradients in forward(); set "
        "requires_grad_(False) on weights that are not trained, to exclude them",
    )


def input_gradients(subject: Subject) -> Finding:
    """Check that random moves of the inputs change logits as the gradient predicts."""
    if subject.double is None:
        return no_double(subject, "input_gradients")
    context = subject.part(0, _EXAMPLES)
    x, weights = _examples(context)
    if not x.is_floating_point():
        return Finding(
            "input_gradients",
            "failed",
            f"the inputs are integers ({x.dtype}), which do not allow small perturbations",
            "remove measures that perturb inputs from the study",
        )
    generator = stream("input_gradients")

    def noise() -> Tensor:
        drawn = torch.randn(x.shape, generator=generator, dtype=torch.float64)
        return drawn.to(x.device)

    def scores(inputs: Tensor) -> tuple[Tensor, Tensor]:
        with torch.no_grad():
            terms = weights * context.forward(inputs.clone())
        return terms.sum(dim=1), terms.abs().sum(dim=1)

    wrong = torch.ones(len(x), dtype=torch.bool, device=x.device)
    always, zero = wrong.clone(), wrong.clone()
    for _ in range(_TRIES):  # A nearby kink affects one try, not all of them.
        at, direction = x + _INPUT_JITTER * noise(), noise()
        gradient = _input_gradient(context, at, weights)
        slopes = (gradient * direction).flatten(1).sum(dim=1)
        typical = gradient.flatten(1).norm(dim=1)
        for h in (*STEPS, _SHORT):
            (ahead, size), (behind, _) = scores(at + h * direction), scores(at - h * direction)
            difference = (ahead - behind) / (2 * h)
            if h != _SHORT:
                wrong &= _differs(slopes, difference, size, h)
            always &= (slopes - difference).abs() > _STEADY * typical + _ROUNDING * size / h
        zero &= (gradient.flatten(1) == 0).all(dim=1)
        if not (wrong | always).any():
            break
    (here, size), (there, _) = scores(x), scores(x + _INPUT_MOVE * noise())
    jumps = zero & ((there - here).abs() > _TOLERANCE * size)
    for found, most, what in (
        (wrong, len(x) // 2, _NO_DERIVATIVES),
        (always, 0, _NO_DERIVATIVES),
        (jumps, len(x) // 2, "have an input gradient of zero although their logits change with "
         "the input"),
    ):  # fmt: skip
        if int(found.sum()) > most:
            return Finding(
                "input_gradients",
                "failed",
                f"{int(found.sum())} of {len(x)} examples {what}",
                "check for no_grad, detach(), rounding and casts to integers in forward(); if the "
                "inputs are embedding indices, remove measures that perturb inputs",
            )
    return Finding("input_gradients")


def unit_directions(context: MeasureContext, purpose: str) -> dict[str, Tensor]:
    """Return a random direction of length 1 in which all parameter tensors have equal norm."""
    drawn = torch.randn(context.n_parameters, generator=stream(purpose), dtype=torch.float64)
    parts = zip(context.parameters, context.unflatten(drawn.to(context.device)), strict=True)
    shares = len(context.parameters) ** 0.5
    return {name: part / (part.norm() * shares) if part.numel() else part for name, part in parts}


def _agrees(slope: Tensor, value: Callable[[float], tuple[Tensor, Tensor]]) -> bool:
    """Whether a difference agrees with ``slope`` at one of the steps."""
    for h in STEPS:
        (ahead, size), (behind, _) = value(h), value(-h)
        if not _differs(slope, (ahead - behind) / (2 * h), size, h):
            return True
    return False


def _differs(slope: Tensor, difference: Tensor, size: Tensor, h: float) -> Tensor:
    """Whether both differ beyond rounding of terms of the given size; False if not finite."""
    larger = torch.maximum(slope.abs(), difference.abs())
    allowed = _TOLERANCE * larger + _ROUNDING * size / h
    return (slope - difference).abs() > allowed


def _examples(context: MeasureContext) -> tuple[Tensor, Tensor]:
    """Return the inputs of one pass and a random weight for each of their logits."""
    x, _ = next(context.data.batches("train"))
    weights = torch.randn(
        len(x), context.classes, generator=stream("logit_weights"), dtype=torch.float64
    )
    return x, weights.to(x.device)


def _parameter_gradient(context: MeasureContext, x: Tensor, weights: Tensor) -> dict[str, Tensor]:
    parameters = list(context.parameters.values())
    with torch.enable_grad():
        total = (weights * context.forward(x.clone())).sum()
        if not total.requires_grad:
            return {name: torch.zeros_like(p) for name, p in context.parameters.items()}
        found = torch.autograd.grad(total, parameters, allow_unused=True, materialize_grads=True)
    return dict(zip(context.parameters, found, strict=True))


def _input_gradient(context: MeasureContext, at: Tensor, weights: Tensor) -> Tensor:
    with torch.enable_grad():
        x = at.clone().requires_grad_()
        total = (weights * context.forward(x)).sum()
        if not total.requires_grad:
            return torch.zeros_like(at)
        (found,) = torch.autograd.grad(total, x, allow_unused=True, materialize_grads=True)
    return found


def no_double(subject: Subject, check: Check) -> Finding:
    """Return the finding for a network without float64, where differences lose digits."""
    reason = f"derivatives are compared in float64, but {subject.why_not_double}"
    return Finding(check, "undecided", reason)
