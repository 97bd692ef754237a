"""Which examples of a split are measured."""

from __future__ import annotations

from torch import Tensor

from orchestrator.data.dataset import Dataset, Split
from orchestrator.data.stratification import stratified_order
from orchestrator.errors import MeasureError
from orchestrator.random_streams import stream_seed


def moved_places(labels: Tensor, split: Split, examples: int) -> Tensor:
    """Places, among the measured examples, of those whose inputs measures move; ascending."""
    order = stratified_order(labels, stream_seed(0, "moved_examples", split))
    return order[:examples].sort().values


def measured_positions(dataset: Dataset, split: Split, examples: int | None) -> Tensor | None:
    """Places of the examples to measure on in their split; None if it is all of them.

    Raises:
        MeasureError: If the split has no examples.
    """
    _, labels = dataset.split(split)
    if len(labels) == 0:
        raise MeasureError(f"the {split} split of {dataset.name} has no examples to measure on")
    if examples is None or examples >= len(labels):
        return None
    # The same examples for every trial, so that values of different trials compare.
    order = stratified_order(labels, stream_seed(0, "measured_examples", split))
    return order[:examples].sort().values.cpu()
