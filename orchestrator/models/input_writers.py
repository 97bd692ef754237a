"""Detection of networks that may write into their inputs."""

from __future__ import annotations

from torch import nn
from torch.nn.modules import module as torch_module

_KNOWN = ("torch.nn.modules.", "orchestrator.models.")


def may_write_into_inputs(model: nn.Module) -> bool:
    """Whether a network needs copies of its inputs, which later passes and other networks reuse.

    A network of PyTorch's own layers never writes into its inputs unless a layer is ``inplace`` or
    has a hook. Any other network may do so, perhaps only sometimes (``x.sub_(mean)``,
    ``x.data.clamp_(0, 1)``), so a trial run proves nothing.

    Args:
        model: Any network.
    """
    if torch_module._global_forward_pre_hooks or torch_module._global_forward_hooks:
        return True
    return not all(map(_reads_only, model.modules()))


def _reads_only(module: nn.Module) -> bool:
    return (
        type(module).__module__.startswith(_KNOWN)
        and not getattr(module, "inplace", False)
        and not module._forward_pre_hooks
        and not module._forward_hooks
        and "forward" not in vars(module)
    )
