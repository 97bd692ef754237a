"""What measures of a case of the grammar must find, by differences of its logits and gradients.

Nothing here uses the code that measures: networks are built again, run in float64 on copies of
their inputs, and moved by hand. Only gradients of first order are left to autograd, where
differences of the loss confirm them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from tests.measures.grammar import GrammarCase, Network, grammar_case

STEP = 1e-6
"""Of central differences."""
_DISAGREEMENT = 1e-5
RHO = 0.05
OF_EXAMPLES = frozenset({"ggn_trace", "fisher_trace", "empirical_fisher_trace", "gradient_noise"})
"""Measures that there are not where the logits of an example depend on others."""
OF_LOGITS = OF_EXAMPLES | {"margin_mean", "gradient_norm", "hessian_trace", "sam_sharpness"}
"""Measures that there are not where logits are random."""


@dataclass(frozen=True)
class Expected:
    """A value, and how far from it a measured one may be beside its standard error."""

    value: float
    tolerance: float


Key = tuple[str, str, str | None]
"""Measure, variant and split."""


class Reference:
    """A case's network as a function of its trainable parameters."""

    def __init__(self, case: GrammarCase) -> None:
        self.case = case
        self.model = grammar_case(case.seed).model.double().eval()
        for module in self.model.modules():
            if isinstance(module, Network):
                module.low_precision = False
        self.parameters = [p for p in self.model.parameters() if p.requires_grad]
        self.theta = nn.utils.parameters_to_vector(self.parameters).detach().clone()
        self._sizes = [p.numel() for p in self.parameters]
        self._buffers = [(buffer, buffer.clone()) for buffer in self.model.buffers()]
        data = case.dataset
        self.inputs = {"train": _double(data.train_x), "test": _double(data.test_x)}
        self.labels = {"train": data.train_y, "test": data.test_y}

    def logits(self, theta: Tensor | None = None, x: Tensor | None = None) -> Tensor:
        """Logits of a pass; of all training examples at the network's own parameters."""
        theta = self.theta if theta is None else theta
        with torch.no_grad():
            for buffer, before in self._buffers:
                buffer.copy_(before)
            for parameter, part in zip(self.parameters, theta.split(self._sizes), strict=True):
                parameter.copy_(part.view_as(parameter))
        x = self.inputs["train"] if x is None else x
        return self.model(x.clone())

    def losses(self, logits: Tensor, split: str = "train") -> Tensor:
        """Loss of each example."""
        return self.case.loss(logits.clone(), self.labels[split])

    def loss(self, theta: Tensor) -> float:
        """Mean training loss."""
        with torch.no_grad():
            return self.losses(self.logits(theta)).mean().item()

    def gradient(self, theta: Tensor) -> Tensor:
        """Of the mean training loss, by autograd."""
        loss = self.losses(self.logits(theta)).mean()
        if not loss.requires_grad:
            return torch.zeros_like(theta)
        found = torch.autograd.grad(loss, self.parameters, materialize_grads=True)
        return torch.cat([g.reshape(-1) for g in found])

    def has_gradient(self) -> bool:
        """Whether autograd has one in eval mode too, where dropout makes no copy."""
        try:
            self.gradient(self.theta)
        except RuntimeError as error:
            if "modified by an inplace operation" not in str(error):
                raise
            return False
        return True

    def is_random(self) -> bool:
        """Whether another pass over the same examples gives other logits."""
        with torch.no_grad():
            first, x = self.logits(), self.inputs["train"]
            return any(not torch.allclose(self.model(x.clone()), first) for _ in range(5))

    def separate(self) -> bool:
        """Whether each example has the logits by itself that it has among others."""
        x = self.inputs["train"]
        with torch.no_grad():
            try:
                alone = torch.cat([self.logits(x=one[None]) for one in x])
            except ValueError:  # PyTorch refuses to normalize what may be a single number.
                alone = torch.cat([self.logits(x=torch.stack([one, one]))[:1] for one in x])
            return torch.allclose(alone, self.logits(), rtol=1e-9, atol=1e-10)


