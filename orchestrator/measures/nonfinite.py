"""Reasons for non-finite values whose measure gave none."""

from __future__ import annotations

from math import isfinite, isnan

import torch

from orchestrator.errors import error_text
from orchestrator.measures.base import Curve, Value
from orchestrator.measures.context import MeasureContext


def why_not_finite(context: MeasureContext, found: Value | Curve) -> str:
    """Return a cause in the network, or else name the non-finite numbers.

    Args:
        context: The network that was measured.
        found: A value or curve with a non-finite number and no reason.
    """
    return _of_network(context, found) or f"{_numbers(found)}; the measure gave no reason"


def _of_network(context: MeasureContext, found: Value | Curve) -> str:
    """Return the non-finite part of the network itself, or ""."""

    def unusable() -> str:
        wrong = [name for name, p in context.parameters.items() if not p.isfinite().all()]
        if not wrong:
            return ""
        return (
            f"{len(wrong)} of {len(context.parameters)} parameters of the network are not finite "
            f"(first {wrong[0]!r}), possibly because training diverged"
        )

    reason = context.shared("why_parameters_are_not_finite", unusable)
    split = found.split
    if reason or split is None:
        return reason

    def overflown() -> str:
        try:
            finite = context.logits(split).isfinite().all(dim=1)
        except torch.AcceleratorError:
            raise
        except Exception as error:  # A custom measure may not have called the network.
            return f"{type(error).__name__} when calling the network: {error_text(error)}"
        missing = int((~finite).sum())
        return f"logits of {missing} of {len(finite)} {split} examples are not finite" * (
            missing > 0
        )

    return context.shared(("why_logits_are_not_finite", split), overflown)


def _numbers(found: Value | Curve) -> str:
    if isinstance(found, Curve):
        numbers = [*found.x, *found.values, *(found.y or ()), *(found.standard_errors or ())]
        missing = sum(not isfinite(number) for number in numbers)
        return f"{missing} of {len(numbers)} numbers of the curve are not finite"
    if isfinite(found.value):
        return f"the standard error is {_name(found.standard_error)}"
    return f"the value is {_name(found.value)}"


def _name(number: float | None) -> str:
    if number is None or isnan(number):
        return "not a number"
    return "infinite" if number > 0 else "minus infinity"
