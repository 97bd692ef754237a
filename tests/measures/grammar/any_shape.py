"""Rules for activations of any shape, whose last axis counts as that of the features."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx._symbolic_trace import is_fx_symbolic_tracing
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from tests.measures.grammar.sentence import Fault, Network, Rule, Sentence, Step, often


class Doubled(torch.autograd.Function):
    """2 x² with a right derivative of its own."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return 2 * x**2

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return 4 * x * gradient


_ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "ReLU": nn.ReLU,
    "ReLU in place": lambda: nn.ReLU(inplace=True),
    "LeakyReLU": lambda: nn.LeakyReLU(0.2),
    "Tanh": nn.Tanh,
    "GELU": nn.GELU,
    "SiLU": nn.SiLU,
    "ELU in place": lambda: nn.ELU(inplace=True),
    "Hardswish": nn.Hardswish,
    "Hardtanh": nn.Hardtanh,
    "Softplus": nn.Softplus,
    "Sigmoid": nn.Sigmoid,
    "Hardsigmoid": nn.Hardsigmoid,
    "Mish": nn.Mish,
    "PReLU": nn.PReLU,
    "Softmax": lambda: nn.Softmax(-1),
    "Dropout": nn.Dropout,
    "Identity": nn.Identity,
}

_LINEAR_ACTIVATIONS = frozenset(
    {"ReLU", "ReLU in place", "LeakyReLU", "Hardtanh", "PReLU", "Dropout", "Identity"}
)
_LINEAR_FUNCTIONS = frozenset(
    {
        "relu_", "abs", "cumsum", "sort", "relu of a copy", "dropout in eval", "fft", "where",
        "only if a tensor", "linear if traced", "written through a view",
    }
)  # fmt: skip
LINEAR_USES = frozenset(
    {
        "scaled by a parameter", "shifted by a parameter", "shifted in place",
        "scaled by a sum", "thresholded by a parameter", "a constant written by a parameter",
        "a constant written by a parameter, used twice",
        "made of a parameter, changed between uses",
        "one feature scaled in place", "a constant that requires grad",
        "a constant multiplied in a loop", "weight used outside", "only outside", "residual",
        "residual in place", "weight minus its mean", "half of the layer", "layer under two names",
        "tied weights", "decoder of the encoder", "experts, both",
    }
)  # fmt: skip
"""Those that are, and those that look like it: a proof must tell them apart."""


def activation(s: Sentence, shape: tuple[int, ...]) -> Any:
    word = s.pick(_ACTIVATIONS, _LINEAR_ACTIVATIONS)
    name = s.add(_ACTIVATIONS[word]())
    # In place on the input itself, where it is the first step: networks may do that.
    return word, lambda m, h: m.get_submodule(name)(h), shape


def _function(s: Sentence, shape: tuple[int, ...]) -> Any:
    ones = [1] * len(shape)
    functions: dict[str, Step] = {
        "relu_": lambda m, h: (h * 1).relu_(),
        "square": lambda m, h: h.square(),
        "doubled": lambda m, h: Doubled.apply(h),
        "abs": lambda m, h: h.abs(),
        "cumsum": lambda m, h: h.cumsum(-1),
        "sort": lambda m, h: h.sort(-1).values,
        "normalize": lambda m, h: F.normalize(h, dim=-1, eps=1e-3),
        "h times its gate": lambda m, h: h * h.flip(-1).sigmoid(),
        "relu of a copy": lambda m, h: h.clone().clamp_(min=0) - 0.1 * h,
        "dropout in eval": lambda m, h: F.dropout(h, 0.3, training=m.training),
        "fft": lambda m, h: torch.fft.fft(h, dim=-1).real + torch.fft.fft(h, dim=-1).imag,
        "modulus of fft": lambda m, h: (torch.fft.fft(h, dim=-1).abs() + 0.1).log(),
        "through complex": lambda m, h: torch.view_as_real(torch.complex(h, h.tanh())).sum(-1),
        "where": lambda m, h: torch.where(h > 0.1, h, 0.3 * h),
        "branch of an example": lambda m, h: torch.where(
            h.flatten(1).sum(1).view(-1, *ones) > 0, h.tanh(), 0.5 * h
        ),
        "only if a tensor": lambda m, h: h.tanh() if isinstance(h, Tensor) else h,
        "linear if traced": lambda m, h: 2 * h if is_fx_symbolic_tracing() else h.sigmoid(),
        "written through a view": _write_view,
        "written by index": _write_index,
        "checkpointed": lambda m, h: checkpoint(torch.tanh, h, use_reentrant=False),
    }  # fmt: skip
    word = s.pick(functions, _LINEAR_FUNCTIONS)
    return word, functions[word], shape


def _write_view(m: Network, h: Tensor) -> Tensor:
    h = h + 0.0
    h.transpose(0, -1)[0].mul_(1.5)
    return h


def _write_index(m: Network, h: Tensor) -> Tensor:
    h = h + 0.0
    h[..., 0] = h[..., -1].clone().sin()
    return h


def _features(shape: tuple[int, ...]) -> int:
    return shape[-1]


