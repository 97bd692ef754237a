"""The user's own network: a callable named by import path or entry point."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from orchestrator.errors import ModelError
from orchestrator.study.import_path import resolve_import_path
from orchestrator.study.options import CustomOptions

_TRIED_EXAMPLES = 2


def build_custom(options: CustomOptions, input_shape: tuple[int, ...], classes: int) -> nn.Module:
    """Call what ``options.name`` means, and try the network it returns on two examples.

    The callable gets ``input_shape``, ``classes`` and the further keys of the study file as
    keyword arguments. It should draw its weights from PyTorch's random numbers, which are
    seeded when it is called.

    Args:
        options: Import path and arguments.
        input_shape: Shape of one example.
        classes: Number of logits.

    Raises:
        ImportPathError: If it cannot be imported.
        ModelError: If it raises, returns no module, has tensors that share memory (a snapshot
            can't hold those), or gives anything but ``(n, classes)`` logits.
    """
    create = resolve_import_path(options.name, kind="models")
    where = f"model {options.name!r}"
    try:
        model = create(input_shape=input_shape, classes=classes, **options.arguments)
    except ModelError:
        raise
    except Exception as error:
        given = ", ".join(["input_shape", "classes", *options.arguments])
        raise ModelError(
            f"{where}: raised {type(error).__name__}: {error} (called with {given})"
        ) from error
    if not isinstance(model, nn.Module):
        raise ModelError(f"{where}: returned a {type(model).__name__}, expected a torch.nn.Module")
    model = model.to(device="cpu", dtype=torch.float32)
    _try_out(model, input_shape, classes, where)
    _require_own_memory(model, where)
    return model


def _try_out(model: nn.Module, input_shape: tuple[int, ...], classes: int, where: str) -> None:
    training = model.training
    examples = torch.zeros(_TRIED_EXAMPLES, *input_shape)
    try:
        with torch.no_grad():
            logits = model.eval()(examples)
    except Exception as error:
        raise ModelError(
            f"{where}: raised {type(error).__name__} on examples of shape "
            f"{tuple(examples.shape)}: {error}"
        ) from error
    finally:
        model.train(training)
    expected = f"expected logits of shape ({_TRIED_EXAMPLES}, {classes})"
    if not isinstance(logits, Tensor):
        raise ModelError(f"{where}: gave a {type(logits).__name__}, {expected}")
    if tuple(logits.shape) != (_TRIED_EXAMPLES, classes) or not logits.is_floating_point():
        raise ModelError(f"{where}: gave {logits.dtype} of shape {tuple(logits.shape)}, {expected}")


def _require_own_memory(model: nn.Module, where: str) -> None:
    owners: dict[int, str] = {}
    for name, tensor in model.state_dict().items():
        if tensor.numel() == 0:
            continue
        owner = owners.setdefault(tensor.untyped_storage().data_ptr(), name)
        if owner != name:
            raise ModelError(
                f"{where}: {owner} and {name} share memory, which a snapshot cannot hold",
                "register the tensor under one name and use that name twice in forward()",
            )
