"""A network as a list of layers with rules, read from the graph that ``torch.fx`` traces."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from torch import Tensor, fx, nn

from orchestrator.measures.layer_rules.layer_call import (
    FUNCTIONS,
    MODULES,
    LayerCall,
    Source,
    UnknownLayerError,
)
from orchestrator.measures.untraced_code import is_modified, untraced
from orchestrator.registry import import_files

import_files(f"{__package__}.kinds")  # Each rule registers itself.

_ARITHMETIC = frozenset(getattr(operator, name) for name in ("add", "sub", "mul", "floordiv"))


class Step(NamedTuple):
    """One layer call on a pass of examples.

    Attributes:
        node: Its place in the graph.
        inputs: Places of its activations.
        call: The call.
    """

    node: fx.Node
    inputs: tuple[fx.Node, ...]
    call: LayerCall


class LayerNetwork:
    """The graph of a network all of whose operations have rules.

    Args:
        model: Network in eval mode from ``(n, *input_shape)`` to logits ``(n, classes)``.
        parameters: Its trainable parameters by name, in the order of flat vectors.

    Attributes:
        shapes: Shapes of the trainable parameters.
        weights: All parameters and buffers of the network.

    Raises:
        UnknownLayerError: If a part of the network has no rule. The rules of single calls are
            checked by ``run``. Tracing runs the network's own code, which may raise anything.
    """

    def __init__(self, model: nn.Module, parameters: Mapping[str, nn.Parameter]) -> None:
        for obstacle in _untraced(model):
            raise UnknownLayerError(obstacle)
        self._model = model
        self._places = {id(p): place for place, p in enumerate(parameters.values())}
        self.shapes = [parameter.shape for parameter in parameters.values()]
        self.weights = [*model.parameters(), *model.buffers()]
        self._graph = fx.Tracer().trace(model)

    def run(self, inputs: Tensor) -> tuple[list[Step], fx.Node, Tensor]:
        """Call every layer on ``inputs``.

        Returns:
            The calls that depend on trainable parameters, the place of the logits, and the logits.

        Raises:
            UnknownLayerError: If an operation has no rule, or the rule does not apply.
        """
        values: dict[fx.Node, Any] = {}
        activations: set[fx.Node] = set()
        steps: dict[fx.Node, Step] = {}
        for node in self._graph.nodes:
            if node.op == "placeholder":
                if activations:
                    raise UnknownLayerError("the network takes a second input")
                values[node] = inputs
                activations.add(node)
            elif node.op == "output":
                if node.args[0] not in steps:
                    raise UnknownLayerError("the output is not one matrix of logits")
                return list(steps.values()), node.args[0], values[node.args[0]]
            else:
                used = tuple(n for n in _nodes_among(node.args, node.kwargs) if n in activations)
                if _is_constant(node, used):
                    values[node] = _evaluated(node, values)
                    continue
                call = self._call(node, used, values, steps)
                values[node] = call.forward(*(values[place] for place in used))
                activations.add(node)
                if any(call.needed) or call.trained:
                    steps[node] = Step(node, used, call)
        raise UnknownLayerError("the network has no output")

    def _call(
        self,
        node: fx.Node,
        used: tuple[fx.Node, ...],
        values: Mapping[fx.Node, Any],
        steps: Mapping[fx.Node, Step],
    ) -> LayerCall:
        module = self._model.get_submodule(str(node.target)) if node.op == "call_module" else None
        rule = FUNCTIONS.get(node.target) if module is None else MODULES.get(type(module))
        if rule is None or node.op == "get_attr" or not used or len(set(used)) < len(used):
            raise UnknownLayerError(f"{node.name} has no rule")
        if module is not None:
            _require_plain(module, str(node.target))
        in_place = _is_in_place(node, module)
        if in_place and _is_read_again(used[0], steps):
            raise UnknownLayerError(f"{node.name} overwrites an activation that is used elsewhere")
        arguments, keywords = fx.node.map_arg(
            (node.args, dict(node.kwargs)), lambda n: n if n in used else values[n]
        )
        return rule(
            Source(
                function=_function(node, module, used, arguments, keywords, in_place),
                module=module,
                target=None if module is not None else node.target,
                arguments=tuple(arguments),
                keywords=keywords,
                trained=self._trained(module),
                needed=tuple(place in steps for place in used),
            )
        )

    def _trained(self, module: nn.Module | None) -> dict[str, int]:
        own = {} if module is None else module._parameters
        return {name: self._places[id(p)] for name, p in own.items() if id(p) in self._places}


def _untraced(model: nn.Module) -> Iterator[str]:
    """Yield code that affects passes or derivatives but may be missing from a traced graph."""
    yield from untraced(model)
    for name, module in model.named_modules():
        if is_modified(module):
            yield f"layer {name!r} has hooks or a replaced forward pass"


def _require_plain(module: nn.Module, name: str) -> None:
    if module.training:
        raise UnknownLayerError(f"layer {name!r} is in training mode")
    for tensor in ("weight", "bias"):
        if getattr(module, tensor, None) is not None and tensor not in module._parameters:
            raise UnknownLayerError(f"the {tensor} of layer {name!r} is not its parameter")


def _nodes_among(*arguments: Any) -> list[fx.Node]:
    nodes: list[fx.Node] = []
    fx.node.map_arg(arguments, nodes.append)
    return nodes


def _is_constant(node: fx.Node, activations: tuple[fx.Node, ...]) -> bool:
    """Whether an operation gives a size, or computes with numbers alone."""
    if node.op == "call_method":
        return node.target in {"size", "dim", "ndimension"}
    if node.op != "call_function":
        return False
    if node.target is getattr:
        return node.args[1] in {"shape", "ndim"}
    return not activations and (node.target is operator.getitem or node.target in _ARITHMETIC)


def _evaluated(node: fx.Node, values: Mapping[fx.Node, Any]) -> Any:
    args, kwargs = fx.node.map_arg((node.args, dict(node.kwargs)), lambda n: values[n])
    if node.op == "call_method":
        return getattr(args[0], str(node.target))(*args[1:], **kwargs)
    return node.target(*args, **kwargs)  # type: ignore[operator]


def _is_in_place(node: fx.Node, module: nn.Module | None) -> bool:
    name = str(getattr(node.target, "__name__", node.target))
    flags = (*node.args, node.kwargs.get("inplace"), getattr(module, "inplace", False))
    return name == "iadd" or name.endswith("_") or any(flag is True for flag in flags)


def _is_read_again(node: fx.Node, steps: Mapping[fx.Node, Step]) -> bool:
    """Whether an activation, or one that it may be a view of, has several uses."""
    while len(node.users) == 1 and node in steps and steps[node].call.views:
        (node,) = steps[node].inputs
    return len(node.users) > 1


def _function(
    node: fx.Node,
    module: nn.Module | None,
    used: tuple[fx.Node, ...],
    arguments: Any,
    keywords: Any,
    in_place: bool,
) -> Callable[..., Any]:
    """Return the operation as a function of its activations, which it does not overwrite."""

    def function(*tensors: Tensor, **more: Any) -> Any:
        if in_place:
            tensors = (tensors[0].clone(), *tensors[1:])
        given = dict(zip(used, tensors, strict=True))
        args, kwargs = fx.node.map_arg((arguments, keywords), given.__getitem__)
        if module is not None:
            return module(*args, **kwargs)
        if node.op == "call_method":
            return getattr(args[0], str(node.target))(*args[1:], **kwargs, **more)
        return node.target(*args, **{**kwargs, **more})  # type: ignore[operator]

    return function
