"""Selection of the measured examples of a split."""

from __future__ import annotations

from torch import Tensor

from orchestrator.data.dataset import Dataset, Split
from orchestrator.data.stratification import stratified_order
from orchestrator.errors import MeasureError
from orchestrator.random_streams import stream_seed


def moved_places(labels: Tensor, split: Split, examples: int) -> Tensor:
    """Return sorted indices, within the measured examples, of those whose inputs are perturbed."""
    order = stratified_order(labels, stream_seed(0, "moved_examples", split))
    return order[:examples].sort().values


def measured_positions(dataset: Dataset, split: Split, examples: int | None) -> Tensor | None:
    """Return the positions of the measured examples in their split; None if all are measured.

    Raises:
        MeasureError: If the split has no examples.
    """
    _, labels = dataset.split(split)
    if len(labels) == 0:
        raise MeasureError(f"the {split} split of {dataset.name} has no examples to measure on")
    if examples is None or examples >= len(labels):
        return None
    # The same examples for every trial, so that values are comparable between trials.
    order = stratified_order(labels, stream_seed(0, "measured_examples", split))
    return order[:examples].sort().values.cpu()
