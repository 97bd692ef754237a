"""Training losses on logits, per example and averaged."""

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

    Functions from outside this package get copies, because they may modify their arguments
    (``logits[rows, labels] -= margin``) and logits are used again.

    Args:
        per_example: Returns the loss of each example, of shape ``(n,)``.
        mean: Returns the mean loss, if this is faster than averaging ``per_example``.
    """

    def __init__(self, per_example: LossFunction, mean: LossFunction | None = None) -> None:
        self.per_example = on_copies(per_example)
        self._mean = None if mean is None else on_copies(mean)

    def __call__(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return the mean loss, of shape ``()``."""
        if self._mean is not None:
            return self._mean(logits, labels)
        return self.per_example(logits, labels).mean()


def build_loss(options: LossOptions) -> Loss:
    """Build the loss selected in the ``training.loss`` part of a study file.

    Raises:
        ImportPathError: If the user's own loss cannot be imported.
        UserError: If the user's own loss is a module class that cannot be called with its
            arguments.
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
    """Return the squared distance of logits to one-hot labels, averaged over classes.

    The logits have shape ``(n, classes)``.

    Returns:
        ``Σ_c (z_c − [c = y])² / C``, of shape ``(n,)``.
    """
    one_hot = F.one_hot(labels, logits.shape[1]).to(logits.dtype)
    return (logits - one_hot).square().mean(dim=1)


def multi_margin(logits: Tensor, labels: Tensor, *, p: int, margin: float) -> Tensor:
    """Return the multi-class hinge loss, averaged over classes.

    It is that of ``torch.nn.functional.multi_margin_loss``, which lacks the second derivative
    needed to measure curvature.

    Returns:
        ``Σ_{j ≠ y} max(0, margin − z_y + z_j)^p / C``, of shape ``(n,)``.
    """
    true = labels[:, None]
    hinges = F.relu(margin - logits.gather(1, true) + logits).pow(p)
    return hinges.scatter(1, true, 0).mean(dim=1)


def on_copies(function: LossFunction) -> LossFunction:
    """Return a loss function that cannot modify the logits and labels it is called with.

    Args:
        function: The loss function; returned as it is if known not to modify its arguments.
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
            f"loss {name!r}: returned {got}, expected one number per example, a tensor of shape "
            f"{tuple(labels.shape)}",
            "return the loss of each example, not their mean (reduction='none')",
        )
    return value
