"""The order in which one epoch visits the training split."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from orchestrator.random_streams import stream_seed
from orchestrator.training.augmentation import Augmentation, Kind


class EpochBatches:
    """The batches of one epoch, available in any order and repeatedly.

    Every epoch has its own permutation, and every example is used once. If the batch size does not
    divide the number of examples, the last batch is smaller. If it exceeds that number, the only
    batch is the whole split.

    Args:
        inputs: Shape ``(n, *input_shape)``, resident on the device.
        labels: Shape ``(n,)``.
        batch_size: Examples per batch.
        seed: The trial's seed; order and augmentation have separate random streams.
        epoch: Number of the epoch, from 1.
        augmentation: Changes to make to the inputs.

    Raises:
        DataError: If augmentation is requested and the inputs are not images.
    """

    def __init__(
        self,
        inputs: Tensor,
        labels: Tensor,
        batch_size: int,
        *,
        seed: int,
        epoch: int,
        augmentation: Sequence[Kind] = (),
    ) -> None:
        self._inputs, self._labels = inputs, labels
        self._batch_size = batch_size
        generator = torch.Generator().manual_seed(stream_seed(seed, "order", epoch))
        order = torch.randperm(len(labels), generator=generator)
        self._parts = torch.split(order.to(inputs.device), batch_size)
        self._augment: Augmentation | None = None
        if augmentation:
            generator.manual_seed(stream_seed(seed, "augmentation", epoch))
            self._augment = Augmentation(
                augmentation, len(labels), tuple(inputs.shape[1:]), generator, inputs.device
            )

    def __len__(self) -> int:
        return len(self._parts)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        """Return the inputs and labels of one batch."""
        part = self._parts[index]
        inputs = self._inputs.index_select(0, part)
        if self._augment is not None:
            inputs = self._augment(inputs, index * self._batch_size)
        return inputs, self._labels.index_select(0, part)


def updates_per_epoch(n: int, batch_size: int) -> int:
    """Return the number of batches of ``n`` examples; the last batch may be smaller."""
    return math.ceil(n / batch_size)


def examples_after(step: int, n: int, batch_size: int) -> int:
    """Return the number of examples used by ``step`` updates, counting repetitions."""
    epochs, updates = divmod(step, updates_per_epoch(n, batch_size))
    return epochs * n + min(updates * batch_size, n)
