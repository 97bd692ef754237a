"""Networks inside of wrappers: ``torch.compile``, ``nn.DataParallel`` and the like.

A wrapper changes how a network is run, not what it computes, but it hides the layers: hooks, names
and second derivatives are those of the module inside.
"""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from orchestrator.errors import ModelError

_COMPILED, _PARALLEL = "_orig_mod", "module"


def refuse_scripted(model: nn.Module, where: str) -> None:
    """Refuse networks with parts compiled by ``torch.jit``: there is no module inside to measure.

    Args:
        model: Any network.
        where: What it is, for messages.

    Raises:
        ModelError: If there is such a part.
    """
    for name, module in model.named_modules():
        if isinstance(module, torch.jit.ScriptModule):
            part = f"its part {name!r}" if name else "it"
            raise ModelError(
                f"{where}: {part} is a {type(module).__name__}, compiled by torch.jit, of which "
                "layers, moved parameters and exact second derivatives cannot be had",
                "return the module itself, as it is before torch.jit.script or torch.jit.trace",
            )


def unwrapped(model: nn.Module) -> nn.Module:
    """The network without its wrappers, at whatever depth they are.

    Args:
        model: Submodules that are wrapped are replaced in place by what is inside.

    Returns:
        The module inside of ``model``; ``model`` itself if it is no wrapper.
    """
    model = _inside(model)
    for module in list(model.modules()):
        if getattr(module, "_compiled_call_impl", None) is not None:  # by nn.Module.compile()
            module._compiled_call_impl = None
        for name, child in module._modules.items():
            if child is not None:
                module._modules[name] = _inside(child)
    return model


@contextmanager
def eagerly() -> Iterator[None]:
    """Run functions that were decorated with ``torch.compile`` as they are written.

    Compiled ones have no second derivative, and PyTorch reports none as zero where parts of a graph
    may be unused.
    """
    if "torch._dynamo" not in sys.modules:  # Nothing was compiled, and it takes seconds to import.
        yield
        return
    with torch.compiler.set_stance("force_eager"):
        yield


def named_as(names: Collection[str], state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors under the names of a network, if they were stored under those of a wrapper.

    Args:
        names: What the tensors of the network without wrappers are called.
        state: Those of the same network, perhaps wrapped.

    Returns:
        The tensors by ``names``; by their own names if those do not fit either way.
    """
    for wrappers in ((), (_COMPILED,), (_COMPILED, _PARALLEL)):
        renamed = {_without(name, wrappers): value for name, value in state.items()}
        if renamed.keys() == set(names):
            return renamed
    return dict(state)


def _inside(module: nn.Module) -> nn.Module:
    while True:
        if isinstance(module, nn.DataParallel | nn.parallel.DistributedDataParallel):
            module = module.module
        # By name: importing torch._dynamo takes seconds.
        elif type(module).__module__.startswith("torch._dynamo") and _COMPILED in module._modules:
            module = module.get_submodule(_COMPILED)
        else:
            return module


def _without(name: str, wrappers: Collection[str]) -> str:
    return ".".join(part for part in name.split(".") if part not in wrappers)
