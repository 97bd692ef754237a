"""What each measure differentiates by, seen by falsifying one derivative at a time.

A network whose gradients in its weights are wrong must change only the measures that require
right ones; likewise for gradients in hidden activations, in inputs, and for second derivatives.
The function itself and all other derivatives stay what they are.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from orchestrator.measures import MeasureContext, measure_snapshot
from orchestrator.measures.build import build_measure
from orchestrator.training import UpdateRule
from tests.measures.cases import CROSS_ENTROPY, random_dataset
from tests.measures.test_catalog import REQUEST, all_requests


def _false(derivative: Tensor) -> Tensor:
    """Each entry times another number, so that neither length nor direction stays."""
    factors = torch.linspace(-0.5, 2, derivative.numel(), dtype=derivative.dtype)
    return derivative * factors.view_as(derivative)


class _Identity(torch.autograd.Function):
    """The identity, with a false gradient."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        pass

    @staticmethod
    def backward(ctx: Any, *arriving: Tensor) -> Tensor:
        return _false(arriving[0])


class _Slope(torch.autograd.Function):
    """g (1 − tanh² x), with a false derivative by x."""

    generate_vmap_rule = True

    @staticmethod
    def forward(g: Tensor, x: Tensor) -> Tensor:
        return g * (1 - x.tanh().square())

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, *arriving: Tensor) -> tuple[Tensor, Tensor]:
        g, x = ctx.saved_tensors
        slope = 1 - x.tanh().square()
        return arriving[0] * slope, _false(-2 * arriving[0] * g * x.tanh() * slope)


class _Tanh(torch.autograd.Function):
    """Tanh, with a false second derivative."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor) -> Tensor:
        return x.tanh()

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, *arriving: Tensor) -> Tensor:
        found: Tensor = _Slope.apply(arriving[0], *ctx.saved_tensors)
        return found


LIGHT = {
    "hessian_spectral_density": {"probes": 2, "iterations": 5},
    "hessian_trace": {"probes": 2},
    "hessian_spectrum": {"iterations": 8},
    "hessian_frobenius_norm": {"probes": 2},
    "relative_flatness": {"layers": "all", "probes": 2},
    "flatness_profile": {"draws": 2},
    "local_entropy": {"samples": 40, "burn_in": 20},
    "robustness": {"radius": 0.5},
    "hidden_margin": {"layers": ["activation"]},
}
"""Options of measures that would take long, or for a network with a layer of its own; what measures
differentiate does not depend on them."""


def requested() -> dict[str, Any]:
    return {
        name: REQUEST.validate_python({name: LIGHT[name]}) if name in LIGHT else options
        for name, options in all_requests().items()
    }


class GatedLinear(nn.Linear):
    """A layer whose gradients in its weights are false, if so asked."""

    false = False

    def forward(self, input: Tensor) -> Tensor:
        gate = _Identity.apply if self.false else torch.clone
        return F.linear(input, gate(self.weight), gate(self.bias))


class Activation(nn.Module):
    """Tanh, with a false second derivative if so asked."""

    def __init__(self, false: bool) -> None:
        super().__init__()
        self.function = _Tanh.apply if false else torch.tanh

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.function(x)
        return found


class Falsified(nn.Module):
    """A network with one false derivative: ``weights``, ``hidden``, ``inputs`` or ``second``."""

    def __init__(self, false: str | None) -> None:
        super().__init__()
        self.first, self.head = GatedLinear(5, 6), GatedLinear(6, 3)
        self.first.false = self.head.false = false == "weights"
        self.activation = Activation(false == "second")
        self.false = false

    def _gate(self, x: Tensor, place: str) -> Tensor:
        found: Tensor = _Identity.apply(x) if self.false == place else x.clone()
        return found

    def forward(self, x: Tensor) -> Tensor:
        x = self.activation(self.first(self._gate(x, "inputs")))
        return self.head(self._gate(x, "hidden"))


def values(false: str | None) -> dict[str, list[Any]]:
    """What each request gives, by its name; a failure is a value like another."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = Falsified(false)
    data = random_dataset((5,), 12, 3)
    with torch.no_grad():  # all are right, so that all have a distance to the boundary
        data.train_y.copy_(model(data.train_x).argmax(1))
        data.test_y.copy_(model(data.test_x).argmax(1))
    context = MeasureContext(
        model,
        data,
        CROSS_ENTROPY,
        initial_state={name: torch.zeros_like(p) for name, p in model.named_parameters()},
        update_rule=UpdateRule(learning_rate=0.1, momentum=0.0, nesterov=False, weight_decay=0.0),
    )
    found: dict[str, list[Any]] = {}
    for row in measure_snapshot(context, requested(), findings={}):
        numbers = row["value"] if isinstance(row["value"], list) else [row["value"]]
        rounded = [None if n is None else float(f"{n:.6g}") for n in numbers]
        found.setdefault(row["request"].partition("(")[0], []).append((row["status"], str(rounded)))
    return found


@pytest.mark.slow
def test_every_measure_requires_exactly_the_derivatives_that_change_it() -> None:
    right = values(None)
    changed = {
        false: {request for request, rows in values(false).items() if rows != right[request]}
        for false in ("weights", "hidden", "inputs", "second")
    }
    required = {
        check: {
            name for name, options in requested().items()
            if check in build_measure(options).requires
        }
        for check in ("parameter_gradients", "input_gradients", "second_derivatives")
    }  # fmt: skip
    assert changed["inputs"] == required["input_gradients"]
    assert changed["second"] == required["second_derivatives"]
    # Both directions of this one, too: hidden activations lie between inputs and weights.
    of_weights = changed["weights"] | changed["hidden"] - changed["inputs"]
    assert of_weights == required["parameter_gradients"]
    assert changed["hidden"] >= changed["inputs"]
