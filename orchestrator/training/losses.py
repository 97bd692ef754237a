"""What is minimized: losses on logits, per example and averaged."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from functools import partial
from typing import TYPE_CHECKING, cast

import torch.nn.functional as F
from torch import Tensor, nn

from orchestrator.errors import UserError
from orchestrator.study.import_path import CalledExit, own_code, resolve_import_path
from orchestrator.study.options import CustomOptions
from orchestrator.study.training_options import CrossEntropyOptions, MseOptions, MultiMarginOptions
from orchestrator.training.cross_entropy import cross_entropy

if TYPE_CHECKING:
    from orchestrator.study.training_options import LossOptions

LossFunction = Callable[[Tensor, Tensor], Tensor]


class Loss:
    """A loss on logits ``(n, classes)`` and labels ``(n,)``.

    Functions other than those of this package get copies, as they may write into what they are
    given (``logits[rows, labels] -= margin``), and logits are used again.

    Args:
        per_example: Gives the loss of each example, of shape ``(n,)``.
        mean: Gives their mean, where there is a faster way to it.
    """

    def __init__(self, per_example: LossFunction, mean: LossFunction | None = None) -> None:
        self.per_example = on_copies(per_example)
        self._mean = None if mean is None else on_copies(mean)

    def __call__(self, logits: Tensor, labels: Tensor) -> Tensor:
        """The mean loss, of shape ``()``."""
        if self._mean is not None:
            return self._mean(logits, labels)
        return self.per_example(logits, labels).mean()


def build_loss(options: LossOptions) -> Loss:
    """Build what the ``training.loss`` part of a study file asks for.

    Raises:
        ImportPathError: If the user's own loss cannot be imported.
        UserError: If it is a module's class that cannot be called with its arguments.
    """
    match options:
        case CrossEntropyOptions(label_smoothing=smoothing):
            return Loss(
                partial(cross_entropy, label_smoothing=smoothing),
                partial(F.cross_entropy, label_smoothing=smoothing),
            )
        case MseOptions():
            return Loss(squared_error)
        case MultiMarginOptions(margin=margin, p=p):
            return Loss(
                partial(multi_margin, p=p, margin=margin),
                partial(F.multi_margin_loss, p=p, margin=margin),
            )
        case CustomOptions():
            component = resolve_import_path(options.name, kind="losses")
            if isinstance(component, type) and issubclass(component, nn.Module):
                with _constructed(options):
                    module = component(**options.arguments)
                return loss_of_module(module, options.name)
            function = partial(cast(LossFunction, component), **options.arguments)
            return Loss(partial(_checked, options.name, function))


def loss_of_module(module: nn.Module, name: str = "") -> Loss:
    """A loss given as PyTorch gives losses: a module that is called with logits and labels.

    Args:
        module: Is copied. With a ``reduction``, as the losses of ``torch.nn`` have, it gives the
            loss of each example whatever that was set to; else it has to give that by itself.
        name: What it is called in messages; by default its class.
    """
    own = deepcopy(module).requires_grad_(False)
    if isinstance(getattr(own, "reduction", None), str):
        own.reduction = "none"  # type: ignore[assignment]
    if type(own) is nn.MultiMarginLoss and own.weight is None:
        return build_loss(MultiMarginOptions(name="multi_margin", p=own.p, margin=own.margin))
    if (
        type(own) is nn.CrossEntropyLoss
        and own.weight is None
        and own.ignore_index < 0
        and own.label_smoothing < 1
    ):
        return build_loss(CrossEntropyOptions(label_smoothing=own.label_smoothing))
    placed: LossFunction = partial(_where_the_logits_are, own)
    return Loss(partial(_checked, name or type(own).__name__, placed))


def squared_error(logits: Tensor, labels: Tensor) -> Tensor:
    """Squared distance of logits ``(n, classes)`` to one-hot labels, averaged over classes.

    Returns:
        ``Σ_c (z_c − [c = y])² / C``, of shape ``(n,)``.
    """
    one_hot = F.one_hot(labels, logits.shape[1]).to(logits.dtype)
    return (logits - one_hot).square().mean(dim=1)


def multi_margin(logits: Tensor, labels: Tensor, *, p: int, margin: float) -> Tensor:
    """Multi-class hinge loss, averaged over classes.

    As ``torch.nn.functional.multi_margin_loss``, which has no second derivative to measure
    curvature with.

    Returns:
        ``Σ_{j ≠ y} max(0, margin − z_y + z_j)^p / C``, of shape ``(n,)``.
    """
    true = labels[:, None]
    hinges = F.relu(margin - logits.gather(1, true) + logits).pow(p)
    return hinges.scatter(1, true, 0).mean(dim=1)


def on_copies(function: LossFunction) -> LossFunction:
    """A loss function that cannot write into the logits and labels it is called with.

    Args:
        function: Returned as it is if it is known to write into nothing.
    """
    inner = function.func if isinstance(function, partial) else function
    known = any(inner is one for one in _READS_ONLY)
    return function if known else partial(_on_copies, function)


def _on_copies(function: LossFunction, logits: Tensor, labels: Tensor) -> Tensor:
    return function(logits.clone(), labels.clone())


_READS_ONLY = (
    F.cross_entropy,
    F.multi_margin_loss,
    cross_entropy,
    squared_error,
    multi_margin,
    _on_copies,
)


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
            f"loss {name!r}: gave {got}, expected one number per example: a tensor of shape "
            f"{tuple(labels.shape)}",
            "return the loss of each example, not their mean (reduction='none')",
        )
    return value
