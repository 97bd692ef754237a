"""Canonical order of rows, determined by their labels alone.

Resampling draws numbers for trials one after the other, so it depends on their order, whereas a
database returns rows in any order. Everything resampled or permuted is first numbered by this
rule, so that equal results have equal intervals.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from orchestrator.statistics.intervals.estimate import IntArray


def in_order(labels: Iterable[object]) -> list[object]:
    """Return the distinct labels, sorted; by type and text if Python cannot order them."""
    different = list(dict.fromkeys(labels))
    try:
        return sorted(different)  # type: ignore[type-var]
    except TypeError:
        return sorted(different, key=lambda label: (type(label).__name__, repr(label)))


def ordered_codes(labels: Sequence[object]) -> tuple[int, IntArray]:
    """Return the number of distinct labels, and each row's position in their sorted list."""
    numbers = {label: number for number, label in enumerate(in_order(labels))}
    return len(numbers), np.array([numbers[label] for label in labels], dtype=np.int64)


def row_order(*columns: Sequence[object]) -> IntArray:
    """Return row positions sorted by the labels in ``columns``, first column first; shape (n,)."""
    codes = [ordered_codes(column)[1] for column in columns]
    return np.lexsort(codes[::-1])
