"""Measures as a user would write them, named by import path in the tests."""

from __future__ import annotations

from collections.abc import Iterator
from math import inf, nan
from typing import Any

import torch

from orchestrator.measures import CatalogEntry, Curve, Measure, MeasureContext, Value


def logit_scale(context: MeasureContext, power: float = 1.0) -> Iterator[Any]:
    logits = context.logits("train")
    yield "logit_scale", logits.abs().mean().item() ** power
    yield "logit_spread", logits.std(), 0.5
    yield Value("logit_scale", 1.0, variant="test", split="test")


def draws_a_number(context: MeasureContext) -> Iterator[Any]:
    for name, generator in (
        ("own", context.trial_generator("noise", 1)),
        ("common", context.generator("noise", 1)),
    ):
        yield name, torch.rand((), generator=generator)
    yield "seed", context.trial_seed


def gives_no_reason(context: MeasureContext) -> Iterator[Any]:
    yield "pair", inf
    yield "triple", 1.0, nan
    yield Value("of_data", -inf)
    yield Curve("line", [0.0, 1.0], [nan, 2.0], split="test")
    yield Value("reasoned", nan, reason="its own")


def fails_late(context: MeasureContext) -> Iterator[Any]:
    yield "before_it_failed", 1
    raise ZeroDivisionError("of my own")


def runs_out_of_memory(context: MeasureContext) -> Iterator[Any]:
    yield "before", 1
    raise torch.OutOfMemoryError("CUDA out of memory")


def needs_small_passes(context: MeasureContext, most: int) -> Iterator[Any]:
    sizes = [len(y) for _, y in context.data.batches("train")]
    yield "before", context.loss_value("train")
    if max(sizes) > most:
        raise torch.OutOfMemoryError("CUDA out of memory.\nTried to allocate 2 GiB.")
    yield "passes", len(sizes)


def runs_out_of_main_memory(context: MeasureContext) -> Iterator[Any]:
    torch.empty(2**60, dtype=torch.uint8)
    yield "never", 1


def is_interrupted(context: MeasureContext) -> Iterator[Any]:
    raise KeyboardInterrupt
    yield


def returns(context: MeasureContext, what: Any) -> Any:
    return what


class LogitNorm(Measure):
    entries = (CatalogEntry("my_logit_norm", "margin", "‖z‖", "logit", "neutral", "none", "1 F"),)
    version = 3

    def __init__(self, order: int = 2) -> None:
        self.order = order

    def compute(self, context: MeasureContext) -> Iterator[Value]:
        norm = torch.linalg.vector_norm(context.logits("train"), ord=self.order)
        yield Value("my_logit_norm", norm.item())


def logit_histogram(context: MeasureContext) -> Iterator[Any]:
    logits = context.logits("test")
    counts, edges = torch.histogram(logits.cpu().to(torch.float64), bins=4)
    yield "logit_largest", logits.max()
    yield Curve("logit_histogram", edges[:-1].tolist(), counts.tolist(), split="test")
    yield Curve("logit_pole", [0.0, 1.0], [float("inf"), 1.0], y=[2.0, 3.0], reason="a pole")


def only_a_curve(context: MeasureContext) -> Iterator[Any]:
    yield Curve("lonely", [0.0], [1.0])
