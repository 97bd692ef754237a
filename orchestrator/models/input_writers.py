"""Whether a network may write into the inputs it is given."""

from __future__ import annotations

from torch import nn
from torch.nn.modules import module as torch_module

_KNOWN = ("torch.nn.modules.", "orchestrator.models.")


def may_write_into_inputs(model: nn.Module) -> bool:
    """Whether the network must be given copies: examples are used again, by other networks too.

    A network of PyTorch's own layers is known not to write into its inputs, unless a layer is
    ``inplace`` or has a hook. Anything else may, perhaps only sometimes (``x.sub_(mean)``,
    ``x.data.clamp_(0, 1)``), so that trying it out proves nothing.

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
