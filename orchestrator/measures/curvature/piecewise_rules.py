"""Operations that preserve piecewise affine functions and keep examples separate.

Each operation that ``piecewise_linear`` accepts has a rule. A rule checks one call and aborts the
proof if the call violates it. The prover itself checks that the number of rows does not change.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator
from enum import Enum
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F


class NotProvenError(Exception):
    """Abort of the proof, with the reason."""


class Role(Enum):
    """Dependence of a value in the graph: on nothing, on parameters only, or on the input."""

    CONSTANT = 0
    PARAMETER = 1
    ACTIVATION = 2


def nodes_among(*arguments: Any) -> list[fx.Node]:
    """Return every node in nested arguments, once per occurrence."""
    nodes: list[fx.Node] = []
    fx.node.map_arg(arguments, nodes.append)
    return nodes


class Call:
    """One call of a function, method or module, with the values of its arguments."""

    def __init__(
        self,
        node: fx.Node,
        roles: dict[fx.Node, Role],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> None:
        self.node, self.args, self.kwargs = node, args, kwargs
        self.name = repr(node.name)
        self._roles = roles

    @property
    def in_place(self) -> bool:
        """Whether the function or method may write into its first operand."""
        name = str(getattr(self.node.target, "__name__", self.node.target))
        flags = (*self.args, self.kwargs.get("inplace"))
        return (name.endswith("_") and not name.endswith("__")) or any(f is True for f in flags)

    def require(self, holds: bool, otherwise: str) -> None:
        """Abort the proof with a reason unless ``holds``."""
        if not holds:
            raise NotProvenError(f"{self.name} {otherwise}")

    def role(self, position: int) -> Role:
        """Return the role of a positional argument; arguments other than nodes are constant."""
        argument = self.node.args[position]
        return self._roles[argument] if isinstance(argument, fx.Node) else Role.CONSTANT

    def argument(self, position: int, name: str, default: Any = None) -> Any:
        """Return the value of an argument given by position or by name."""
        if len(self.args) > position:
            return self.args[position]
        return self.kwargs.get(name, default)

    def require_options_constant(self, operands: int = 1) -> None:
        """Require that all arguments after the first ``operands`` are constant."""
        self.require(len(self.args) >= operands, "isn't called with its operands by position")
        options = nodes_among(self.node.args[operands:], self.node.kwargs)
        constant = all(self._roles[option] is Role.CONSTANT for option in options)
        self.require(constant, "has options that aren't constant")

    def require_behind_examples(self, axes: Any, ndim: int) -> None:
        """Require at least one axis, and that all ``axes`` come after the first."""
        chosen = [axes] if isinstance(axes, int) else list(axes or ())
        behind = bool(chosen) and all(axis % ndim != 0 for axis in chosen)
        self.require(behind, "isn't restricted to axes after the example axis")


Rule = Callable[[Call], None]


def _entrywise(call: Call) -> None:
    """Check an operation by entry, over the last axes or in row-major order; rows are kept."""
    call.require_options_constant()


def _padding(call: Call) -> None:
    """Check an operation that adds entries at the ends of the last axes."""
    call.require_options_constant()
    call.require(len(call.argument(1, "pad")) < 2 * call.args[0].ndim, "adds examples")


def _dropout(call: Call) -> None:
    """Check that dropout is in eval mode, where it does nothing."""
    call.require_options_constant()
    call.require(not call.argument(2, "training", True), "is in training mode")


def _over_axes(call: Call) -> None:
    """Check a sum, mean or maximum over some axes."""
    call.require_options_constant()
    call.require_behind_examples(call.argument(1, "dim"), call.args[0].ndim)


def _permutation(call: Call) -> None:
    """Check a permutation of all axes but the first."""
    call.require_options_constant()
    dims = call.args[1:] if len(call.args) > 2 else call.argument(1, "dims")
    call.require_behind_examples(dims[1:], call.args[0].ndim)


def _transposition(call: Call) -> None:
    """Check a swap of two axes, neither of them the first."""
    call.require_options_constant()
    axes = call.argument(1, "dim0", 0), call.argument(2, "dim1", 0)
    call.require_behind_examples(axes, call.args[0].ndim)


def _insertion(call: Call) -> None:
    """Check the insertion of a new axis of length 1."""
    call.require_options_constant()
    call.require_behind_examples(call.argument(1, "dim"), call.args[0].ndim + 1)


def _index(call: Call) -> None:
    """Check slicing of axes after the first, which is kept whole."""
    call.require_options_constant()
    index = call.args[1]
    basic = isinstance(index, tuple) and all(isinstance(part, int | slice) for part in index)
    call.require(basic and index[0] == slice(None), "selects among the examples")


def _concatenation(call: Call) -> None:
    """Check a concatenation along an axis."""
    call.require_options_constant()
    call.require_behind_examples(call.argument(1, "dim", 0), call.args[0][0].ndim)


def _sum(call: Call) -> None:
    """Check an elementwise operation of two operands, whose rows must correspond."""
    call.require_options_constant(2)
    ndim = max(value.ndim for value in call.args[:2] if isinstance(value, Tensor))
    roles = [call.role(0), call.role(1)]
    for role, value in zip(roles, call.args[:2], strict=True):
        if role is Role.ACTIVATION:
            call.require(value.ndim == ndim, "mixes different examples")
        elif role is Role.PARAMETER and Role.ACTIVATION in roles:
            call.require(
                value.ndim < ndim or len(value) == 1, "has a parameter for each of the examples"
            )


def _product(call: Call) -> None:
    """Check a product, as a sum, but refuse two factors that depend on the input."""
    _sum(call)
    both = call.role(0) is call.role(1) is Role.ACTIVATION
    call.require(not both, "multiplies two values that depend on the input")


def _quotient(call: Call) -> None:
    """Check a division by a constant."""
    _sum(call)
    call.require(call.role(1) is Role.CONSTANT, "divides by a value that isn't constant")


def _weighted(fewest_axes: int) -> Rule:
    """Return the rule for a linear layer, convolution or product with weights as arguments."""

    def rule(call: Call) -> None:
        call.require(len(call.args) >= 2, "isn't called with its operands by position")
        call.require(call.role(0) is Role.ACTIVATION, "is not applied to examples")
        others = [call.role(position) for position in range(1, len(call.args))]
        call.require(
            Role.ACTIVATION not in others, "multiplies two values that depend on the input"
        )
        call.require(call.args[0].ndim >= fewest_axes, "mixes different examples")
        call.require(fewest_axes > 2 or call.args[1].ndim <= 2, "mixes different examples")

    return rule


def _layer(fewest_axes: int) -> Rule:
    """Return the rule for a layer whose inputs have enough axes for an example axis."""

    def rule(call: Call) -> None:
        call.require(call.args[0].ndim >= fewest_axes, "mixes different examples")

    return rule


def _named(rule: Rule, names: str, *homes: Any) -> Iterator[tuple[Any, Rule]]:
    """Yield the rule for methods of these names and for functions of these names in ``homes``."""
    for name in names.split():
        yield name, rule
        for home in homes:
            if hasattr(home, name):
                yield getattr(home, name), rule


_POOLING_LAYERS = ("MaxPool", "AvgPool", "AdaptiveAvgPool", "AdaptiveMaxPool")
_POOLING = "max_pool1d max_pool2d max_pool3d avg_pool1d avg_pool2d avg_pool3d " + " ".join(
    f"adaptive_{kind}_pool{axes}d" for kind in ("avg", "max") for axes in (1, 2, 3)
)
FUNCTION_RULES: dict[Any, Rule] = dict(
    [
        *_named(_entrywise, "relu relu_ leaky_relu relu6 hardtanh threshold", torch, F),
        *_named(_entrywise, "neg abs clamp clone contiguous", torch, operator),
        *_named(_entrywise, "view reshape flatten unflatten", torch),
        *_named(_entrywise, _POOLING, F),
        *_named(_padding, "pad", F),
        *_named(_dropout, "dropout dropout1d dropout2d dropout3d alpha_dropout", F),
        *_named(_over_axes, "mean sum amax amin squeeze", torch),
        *_named(_permutation, "permute", torch),
        *_named(_transposition, "transpose", torch),
        *_named(_insertion, "unsqueeze", torch),
        *_named(_index, "getitem", operator),
        *_named(_concatenation, "cat concat", torch),
        *_named(_sum, "add add_ sub sub_ maximum minimum", torch, operator),
        *_named(_product, "mul mul_", torch, operator),
        *_named(_quotient, "div truediv", torch, operator),
        *_named(_weighted(2), "linear prelu", torch, F),
        *_named(_weighted(2), "matmul", torch, operator),
        *_named(_weighted(3), "conv1d", F),
        *_named(_weighted(4), "conv2d", F),
        *_named(_weighted(5), "conv3d", F),
    ]
)
MODULE_RULES: dict[type[nn.Module], Rule] = {
    nn.Linear: _layer(2),
    **{
        getattr(nn, f"{kind}{axes}d"): _layer(axes + fewest)
        for axes in (1, 2, 3)
        # Pooling and padding act on the last axes and need one more axis, which they preserve.
        for kind, fewest in (
            *(("Conv", 2), ("ZeroPad", 1), ("ConstantPad", 1)),
            *((kind, 1) for kind in _POOLING_LAYERS),
        )
    },
} | dict.fromkeys(
    [
        *(nn.ReLU, nn.LeakyReLU, nn.PReLU, nn.ReLU6, nn.Hardtanh, nn.Threshold),
        *(nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d),
        *(nn.Identity, nn.Flatten, nn.Unflatten),
        *(nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout),
    ],
    _layer(1),
)