def expected_values(case: GrammarCase) -> tuple[dict[Key, Expected], frozenset[str]]:
    """What rows of a case must say, where that is known, and which measures there cannot be.

    Returns:
        Values by measure, variant (``*`` for any but those of a single parameter) and split;
        parameters' shares have their number as ``#0``. And names of measures that are undefined.
    """
    reference = Reference(case)
    if "random" in case.faults:
        return {}, OF_LOGITS if reference.is_random() else frozenset()
    found = _Found(case.relative_rounding)
    _of_weights(reference, found)
    _of_logits(reference, found)
    mixes = not reference.separate()
    if mixes and "mixes" not in case.faults:
        raise AssertionError(f"{case} mixes its examples")
    slopes = _differences(lambda theta: reference.logits(theta), reference.theta)
    if slopes is not None:
        _of_slopes(reference, slopes, found, mixes=mixes)
    if "hides gradients" not in case.faults and reference.has_gradient():
        hessian = _differences(reference.gradient, reference.theta, graph=True)
        if hessian is not None and slopes is not None and _confirmed(reference, slopes):
            _of_hessian(reference, hessian, found)
    if not mixes:
        _of_inputs(reference, found)
    return found.values, OF_EXAMPLES if mixes else frozenset()


class _Found:
    def __init__(self, rounding: float) -> None:
        self.values: dict[Key, Expected] = {}
        self._rounding = rounding

    def add(self, name: str, value: Any, scale: Any, variant: str = "*", split: Any = "train"):
        tolerance = self._rounding * (abs(float(scale)) + abs(float(value))) + 1e-9
        self.values[name, variant, split] = Expected(float(value), tolerance)


def _of_weights(reference: Reference, found: _Found) -> None:
    found.add("parameter_count", len(reference.theta), 0, split=None)
    found.add("weight_norm", reference.theta.norm(), 0, split=None)


def _of_logits(reference: Reference, found: _Found) -> None:
    for split, x in reference.inputs.items():
        with torch.no_grad():
            z = reference.logits(x=x)
        y = reference.labels[split]
        rows = torch.arange(len(y))
        others = z.clone()
        others[rows, y] = -torch.inf
        gaps = z[rows, y] - others.amax(1)
        found.add("margin_mean", gaps.mean(), z.abs().max(), "raw", split)
        found.add("margin_min", gaps.min(), z.abs().max(), "raw", split)


def _of_slopes(reference: Reference, slopes: Tensor, found: _Found, *, mixes: bool) -> None:
    """Values made of the Jacobian of the logits, (n, classes, parameters)."""
    n = len(slopes)
    logits = reference.logits().detach()
    first, second = _loss_derivatives(reference, logits)
    gradients = torch.einsum("icp,ic->ip", slopes, first)
    mean = gradients.mean(0)
    length = gradients.norm(dim=1).mean()
    found.add("gradient_norm", mean.norm(), length)
    if mean.norm() > 1e-4 * length:
        step = RHO * mean / mean.norm()
        increase = reference.loss(reference.theta + step) - reference.loss(reference.theta)
        found.add("sam_sharpness", increase, 1e-2 + abs(increase))
    if mixes:
        return
    p = logits.softmax(1)
    softmax = torch.diag_embed(p) - p[:, :, None] * p[:, None, :]
    trace = torch.einsum("icp,icd,idp->", slopes, second, slopes) / n
    scale = torch.einsum("icp,icd,idp->", slopes, second.abs(), slopes).abs() / n
    found.add("ggn_trace", trace, scale)
    fisher = torch.einsum("icp,icd,idp->", slopes, softmax, slopes) / n
    found.add("fisher_trace", fisher, fisher)
    square = gradients.square().sum() / n
    found.add("empirical_fisher_trace", square, square)
    found.add("gradient_noise", (gradients - mean).square().sum() / n, square)
    along = slopes @ reference.theta
    radial = torch.einsum("ic,icd,id->", along, softmax, along) / n
    found.add("fisher_rao_norm", radial, along.square().mean())


