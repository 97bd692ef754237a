"""Summaries of distances to the decision boundary that never average unbounded ones."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from math import inf, nan

import torch
from torch import Tensor

from orchestrator.data.dataset import Split
from orchestrator.measures.base import CatalogEntry, Direction, Value
from orchestrator.measures.robustness.survival import kaplan_meier

QUANTILES = {"median": 0.5, "p10": 0.1, "p25": 0.25}


@dataclass(frozen=True)
class Distances:
    """Distances of examples to the nearest point that is classified differently.

    Attributes:
        split: Split of the examples.
        values: Shape ``(n,)``; where unbounded, a distance that is certainly exceeded, which
            may be infinity.
        unbounded: Whether no such point was found, shape ``(n,)``, bool.
        correct: Whether the example is classified correctly, shape ``(n,)``.
    """

    split: Split
    values: Tensor
    unbounded: Tensor
    correct: Tensor


def summarize_distances(
    measure: str, variant: str, distances: Distances, unbounded: str
) -> Iterator[Value]:
    """Yield quantiles over all examples, mean and minimum over correct ones, and two shares.

    The shares are those of unbounded distances and of misclassified examples.

    Args:
        measure: Prefix of the names.
        variant: Variant of the values.
        distances: The distances.
        unbounded: Name of the share of unbounded distances.
    """
    values, correct = distances.values.to(torch.float64), distances.correct
    value = partial(Value, variant=variant, split=distances.split, n_examples=len(values))
    if values.isnan().any():
        reason = f"{int(values.isnan().sum())} of {len(values)} distances are NaN"
        for name in (*QUANTILES, "min", "mean", unbounded, "misclassified_share"):
            yield value(f"{measure}_{name}", nan, reason=reason)
        return
    survival = kaplan_meier(values.cpu().numpy(), distances.unbounded.cpu().numpy())
    share = distances.unbounded.to(torch.float64).mean().item()
    for name, quantile in QUANTILES.items():
        found = survival.quantile(quantile)
        why = None
        if found == inf:
            why = f"a share of {share:.3g} of the examples has no bound"
        elif found == -inf:
            lost = (values == -inf).to(torch.float64).mean().item()
            why = f"a share of {lost:.3g} of the examples is misclassified wherever it is moved"
        yield value(f"{measure}_{name}", found, reason=why)
    known = correct & ~distances.unbounded
    if known.any():
        yield value(f"{measure}_min", values[known].min().item())
    else:
        yield value(f"{measure}_min", inf, reason="no correctly classified example has a bound")
    missing = int((correct & distances.unbounded).sum())
    if missing or not correct.any():
        reason = f"{missing} of {int(correct.sum())} correctly classified examples have no bound"
        yield value(f"{measure}_mean", nan, reason=reason)
    else:
        yield value(f"{measure}_mean", values[correct].mean().item())
    yield value(f"{measure}_{unbounded}", share)
    yield value(f"{measure}_misclassified_share", 1 - correct.to(torch.float64).mean().item())


def distance_entries(
    measure: str, symbol: str, citation: str, cost: str, unbounded: str
) -> tuple[CatalogEntry, ...]:
    """Return the catalog entries of all values that :func:`summarize_distances` yields."""
    rows: tuple[tuple[str, str, Direction], ...] = (
        ("median", f"median {symbol}", "higher"),
        ("p10", f"10th percentile of {symbol}", "higher"),
        ("p25", f"25th percentile of {symbol}", "higher"),
        ("min", f"min {symbol} over correct examples", "higher"),
        ("mean", f"E {symbol} over correct examples", "higher"),
        (unbounded, f"Pr[{symbol} unbounded]", "neutral"),
        ("misclassified_share", "Pr[misclassified]", "lower"),
    )
    return tuple(
        CatalogEntry(
            measure=f"{measure}_{name}",
            family="margin",
            symbol=text,
            unit="1" if name.endswith("share") else "standardized input",
            direction=direction,
            citation=citation,
            cost=cost,
            invariances="layer rescaling, logit scale",
        )
        for name, text, direction in rows
    )
