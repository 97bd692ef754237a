"""The user's own network: a callable named by import path or entry point."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from orchestrator.errors import ModelError, error_text, named_error
from orchestrator.models.conversion import converted
from orchestrator.models.shared_tensors import tie_equal_memory
from orchestrator.models.wrappers import refuse_scripted, unwrapped
from orchestrator.study.import_path import own_code, resolve_import_path
from orchestrator.study.options import CustomOptions

_TRIED_EXAMPLES = 2


def build_custom(
    options: CustomOptions,
    input_shape: tuple[int, ...],
    classes: int,
    input_dtype: torch.dtype = torch.float32,
) -> nn.Module:
    """Call the callable named ``options.name`` and try its network on two examples.

    The callable gets ``input_shape``, ``classes`` and the other keys of the study file as
    keyword arguments. It should draw its weights from PyTorch's random numbers, which are
    seeded before the call. Wrappers (``torch.compile``, ``nn.DataParallel``) are removed, and
    real tensors are converted to float32.

    Args:
        options: Import path and arguments.
        input_shape: Shape of one example.
        classes: Number of logits.
        input_dtype: Type of the inputs: ``torch.float32``, or ``torch.int64`` for integers.

    Raises:
        ImportPathError: If the callable cannot be imported.
        ModelError: If the callable raises or does not return a module; if the network has parts
            compiled by ``torch.jit``, complex parameters, or different tensors in the same memory;
            or if its output is not ``(n, classes)`` logits.
    """
    create = resolve_import_path(options.name, kind="models")
    where = f"model {options.name!r}"
    try:
        with own_code():
            model = create(input_shape=input_shape, classes=classes, **options.arguments)
    except ModelError:
        raise
    except Exception as error:
        given = ", ".join(["input_shape", "classes", *options.arguments])
        raise ModelError(f"{where}: raised {named_error(error)} (called with {given})") from error
    if not isinstance(model, nn.Module):
        raise ModelError(f"{where}: returned a {type(model).__name__}, expected a torch.nn.Module")
    refuse_scripted(model, where)
    model = unwrapped(model)
    _require_real_parameters(model, where)
    types = {p.dtype for p in model.parameters() if p.is_floating_point()} - {torch.float32}
    model = converted(model, device="cpu", dtype=torch.float32)
    try:
        _try_out(
            model, torch.zeros(_TRIED_EXAMPLES, *input_shape, dtype=input_dtype), classes, where
        )
    except ModelError as error:
        raise ModelError(error.message, _hint(types, input_dtype)) from error.__cause__
    tie_equal_memory(model, where)
    return model


def _require_real_parameters(model: nn.Module, where: str) -> None:
    for name, parameter in model.named_parameters():
        if parameter.is_complex():
            raise ModelError(
                f"{where}: parameter {name} is of type {parameter.dtype}, expected real numbers",
                "register torch.view_as_real(weight) as the parameter, and use "
                "torch.view_as_complex(self.weight) in forward()",
            )


def _hint(types: set[torch.dtype], input_dtype: torch.dtype) -> str | None:
    """Return a hint on why the network may have failed on the examples."""
    if not input_dtype.is_floating_point:
        return (
            "the data are integers, which networks get unchanged, as embedding indices; "
            "store measured quantities as floats: x.astype('float32')"
        )
    if types:
        return (
            f"parameters of type {', '.join(sorted(map(str, types)))} were converted to "
            "torch.float32, the precision of training; convert inputs to the type of the "
            "parameters, not to a fixed type"
        )
    return None


def _try_out(model: nn.Module, examples: Tensor, classes: int, where: str) -> None:
    training = model.training
    try:
        with torch.no_grad(), own_code():
            logits = model.eval()(examples)
    except Exception as error:
        raise ModelError(
            f"{where}: raised {type(error).__name__} on examples of shape "
            f"{tuple(examples.shape)}: {error_text(error)}"
        ) from error
    finally:
        model.train(training)
    expected = f"expected logits of shape ({_TRIED_EXAMPLES}, {classes})"
    if not isinstance(logits, Tensor):
        raise ModelError(f"{where}: forward() returned a {type(logits).__name__}, {expected}")
    if tuple(logits.shape) != (_TRIED_EXAMPLES, classes) or not logits.is_floating_point():
        raise ModelError(
            f"{where}: forward() returned {logits.dtype} of shape {tuple(logits.shape)}, {expected}"
        )
