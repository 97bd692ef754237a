"""The measured examples of both splits, in passes that fit in memory."""

from __future__ import annotations

from collections.abc import Iterator
from copy import copy
from typing import get_args

import torch
from torch import Tensor

from orchestrator.data.dataset import Dataset, Split
from orchestrator.errors import MeasureError
from orchestrator.measures.measured_examples import measured_positions
from orchestrator.measures.network import in_precision


class MeasuredData:
    """The measured examples of both splits, on one device.

    ``data(split)`` returns the inputs, unconverted, and the labels of all of them;
    ``data.batches(split)`` yields them pass by pass, as the network takes them.

    Args:
        dataset: Train and test split.
        device: Device of the examples.
        dtype: Precision of real inputs in passes.
        examples: Number of measured examples per split; all by default.
        examples_per_pass: Maximum number of examples per pass.

    Attributes:
        pairs: Inputs and labels by split.
        examples_per_pass: Maximum number of examples per pass; smaller after :meth:`shrink_passes`.
        subsets: Positions in the split of each subset of examples that measures used, by split
            and number of examples; not for complete splits.

    Raises:
        MeasureError: If a split has no examples, or passes would have none.
    """

    def __init__(
        self,
        dataset: Dataset,
        *,
        device: torch.device,
        dtype: torch.dtype,
        examples: int | None,
        examples_per_pass: int,
    ) -> None:
        if examples_per_pass < 1:
            raise MeasureError(f"examples_per_pass must be at least 1, got {examples_per_pass}")
        self.dtype = dtype
        self.examples_per_pass = examples_per_pass
        self.pairs: dict[Split, tuple[Tensor, Tensor]] = {}
        self.subsets: dict[tuple[Split, int], Tensor] = {}
        self._positions: dict[Split, Tensor] = {}
        for split in get_args(Split):
            inputs, labels = dataset.split(split)
            chosen = measured_positions(dataset, split, examples)
            if chosen is not None:
                self.subsets[split, len(chosen)] = chosen
                inputs, labels = inputs[chosen.to(inputs.device)], labels[chosen.to(labels.device)]
            self._positions[split] = torch.arange(len(labels)) if chosen is None else chosen
            self.pairs[split] = inputs.to(device), labels.to(device)

    def in_dtype(self, dtype: torch.dtype) -> MeasuredData:
        """Return the same examples in passes of the same size with real inputs in ``dtype``."""
        other = copy(self)
        other.dtype = dtype
        return other

    def __call__(self, split: Split) -> tuple[Tensor, Tensor]:
        """Return the measured examples of ``split``: unconverted inputs, and labels."""
        return self.pairs[split]

    def n_examples(self, split: Split) -> int:
        """Return the number of measured examples of ``split``."""
        return len(self.pairs[split][1])

    def labels(self, split: Split) -> Tensor:
        """Return the labels of the measured examples, shape ``(n,)``, int64."""
        return self.pairs[split][1]

    def positions(self, split: Split) -> Tensor:
        """Return the positions of the measured examples in ``split``, shape ``(n,)``, int64."""
        return self._positions[split]

    def batches(self, split: Split) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield copies of the inputs (real ones in ``dtype``) and the labels, pass by pass."""
        for x, y in self.in_passes(*self.pairs[split]):
            yield in_precision(x, self.dtype), y

    def in_passes(self, *tensors: Tensor) -> Iterator[tuple[Tensor, ...]]:
        """Yield the rows of each pass, from tensors with one row per example."""
        yield from zip(*(torch.split(t, self.examples_per_pass) for t in tensors), strict=True)

    def shrink_passes(self) -> bool:
        """Quarter ``examples_per_pass``.

        Returns:
            False, without any change, if passes already consist of single examples.
        """
        largest = min(self.examples_per_pass, max(map(self.n_examples, self.pairs)))
        if largest > 1:
            self.examples_per_pass = max(1, largest // 4)
        return largest > 1
