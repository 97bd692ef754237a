"""Detection of hooks that change a network's function, so that weights do not determine it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.nn.modules import module as of_all_modules

from orchestrator.measures.context import MeasureContext

_EXAMPLES = 16
_TOLERANCE = 1e-6  # Relative to the largest logit; hooks that only observe change nothing at all.


def hooks_change_logits(context: MeasureContext) -> bool:
    """Whether logits differ when no hook is called, on a few training examples.

    Hooks that record do not change them. Neither do hooks that compute a layer's weight from
    other parameters (the older ``torch.nn.utils.weight_norm``), as the weight keeps its last value.

    Args:
        context: The network. If it has hooks, it runs once more, and they are restored afterwards.
    """

    def compute() -> bool:
        tables = list(_tables(context.model))
        if not any(tables):
            return False
        inputs, _ = next(context.data.batches("train"))
        found = context.logits("train")[: len(inputs[:_EXAMPLES])]
        with torch.no_grad(), _emptied(tables):
            bare = context.forward(inputs[:_EXAMPLES].clone())
        difference = (found - bare).abs().max().item()
        return not difference <= _TOLERANCE * found.abs().max().item()

    return context.shared("hooks_change_logits", compute)


def _tables(model: nn.Module) -> Iterator[dict[int, Any]]:
    yield of_all_modules._global_forward_hooks
    yield of_all_modules._global_forward_pre_hooks
    for module in model.modules():
        yield module._forward_hooks
        yield module._forward_pre_hooks


@contextmanager
def _emptied(tables: list[dict[int, Any]]) -> Iterator[None]:
    before = [dict(table) for table in tables]
    for table in tables:
        table.clear()
    try:
        yield
    finally:
        for table, hooks in zip(tables, before, strict=True):
            table.update(hooks)