def _loss_derivatives(reference: Reference, logits: Tensor) -> tuple[Tensor, Tensor]:
    """First and second derivatives of each example's loss in its logits."""
    z = logits.clone().requires_grad_()
    (first,) = torch.autograd.grad(reference.losses(z).sum(), z, create_graph=True)
    columns = [
        torch.autograd.grad(first[:, c].sum(), z, retain_graph=True)[0]
        for c in range(logits.shape[1])
    ]
    return first.detach(), torch.stack(columns, dim=1)


def _confirmed(reference: Reference, slopes: Tensor) -> bool:
    """Whether autograd's gradient is that of differences of the logits."""
    first, _ = _loss_derivatives(reference, reference.logits().detach())
    by_differences = torch.einsum("icp,ic->p", slopes, first) / len(slopes)
    gradient = reference.gradient(reference.theta)
    return _near(gradient, by_differences, slopes.norm() + 1e-3)


def _of_hessian(reference: Reference, hessian: Tensor, found: _Found) -> None:
    hessian = (hessian + hessian.T) / 2
    scale = hessian.norm() + 1e-4
    found.add("hessian_trace", hessian.trace(), scale)
    found.add("hessian_frobenius_norm", hessian.norm(), scale)
    values = torch.linalg.eigvalsh(hessian)
    found.add("hessian_eigenvalue_1", values[-1], scale)
    found.add("hessian_eigenvalue_min", values[0], scale)
    start = 0
    for number, parameter in enumerate(reference.parameters):
        end = start + parameter.numel()
        found.add("hessian_trace", hessian.diagonal()[start:end].sum(), scale, f"#{number}")
        start = end


def _of_inputs(reference: Reference, found: _Found) -> None:
    """First-order distances in input space, over correctly classified examples."""
    if not reference.inputs["train"].is_floating_point():
        return
    for split, x in reference.inputs.items():
        size = x[0].numel()

        def moved(delta: Tensor, x: Tensor = x) -> Tensor:
            return reference.logits(x=x + delta.view(1, *x.shape[1:]))

        slopes = _differences(moved, torch.zeros(size, dtype=torch.float64))
        if slopes is None:
            continue
        with torch.no_grad():
            z = reference.logits(x=x)
        y = reference.labels[split]
        rows = torch.arange(len(y))
        steep = (slopes - slopes[rows, y][:, None]).norm(dim=2)
        gaps = z[rows, y][:, None] - z
        steep[rows, y] = torch.inf
        if steep.min() < 1e-4 * (1 + slopes.norm()):
            continue  # too flat for differences to tell
        distances = gaps / steep
        distances[rows, y] = torch.inf
        nearest = distances.amin(1)
        right = nearest > 0
        if not right.any() or nearest.abs().min() < 1e-6:
            continue
        scale = (z.abs().max() + slopes.norm()) / steep.min()
        found.add("input_margin_mean", nearest[right].mean(), scale, "l2", split)
        found.add("input_margin_min", nearest[right].min(), scale, "l2", split)


def _differences(
    function: Callable[[Tensor], Tensor], at: Tensor, *, graph: bool = False
) -> Tensor | None:
    """Central differences, the moved coordinate as last axis; None where there is a kink.

    A kink at a distance below the step changes them by no more than it bends the function.
    """
    central, bends = [], []
    with torch.set_grad_enabled(graph):
        here = function(at).detach()
        for index in range(len(at)):
            move = torch.zeros_like(at)
            move[index] = STEP
            ahead, behind = function(at + move).detach(), function(at - move).detach()
            central.append((ahead - behind) / (2 * STEP))
            bends.append((ahead + behind - 2 * here) / (2 * STEP))
    found = torch.stack(central, dim=-1)
    return found if _near(torch.stack(bends, dim=-1), 0.0, found.norm() + 1e-2) else None


def _near(a: Tensor, b: Tensor | float, size: Tensor | float) -> bool:
    return bool((a - b).norm() <= _DISAGREEMENT * size)


def _double(x: Tensor) -> Tensor:
    return x.double() if x.is_floating_point() else x
