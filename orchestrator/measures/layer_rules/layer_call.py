"""What every kind of layer states about itself, and the table of kinds."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, TypeVar

from torch import Tensor, nn

Parts = Sequence[Tensor]
"""One tensor ``(k, *shape)`` per trainable parameter: k directions or k gradients."""


class UnknownLayerError(Exception):
    """No rule applies to a part of a network; the message names it."""


@dataclass(frozen=True)
class Source:
    """The operation of one call in a network's graph.

    Attributes:
        function: Function of the activations alone, with all other arguments filled in.
        module: The layer, if it is one; otherwise None.
        target: The called function, or the name of a method; None for layers.
        arguments: Positional arguments of a function or method, with nodes for activations.
        keywords: Values of its other arguments.
        trained: Places of the layer's trainable parameters in ``Parts``, by attribute.
        needed: For each activation, whether it depends on trainable parameters.
    """

    function: Callable[..., Any]
    module: nn.Module | None = None
    target: Any = None
    arguments: tuple[Any, ...] = ()
    keywords: Mapping[str, Any] = field(default_factory=dict)
    trained: Mapping[str, int] = field(default_factory=dict)
    needed: tuple[bool, ...] = (True,)

    @property
    def name(self) -> str:
        """Name of the operation, for messages."""
        thing = self.target if self.module is None else type(self.module)
        return str(getattr(thing, "__name__", thing))


class LayerCall(ABC):
    """One call of a layer z = f(a, θ) on n examples; keeps what its derivatives need.

    Activations have shape ``(n, …)``; tangents and gradients of k directions have shape
    ``(k, n, …)``. ``None`` stands for the tangent of an activation that does not depend on
    trainable parameters. No method modifies a tensor that it is given, except ``gradients``.

    Args:
        source: The operation.

    Raises:
        UnknownLayerError: If the rule does not apply to this call.
    """

    views: ClassVar[bool] = False
    """Whether the output may be a view of the input."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.trained, self.needed = source.trained, source.needed

    @property
    def weight(self) -> Tensor:
        """The layer's weight, without graph."""
        module: Any = self.source.module
        weight: Tensor = module.weight.detach()
        return weight

    @property
    def bias(self) -> Tensor | None:
        """The layer's bias, without graph, if it has one."""
        module: Any = self.source.module
        return None if module.bias is None else module.bias.detach()

    def argument(self, position: int, name: str, default: Any = None) -> Any:
        """Return the value of a function's argument given by position or by name."""
        if len(self.source.arguments) > position:
            return self.source.arguments[position]
        return self.source.keywords.get(name, default)

    def unknown(self, why: str) -> UnknownLayerError:
        """Return the error that this rule does not apply to the call."""
        return UnknownLayerError(f"{self.source.name} {why}")

    @abstractmethod
    def forward(self, *inputs: Tensor) -> Tensor:
        """Return z for the activations ``inputs``."""

    @abstractmethod
    def tangent(self, inputs: Sequence[Tensor | None], directions: Parts) -> Tensor:
        """Return the derivative of z along the tangents of its inputs and parameters."""

    @abstractmethod
    def transposed(self, delta: Tensor, gradients: Parts) -> Sequence[Tensor | None]:
        """Return ∂⟨delta, z⟩ / ∂inputs, and add ∂⟨delta, z⟩ / ∂θ to ``gradients``."""

    def arrive(self, delta: Tensor) -> None:  # noqa: B027
        """Note δ = ∂L/∂z, shape ``(n, …)``, the gradient of the loss; called once."""

    def second(
        self, inputs: Sequence[Tensor | None], directions: Parts, gradients: Parts
    ) -> Sequence[Tensor | None] | None:
        """Return the derivative of ∂⟨δ, z⟩ / ∂inputs along the tangents, with δ fixed.

        The derivative of ∂⟨δ, z⟩ / ∂θ is added to ``gradients``. None if ⟨δ, z⟩ is linear.
        """
        return None

    @property
    def kept_bytes(self) -> int:
        """Memory that the call occupies between products, about."""
        tensors = [value for value in vars(self).values() if isinstance(value, Tensor)]
        return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


Kind = TypeVar("Kind", bound=type[LayerCall])

MODULES: dict[type[nn.Module], type[LayerCall]] = {}
FUNCTIONS: dict[Any, type[LayerCall]] = {}


def rule_of(*modules: type[nn.Module]) -> Callable[[Kind], Kind]:
    """Register the decorated class as the rule of layers of exactly these classes."""

    def register(rule: Kind) -> Kind:
        MODULES.update(dict.fromkeys(modules, rule))
        return rule

    return register


def rule_of_functions(names: str, *homes: Any) -> Callable[[Kind], Kind]:
    """Register the decorated class as the rule of methods, and of functions in ``homes``.

    Args:
        names: Their names, separated by spaces.
        homes: Modules with functions of these names; not each needs to have all.
    """

    def register(rule: Kind) -> Kind:
        for name in names.split():
            FUNCTIONS[name] = rule
            FUNCTIONS.update({getattr(home, name): rule for home in homes if hasattr(home, name)})
        return rule

    return register


def merged(rows: Tensor) -> Tensor:
    """Return ``(k, n, …)`` as ``(k · n, …)``."""
    return rows.flatten(0, 1)


def split(rows: Tensor, k: int) -> Tensor:
    """Return ``(k · n, …)`` as ``(k, n, …)``."""
    return rows.reshape(k, -1, *rows.shape[1:])
