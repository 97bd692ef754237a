"""Moving networks to a device and precision, preserving each tensor's kind and all weight ties."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def converted(
    model: nn.Module,
    *,
    device: str | torch.device | None = None,
    dtype: torch.dtype | None = None,
) -> nn.Module:
    """Convert a network in place, like ``nn.Module.to``, without changing its structure.

    Real tensors get the precision ``dtype``, and complex tensors the complex type of that precision
    (``nn.Module.to`` would drop their imaginary parts). Integers and booleans are unchanged. A
    buffer that is registered in several places stays one tensor.

    Args:
        model: The network.
        device: Target device; by default each tensor stays on its device.
        dtype: A real floating-point type; by default each tensor keeps its precision.

    Returns:
        The same network.
    """

    def convert(tensor: Tensor) -> Tensor:
        kind = None
        if dtype is not None and tensor.is_complex():
            kind = dtype.to_complex()
        elif tensor.is_floating_point():
            kind = dtype
        return tensor.to(device=device, dtype=kind)

    places: dict[int, tuple[Tensor, list[tuple[nn.Module, str]]]] = {}
    for module in model.modules():
        for name, buffer in module._buffers.items():
            if buffer is not None:
                places.setdefault(id(buffer), (buffer, []))[1].append((module, name))
    model._apply(convert)  # type: ignore[no-untyped-call]
    for before, where in places.values():
        module, name = where[0]
        after = before if isinstance(before, nn.Parameter) else module._buffers[name]
        for module, name in where:
            module._buffers[name] = after
    return model
