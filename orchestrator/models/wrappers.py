"""Networks inside wrappers such as ``torch.compile`` and ``nn.DataParallel``.

A wrapper changes how a network runs, not what it computes, but it hides the layers. Hooks, names
and second derivatives need the module inside.
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
    """Refuse networks with parts compiled by ``torch.jit``, which contain no module to measure.

    Args:
        model: Any network.
        where: Description of the network, for messages.

    Raises:
        ModelError: If the network has such a part.
    """
    for name, module in model.named_modules():
        if isinstance(module, torch.jit.ScriptModule):
            part = f"its part {name!r}" if name else "it"
            raise ModelError(
                f"{where}: {part} is a {type(module).__name__}, compiled by torch.jit, which gives "
                "no access to layers, moved parameters and exact second derivatives",
                "return the original module, without torch.jit.script or torch.jit.trace",
            )


def unwrapped(model: nn.Module) -> nn.Module:
    """Return the network without its wrappers, at any depth.

    Args:
        model: The network; its wrapped submodules are replaced in place by the modules inside.

    Returns:
        The module inside ``model``, or ``model`` itself if it is not a wrapper.
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
    """Run functions decorated with ``torch.compile`` without compilation.

    Compiled functions have no second derivative. PyTorch reports a missing one as zero if parts of
    a graph may be unused.
    """
    if "torch._dynamo" not in sys.modules:  # Nothing was compiled; importing it takes seconds.
        yield
        return
    with torch.compiler.set_stance("force_eager"):
        yield


def named_as(names: Collection[str], state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename tensors that were stored under the names of a wrapper to those of its network.

    Args:
        names: Names of the tensors in the network without wrappers.
        state: Tensors of the same network, perhaps wrapped.

    Returns:
        The tensors by ``names``, or by their own names if no renaming fits.
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
