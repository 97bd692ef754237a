"""Proof that a network's logits are affine in each of its parameter tensors.

Let z(θ, x) be the logits. Assume that z is affine in each parameter tensor θ_i with the others
fixed, as long as no unit switches and no maximum changes its position. Then ∂²z/∂θ_i² = 0 for
almost every θ. The second term of H = Σ JᵀAJ + Σ_k (∂ℓ/∂z_k) ∇²z_k then has a zero diagonal,
and the trace of the Hessian is that of the Gauss-Newton matrix alone (see ``exact_trace``).
References: Martens, arXiv:1412.1193, section 8, for the two terms; Botev, Ritter and Barber,
arXiv:1706.03662, for piecewise linear activations.

The proof walks the graph traced by ``torch.fx``. Every value in the graph is constant, depends on
parameters only, or depends on the input. The proof succeeds under these conditions:

- Every operation has a rule in ``piecewise_rules`` and therefore preserves piecewise affine
  functions.
- No value made of parameters is used twice, so each parameter enters in one place.
- Two values are multiplied only if one of them does not depend on the input. By the previous
  condition, such factors never share a parameter.
- Only values that depend on the input are changed in place, so constants stay constant.
- The first axis, the example axis, is preserved, so each row of logits depends only on its own
  example.

An operation without a rule makes the network unproven, with a reason; nothing is assumed about it.
``torch.fx`` does not capture everything in a forward pass (hooks of the network itself, branches on
the type of a value). Detectable cases of this kind are refused, and the traced logits are compared
with the network's own on all given examples. ``exactness`` verifies the result numerically.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn

from orchestrator.errors import error_text
from orchestrator.measures.curvature.piecewise_rules import (
    FUNCTION_RULES,
    MODULE_RULES,
    Call,
    NotProvenError,
    Role,
    nodes_among,
)
from orchestrator.measures.derivatives import own_derivatives
from orchestrator.measures.untraced_code import is_modified, untraced

_SAMPLE_EXAMPLES = 3


@dataclass(frozen=True)
class Proof:
    """Result of the attempt to prove logits affine in each parameter tensor, almost everywhere.

    Attributes:
        proven: Whether the proof succeeded. False means unknown, not refuted.
        reason: Obstacle to the proof; empty if proven.
    """

    proven: bool
    reason: str = ""


def prove_piecewise_linear(
    model: nn.Module, inputs: Tensor, expected: Tensor | None = None
) -> Proof:
    """Try to prove that logits are piecewise affine in each parameter tensor.

    Args:
        model: Network in eval mode from ``(n, *input_shape)`` to ``(n, classes)``; not modified.
        inputs: At least one example, shape ``(n, *input_shape)``; all are run.
        expected: Their logits, if already known.

    Returns:
        The proof. A network that cannot be traced or run gives a reason, not an exception.
    """
    for obstacle in untraced(model):
        return Proof(False, obstacle)
    sample = inputs[torch.arange(_SAMPLE_EXAMPLES, device=inputs.device) % len(inputs)]
    try:
        graph = fx.symbolic_trace(model)
    except Exception as error:  # User code runs here and may raise anything.
        return Proof(False, f"torch.fx cannot trace the network: {_first_line(error)}")
    try:
        with torch.enable_grad():
            traced = _Prover(graph).run(sample.clone())
            logits = model(sample.clone())
    except NotProvenError as reason:
        return Proof(False, str(reason))
    except Exception as error:  # As above.
        return Proof(False, f"the network cannot be run on a sample: {_first_line(error)}")
    for name in own_derivatives(logits):
        return Proof(False, f"{name} defines a custom derivative")
    with torch.no_grad():
        everywhere = model(inputs.clone()) if expected is None else expected
        agree = _agree(traced, logits) and _agree(graph(inputs.clone()), everywhere)
    if not agree:
        return Proof(False, "the network's logits differ from those of the torch.fx graph")
    return Proof(True)


def _agree(traced: Tensor, logits: Tensor) -> bool:
    """Whether logits are equal up to rounding, which grows with the depth of the network."""
    tolerance = torch.finfo(logits.dtype).eps ** 0.75
    scale = logits.detach().abs().nan_to_num(posinf=0.0).max().item() if len(logits) else 0.0
    return torch.allclose(traced, logits, rtol=tolerance, atol=tolerance * scale, equal_nan=True)


class _Prover(fx.Interpreter):
    """Interpreter that runs the graph on a sample and checks the rule of each operation."""

    def __init__(self, graph: fx.GraphModule) -> None:
        super().__init__(graph, garbage_collect_values=False)
        self.extra_traceback = False
        self.roles: dict[fx.Node, Role] = {}
        self.uses: Counter[int] = Counter()

    def run_node(self, n: fx.Node) -> Any:
        """Run one operation, then determine the role of its value."""
        value = super().run_node(n)
        self.roles[n] = self._role(n, value)
        return value

    def _role(self, node: fx.Node, value: Any) -> Role:
        if node.op == "placeholder":
            if Role.ACTIVATION in self.roles.values():
                raise NotProvenError(f"the network takes a second input, {node.target!r}")
            return Role.ACTIVATION
        if node.op == "get_attr":
            return self._attribute(node, value)
        made_of = [self.roles[argument] for argument in nodes_among(node.args, node.kwargs)]
        if node.op == "output":
            if made_of != [Role.ACTIVATION] or getattr(value, "ndim", None) != 2:
                raise NotProvenError("the output isn't one matrix of logits")
            return Role.ACTIVATION
        if node.op != "call_module" and (_is_shape(node) or set(made_of) <= {Role.CONSTANT}):
            return Role.CONSTANT
        call = Call(node, self.roles, *self.fetch_args_kwargs_from_env(node))
        for argument in nodes_among(node.args, node.kwargs):
            if self.roles[argument] is Role.PARAMETER:
                self._use(argument, argument.name)
            elif self.roles[argument] is Role.CONSTANT:
                constant = self.env[argument]
                varies = isinstance(constant, Tensor) and constant.requires_grad
                call.require(not varies, "uses a constant changed in place with parameters")
        if node.op != "call_module" and call.in_place:
            varies = bool(node.args) and call.role(0) is not Role.CONSTANT
            call.require(varies, "changes a constant in place")
        if node.op == "call_module":
            self._module(call)
        else:
            rule = FUNCTION_RULES.get(node.target)
            call.require(rule is not None, "isn't known to be piecewise linear")
            if rule is not None:
                rule(call)
        role = max(made_of, key=lambda role: role.value)
        call.require(isinstance(value, Tensor), "returns something other than a tensor")
        if role is Role.ACTIVATION:
            call.require(
                value.ndim > 0 and len(value) == _SAMPLE_EXAMPLES, "mixes different examples"
            )
        return role

    def _use(self, thing: object, name: str) -> None:
        self.uses[id(thing)] += 1
        if self.uses[id(thing)] > 1:
            raise NotProvenError(f"the parameter {name!r} enters in more than one place")

    def _attribute(self, node: fx.Node, value: Any) -> Role:
        if not isinstance(value, Tensor) or not value.requires_grad:
            return Role.CONSTANT
        if not isinstance(value, nn.Parameter):
            raise NotProvenError("a tensor is computed from parameters before the forward pass")
        self._use(value, str(node.target))
        return Role.PARAMETER

    def _module(self, call: Call) -> None:
        module = self.submodules[str(call.node.target)]
        rule = MODULE_RULES.get(type(module))
        call.name = f"{type(module).__name__} (layer {str(call.node.target)!r})"
        call.require(rule is not None, "isn't known to be piecewise linear")
        hooked = is_modified(module)
        call.require(not hooked, "has hooks or a replaced forward pass")
        call.require(not module.training, "is in training mode")
        call.require(len(call.args) == 1 and not call.kwargs, "takes more than one input")
        for name, parameter in module.named_parameters():
            call.require(call.role(0) is Role.ACTIVATION, "is not applied to examples")
            if parameter.requires_grad:
                self._use(parameter, f"{call.node.target}.{name}")
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            call.require(module.running_mean is not None, "normalizes by batch statistics")
        if rule is not None:
            rule(call)


def _is_shape(node: fx.Node) -> bool:
    if node.op == "call_method":
        return node.target in {"size", "dim", "ndimension"}
    return node.target is getattr and node.args[1] in {"shape", "ndim"}


def _first_line(error: Exception) -> str:
    return error_text(error).splitlines()[0]
