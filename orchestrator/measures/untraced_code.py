"""Code of a network that a graph traced by ``torch.fx`` may miss: hooks and replaced passes."""

from __future__ import annotations

from collections.abc import Iterator

from torch import nn

_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


def is_modified(module: nn.Module) -> bool:
    """Return whether a layer or network has hooks or a forward pass of its own instance."""
    hooked = any(getattr(module, hooks) for hooks in _HOOKS)
    return hooked or "forward" in vars(module)


def untraced(model: nn.Module) -> Iterator[str]:
    """Yield code around a network's layers that affects passes or derivatives."""
    if is_modified(model) or type(model).__call__ is not nn.Module.__call__:
        yield "the network itself has hooks or a replaced forward pass"
    if any(getattr(nn.modules.module, f"_global{hooks}") for hooks in _HOOKS):
        yield "hooks are registered for all modules of the process"
    for name, parameter in model.named_parameters():
        if parameter._backward_hooks or parameter._post_accumulate_grad_hooks:
            yield f"parameter {name!r} has hooks"
