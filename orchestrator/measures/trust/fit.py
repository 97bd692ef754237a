"""Check, made for every context, that outputs and labels fit the classification task."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager

import torch
from torch import Tensor

from orchestrator.data.dataset import Split
from orchestrator.errors import MeasureError, OrchestratorError
from orchestrator.measures.network import WrongPrecision

_TRIED_EXAMPLES = 2


def random_state_kept(device: torch.device) -> AbstractContextManager[None]:
    """Return a context that restores PyTorch's random state at its end."""
    return torch.random.fork_rng(devices=[device] if device.type == "cuda" else [])


def require_fitting(
    classes: int,
    labels: Mapping[Split, Tensor],
    inputs: Tensor,
    forward: Callable[[Tensor], Tensor],
) -> None:
    """Refuse a network and data to which the formulas of classification do not apply.

    Args:
        classes: Number of classes.
        labels: Labels of each split.
        inputs: Some examples, on the device of the network.
        forward: Function from inputs to logits.

    A network that raises an exception is not refused: some measures need no pass through it, and
    the rows of the others give the reason.

    Raises:
        MeasureError: If a label is not a class, the number of classes is below two, or the network
            does not return one floating-point logit per class for each example.
    """
    if classes < 2:
        raise MeasureError(
            f"the data have {classes} class, expected at least 2",
            "only classifiers can be measured; for two classes use two logits and labels 0 and 1",
        )
    for split, given in labels.items():
        if given.is_floating_point() or given.ndim != 1:
            raise MeasureError(
                f"the {split} labels are {given.dtype} of shape {tuple(given.shape)}, expected "
                f"one integer per example: int64 of shape ({len(given)},)"
            )
        least, most = int(given.min()), int(given.max())
        if least < 0 or most >= classes:
            raise MeasureError(
                f"the {split} labels range from {least} to {most}, expected 0 to {classes - 1} "
                f"for {classes} classes"
            )
    try:
        with random_state_kept(inputs.device), torch.no_grad():
            logits = forward(inputs[:_TRIED_EXAMPLES].clone())
    except Exception as error:
        if isinstance(error, OrchestratorError) and not isinstance(error, WrongPrecision):
            raise
        return  # ``measuring_precision`` reports it for measures that need passes.
    if not logits.is_floating_point():
        raise MeasureError(f"the logits are {logits.dtype}, expected floating-point numbers")
    if logits.shape[1] != classes:
        raise MeasureError(
            f"the network returns {logits.shape[1]} logits per example, expected {classes} (one "
            "per class)",
            "only classifiers can be measured; for two classes use two logits"
            if classes == 2
            else None,
        )
