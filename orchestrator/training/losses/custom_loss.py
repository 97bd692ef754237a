"""Losses from outside this package: the user's own, and PyTorch's modules."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from functools import partial
from typing import cast

from torch import Tensor, nn

from orchestrator.errors import UserError
from orchestrator.study.import_path import CalledExit, own_code, resolve_import_path
from orchestrator.study.options import CustomOptions
from orchestrator.study.training_options import CrossEntropyOptions, MultiMarginOptions
from orchestrator.training.losses.base import Loss, LossFunction
from orchestrator.training.losses.cross_entropy import build_cross_entropy
from orchestrator.training.losses.multi_margin import build_multi_margin


def build_custom_loss(options: CustomOptions) -> Loss:
    """Build the loss named by import path or entry point: a function or a class of modules.

    Raises:
        ImportPathError: If it cannot be imported.
        UserError: If it is a module class that cannot be called with its arguments.
    """
    component = resolve_import_path(options.name, kind="losses")
    if isinstance(component, type) and issubclass(component, nn.Module):
        with _constructed(options):
            module = component(**options.arguments)
        return loss_of_module(module, options.name)
    function = partial(cast(LossFunction, component), **options.arguments)
    return Loss(partial(_checked, options.name, function))


def loss_of_module(module: nn.Module, name: str = "") -> Loss:
    """Build a loss from a PyTorch loss module, which is called with logits and labels.

    Args:
        module: The module, which is copied. If it has a ``reduction``, as losses of ``torch.nn``
            do, that is set to return the loss of each example. Any other module must return the
            loss of each example anyway.
        name: Name in messages; by default that of the class.
    """
    own = deepcopy(module).requires_grad_(False)
    if isinstance(getattr(own, "reduction", None), str):
        own.reduction = "none"  # type: ignore[assignment]
    if type(own) is nn.MultiMarginLoss and own.weight is None:
        return build_multi_margin(
            MultiMarginOptions(name="multi_margin", p=own.p, margin=own.margin)
        )
    if (
        type(own) is nn.CrossEntropyLoss
        and own.weight is None
        and own.ignore_index < 0
        and own.label_smoothing < 1
    ):
        return build_cross_entropy(CrossEntropyOptions(label_smoothing=own.label_smoothing))
    placed: LossFunction = partial(_where_the_logits_are, own)
    return Loss(partial(_checked, name or type(own).__name__, placed))


def _where_the_logits_are(module: nn.Module, logits: Tensor, labels: Tensor) -> Tensor:
    value: Tensor = module.to(logits)(logits, labels)
    return value


@contextmanager
def _constructed(options: CustomOptions) -> Iterator[None]:
    try:
        with own_code():
            yield
    except Exception as error:
        given = ", ".join(options.arguments) or "no arguments"
        raise UserError(
            f"loss {options.name!r}: raised {type(error).__name__}: {error} (called with {given})"
        ) from error


def _checked(name: str, function: LossFunction, logits: Tensor, labels: Tensor) -> Tensor:
    try:
        with own_code():
            value = function(logits, labels)
    except CalledExit as error:
        raise UserError(f"loss {name!r}: {error}") from error
    if not isinstance(value, Tensor) or value.shape != labels.shape:
        got = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
        raise UserError(
            f"loss {name!r}: returned {got}, expected one number per example, a tensor of shape "
            f"{tuple(labels.shape)}",
            "return the loss of each example, not their mean (reduction='none')",
        )
    return value
