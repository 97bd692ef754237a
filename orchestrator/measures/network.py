"""The network of a context: a copy of the user's network, called in one place."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from orchestrator.errors import MeasureError, error_text
from orchestrator.measures.memory import is_out_of_memory
from orchestrator.models.conversion import converted
from orchestrator.models.input_writers import may_write_into_inputs
from orchestrator.models.shared_tensors import call_with, copy_with_ties, tensor_sites
from orchestrator.models.wrappers import eagerly, refuse_scripted, unwrapped


class WrongPrecision(MeasureError):
    """A network that runs in float32, but not in the precision of its measures."""


class MeasuredNetwork:
    """A copy of a network in eval mode, without wrappers, in the precision of its measures.

    Args:
        model: The network; not modified.
        device: Device to compute on.
        dtype: Precision of its real tensors.
        sample: A few unconverted inputs of the data set.

    Attributes:
        module: The copy.
    """

    def __init__(
        self, model: nn.Module, device: torch.device, dtype: torch.dtype, sample: Tensor
    ) -> None:
        self.module = measured_copy(model, device=device, dtype=dtype)
        self._dtype, self._sample = dtype, sample
        self._sites = tensor_sites(self.module)
        self._logits_dtype: torch.dtype | None = None
        self._copies = may_write_into_inputs(self.module)

    def __call__(self, inputs: Tensor, tensors: Mapping[str, Tensor] | None = None) -> Any:
        """Return the network's output for ``inputs``, which are not modified.

        Args:
            inputs: Inputs converted by :func:`in_precision`.
            tensors: Parameters or buffers that replace the network's own, by name; one name of a
                shared tensor is enough.

        Raises:
            WrongPrecision: If it runs in float32, but not in the precision of its measures.
        """
        if self._copies:  # A writable copy: unlike a leaf, it may be modified.
            inputs = inputs.clone()
        try:
            with eagerly():
                if tensors is None:
                    logits = self.module(inputs)
                else:
                    logits = call_with(self.module, self._sites, tensors, inputs)
        except (RuntimeError, TypeError) as error:
            if isinstance(error, torch.AcceleratorError) or is_out_of_memory(error):
                raise
            reason = precision_problem(self.module, self._sample, self._dtype)
            if reason is None:
                raise
            raise WrongPrecision(*reason) from error
        if isinstance(logits, Tensor):
            self._logits_dtype = logits.dtype
        return logits

    def logits_dtype(self) -> torch.dtype:
        """Return the precision of the logits; the measures' precision if the network fails."""
        if self._logits_dtype is None:
            try:
                with torch.no_grad():
                    self(in_precision(self._sample, self._dtype))
            except Exception:  # User code; each measure reports its errors.
                return self._dtype
        return self._logits_dtype or self._dtype


def measured_copy(
    model: nn.Module, *, dtype: torch.dtype, device: torch.device | None = None
) -> nn.Module:
    """Copy a network, with its ties but without wrappers, into a precision and eval mode.

    Args:
        model: The network; not modified.
        dtype: Precision of its real tensors.
        device: Target device; by default each tensor stays on its device.

    Raises:
        ModelError: If parts are compiled by ``torch.jit``, or different tensors overlap in memory.
    """
    refuse_scripted(model, "the network")
    copy = copy_with_ties(model, "the network")
    return converted(unwrapped(copy), device=device, dtype=dtype).eval()


def in_precision(inputs: Tensor, dtype: torch.dtype) -> Tensor:
    """Return a copy of inputs in ``dtype``; integers, such as token ids, stay integers."""
    if inputs.is_complex():
        dtype = dtype.to_complex()
    elif not inputs.is_floating_point() and inputs.dtype != torch.bool:
        dtype = inputs.dtype
    return inputs.to(dtype, copy=True)


def precision_problem(
    model: nn.Module, inputs: Tensor, dtype: torch.dtype
) -> tuple[str, str] | None:
    """Return why a network that runs in float32 cannot be measured in ``dtype``.

    Args:
        model: The network in eval mode; not modified.
        inputs: A few unconverted examples of the data set.
        dtype: The precision to measure in.

    Returns:
        Message and hint; None if it runs in ``dtype`` or also fails in float32.
    """
    if dtype == torch.float32:
        return None
    reason = _failure(model, inputs, dtype)
    if reason is None or _failure(model, inputs, torch.float32) is not None:
        return None
    name = str(dtype).removeprefix("torch.")
    return (
        f"the network runs in float32, but not in {name}, the precision of measuring: {reason}",
        "give tensors made in forward() the precision of its inputs: "
        "torch.zeros(…, dtype=x.dtype); or measure in float32, with measuring: {dtype: float32}",
    )


def _failure(model: nn.Module, inputs: Tensor, dtype: torch.dtype) -> str | None:
    try:
        network = converted(copy_with_ties(model, "the network"), dtype=dtype)
        with torch.no_grad():
            network(in_precision(inputs, dtype))
    except Exception as error:  # User code may raise anything.
        return error_text(error).splitlines()[0]
    return None