def _with_parameter(s: Sentence, shape: tuple[int, ...]) -> Any:
    p = s.parameter(_features(shape))

    def get(m: Network) -> Tensor:
        return getattr(m, p)

    def constant(m: Network, h: Tensor) -> Tensor:
        c = h.new_ones(h.shape[-1])
        c.mul_(get(m))
        return h * c

    def constant_twice(m: Network, h: Tensor) -> Tensor:
        c = h.new_zeros(h.shape[-1])
        c += get(m)
        return h * c + c * c

    def changed_between(m: Network, h: Tensor) -> Tensor:
        c = get(m) * 1.0
        h = h + c
        c.mul_(2.0)
        return h * c

    def by_index(m: Network, h: Tensor) -> Tensor:
        h = h + 0.0
        h[..., 0] *= get(m)[0]
        return h

    def cumulated(m: Network, h: Tensor) -> Tensor:
        c = h.new_full((h.shape[-1],), 0.5, requires_grad=True)
        return h * (c + get(m))

    def looped(m: Network, h: Tensor) -> Tensor:
        c = h.new_ones(h.shape[-1])
        for _ in range(2):
            c.mul_(get(m))
        return h + c

    uses: dict[str, Step] = {
        "scaled by a parameter": lambda m, h: h * get(m),
        "shifted by a parameter": lambda m, h: h + get(m),
        "shifted in place": lambda m, h: (h * 1).add_(get(m)),
        "scaled twice by a parameter": lambda m, h: (h * get(m)).tanh() * get(m),
        "scaled by a parameter times itself": lambda m, h: h * (get(m) * get(m)),
        "scaled by an exponential": lambda m, h: h * get(m).exp(),
        "divided by a parameter": lambda m, h: h / (1 + get(m) ** 2),
        "scaled by a sum": lambda m, h: h * get(m).sum(),
        "in a power": lambda m, h: h.abs().add(0.1) ** get(m),
        "thresholded by a parameter": lambda m, h: torch.maximum(h, get(m) - 1),
        "a constant written by a parameter": constant,
        "a constant written by a parameter, used twice": constant_twice,
        "made of a parameter, changed between uses": changed_between,
        "one feature scaled in place": by_index,
        "a constant that requires grad": cumulated,
        "a constant multiplied in a loop": looped,
    }
    word = s.pick(uses, LINEAR_USES)
    return word, uses[word], shape


def _scalar(s: Sentence, shape: tuple[int, ...]) -> Any:
    p = s.parameter()
    return "scaled by a scalar", lambda m, h: h * getattr(m, p), shape


def _state(s: Sentence, shape: tuple[int, ...]) -> Any:
    s.network.register_buffer("calls", torch.zeros((), dtype=torch.int64))
    s.network.register_buffer("offset", torch.full((1,), 0.3))

    def counts(m: Network, h: Tensor) -> Tensor:
        m.calls += 1
        return h

    def remembers(m: Network, h: Tensor) -> Tensor:
        m.offset += 0.1
        return h + m.offset

    def refills(m: Network, h: Tensor) -> Tensor:
        m.offset.fill_(0.5)
        return h * m.offset

    step = s.draw.choice([counts, refills, remembers])
    if step is remembers:
        s.faults.add("random")
    return f"buffer that {step.__name__}", step, shape


def _cast(s: Sentence, shape: tuple[int, ...]) -> Any:
    dtype, rounding = s.draw.choice(
        [(torch.float32, 1e-4), (torch.float32, 1e-4), (torch.bfloat16, 0.2)]
    )
    s.rounding = max(s.rounding, rounding)

    def cast(m: Network, h: Tensor) -> Tensor:
        return h.to(dtype).tanh().to(h.dtype) if m.low_precision else h.tanh()

    return f"tanh in {dtype}", cast, shape


def _fault(s: Sentence, shape: tuple[int, ...]) -> Any:
    def branch(m: Network, h: Tensor) -> Tensor:
        return h.tanh() if h.mean() > 0 else 0.5 * h

    def without(m: Network, h: Tensor) -> Tensor:
        with torch.no_grad():
            return h.tanh()

    faults: dict[str, tuple[Fault, Step]] = {
        "dropout without training=": ("random", lambda m, h: F.dropout(h, 0.4)),
        "noise": ("random", lambda m, h: h + 0.1 * torch.randn_like(h)),
        "minus the mean over the batch": ("mixes", lambda m, h: h - h.mean(0, keepdim=True)),
        "maximum over the batch": ("mixes", lambda m, h: h - 0.1 * h.amax(0, keepdim=True)),
        "softmax over the batch": ("mixes", lambda m, h: h * h.softmax(0)),
        "branch of the batch": ("mixes", branch),
        "branch of the number": ("mixes", lambda m, h: h.tanh() if len(h) > 2 else h),
        "number of the examples": ("mixes", lambda m, h: h / len(h)),
        "neighbors": ("mixes", lambda m, h: h + 0.3 * h.roll(1, 0)),
        "without gradients": ("hides gradients", without),
        "detached": ("hides gradients", lambda m, h: h * h.detach().sigmoid()),
        "through data": ("hides gradients", lambda m, h: h + h.data.tanh()),
        "rounded": ("hides gradients", lambda m, h: h + (h.round() - h).detach()),
    }
    word = s.draw.choice(list(faults))
    fault, step = faults[word]
    s.faults.add(fault)
    return word, step, shape


ANY: tuple[Rule, ...] = often(
    (activation, 4), (_function, 4), (_with_parameter, 4), (_scalar, 1), (_state, 1), (_cast, 1),
    (_fault, 1),
)  # fmt: skip
