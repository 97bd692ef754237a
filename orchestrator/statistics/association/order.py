"""The order of rows in statistics: one that the labels give, whatever order rows come in.

Resampling draws numbers for trials one after the other, so it depends on their order, while a
database returns rows in any. Whatever is resampled or permuted is numbered by this rule first:
equal results then have equal intervals.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from orchestrator.statistics.intervals.estimate import IntArray


def in_order(labels: Iterable[object]) -> list[object]:
    """The different labels, sorted; by type and text where Python has no order for them."""
    different = list(dict.fromkeys(labels))
    try:
        return sorted(different)  # type: ignore[type-var]
    except TypeError:
        return sorted(different, key=lambda label: (type(label).__name__, repr(label)))


def ordered_codes(labels: Sequence[object]) -> tuple[int, IntArray]:
    """How many different labels there are, and the place of each row's among them, sorted."""
    numbers = {label: number for number, label in enumerate(in_order(labels))}
    return len(numbers), np.array([numbers[label] for label in labels], dtype=np.int64)


def row_order(*columns: Sequence[object]) -> IntArray:
    """Places of rows sorted by the labels in ``columns``, the first column first; shape (n,)."""
    codes = [ordered_codes(column)[1] for column in columns]
    return np.lexsort(codes[::-1])
