"""A network and all the state that changes during training."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from orchestrator.data.dataset import Dataset, Split
from orchestrator.errors import ModelError
from orchestrator.models import build_model, named_as
from orchestrator.models.conversion import converted
from orchestrator.models.input_writers import may_write_into_inputs
from orchestrator.random_streams import stream_seed
from orchestrator.study.spec import TrialConfig
from orchestrator.study.trials import effective_learning_rate
from orchestrator.training.augmentation import require_images
from orchestrator.training.batches import EpochBatches, updates_per_epoch
from orchestrator.training.evaluation import SplitMetrics, evaluate
from orchestrator.training.losses import build_loss
from orchestrator.training.nested import copy_nested, copy_tensor
from orchestrator.training.optimizers import build_optimizer
from orchestrator.training.process_state import RandomStream, reproducible_kernels
from orchestrator.training.schedules import last_update, learning_rate_factor


@dataclass(frozen=True)
class Moment:
    """A point in an epoch that the learner can return to."""

    step: int
    values: list[Tensor]
    buffers: dict[str, Tensor]
    optimizer: dict[str, Any]
    dropout: list[Any]


class Learner:
    """A network in training: makes updates, evaluates and returns to earlier points.

    Equal arguments give equal bits, regardless of what else the process does. Between calls,
    PyTorch's global state is unchanged.

    Args:
        config: Model and training of the trial.
        seed: The trial's seed.
        dataset: The data set, on any device.
        device: Device to train on.

    Attributes:
        model: The network.
        step: Updates made so far.
        epoch: The epoch begun last.
        updates_per_epoch: Batches per epoch.
        last_step: Step at which ``stop.epochs`` or ``stop.updates`` ends training; infinite if
            neither is set.

    Raises:
        UserError: If parts of the configuration do not fit each other or the data.
    """

    def __init__(
        self, config: TrialConfig, seed: int, dataset: Dataset, device: torch.device
    ) -> None:
        training = config.training
        if training.augmentation:
            require_images(training.augmentation, dataset.input_shape)
        self._training, self._seed, self._device = training, seed, device
        self._dataset = dataset.to(device)
        self.updates_per_epoch = updates_per_epoch(len(dataset.train_y), training.batch_size)
        self.last_step = last_update(training.stop, self.updates_per_epoch)
        self.model = build_model(
            config.model, dataset.input_shape, dataset.classes, seed, dataset.train_x.dtype
        )
        converted(self.model, device=device)
        self._dropout = RandomStream(device)
        self._dropout.seed(stream_seed(seed, "construction"))
        self._learning_rate = effective_learning_rate(training)
        with self._dropout.borrowed():  # For user-defined losses and optimizers.
            self._loss = build_loss(training.loss)
            self._optimizer = build_optimizer(training.optimizer, self.model, self._learning_rate)
        # A batch is already a copy, but an update may use it for several gradients.
        repeats = self._optimizer.repeats_gradients
        self._copies = repeats and may_write_into_inputs(self.model)
        self._factor = learning_rate_factor(
            training.schedule, self.updates_per_epoch, self.last_step
        )
        self.step = self.epoch = self._epoch_start = 0

    def begin_epoch(self, epoch: int) -> None:
        """Draw the order and the augmentation of an epoch, counted from 1."""
        self.epoch, self._epoch_start = epoch, self.step
        self._batches = EpochBatches(
            self._dataset.train_x,
            self._dataset.train_y,
            self._training.batch_size,
            seed=self._seed,
            epoch=epoch,
            augmentation=self._training.augmentation,
        )
        self._dropout.seed(stream_seed(self._seed, "dropout", epoch))

    def train_until(self, step: float, seconds: float = math.inf) -> float:
        """Make updates within the current epoch.

        Args:
            step: Step at which to stop, in updates since the beginning of training.
            seconds: Time after which to stop, if that comes first.

        Returns:
            The seconds taken.
        """
        if self.step >= step:
            return 0.0
        started = time.perf_counter()
        self.model.train()
        with self._dropout.borrowed(), reproducible_kernels(self._device):
            while self.step < step:
                inputs, labels = self._batches[self.step - self._epoch_start]
                self._optimizer.update(
                    partial(self._gradient, inputs, labels), self._factor(self.step)
                )
                self.step += 1
                if time.perf_counter() - started >= seconds:
                    break
            if self._device.type == "cuda":
                torch.cuda.synchronize(self._device)
        return time.perf_counter() - started

    def _gradient(self, inputs: Tensor, labels: Tensor) -> Tensor:
        self._optimizer.zero_gradients()
        if self._copies:
            inputs = inputs.clone()
        with torch.enable_grad():
            try:
                loss = self._loss(self.model(inputs), labels)
            except ValueError as error:
                if len(labels) > 1 or "more than 1 value per channel" not in str(error):
                    raise
                raise ModelError(
                    "model: batch normalization needs two examples per batch, but "
                    f"{len(self._dataset.train_y)} examples with training.batch_size "
                    f"{self._training.batch_size} leave a batch of one",
                    "choose another training.batch_size or data.train_size",
                ) from error
            loss.backward()  # type: ignore[no-untyped-call]
        return loss

    def learning_rate(self) -> float:
        """Return the learning rate of the last update, or of the first if none was made yet."""
        return self._learning_rate * self._factor(max(self.step - 1, 0))

    def evaluate(self, split: Split) -> SplitMetrics:
        """Evaluate the network at the current step, without any effect on training."""
        stream = RandomStream(self._device)
        stream.seed(stream_seed(self._seed, "evaluation"))
        with stream.borrowed(), reproducible_kernels(self._device):
            return evaluate(self.model, *self._dataset.split(split), self._loss)

    def is_finite(self) -> bool:
        """Whether every trained parameter is finite."""
        return all(bool(values.isfinite().all()) for values in self._optimizer.values)

    def moment(self) -> Moment:
        """Return a copy of the current state."""
        return Moment(
            self.step,
            [copy_tensor(values) for values in self._optimizer.values],
            {name: copy_tensor(buffer) for name, buffer in self.model.named_buffers()},
            copy_nested(self._optimizer.state()),
            self._dropout.state(),
        )

    @torch.no_grad()
    def go_back(self, moment: Moment) -> None:
        """Restore an earlier state of the current epoch."""
        self.step = moment.step
        for values, before in zip(self._optimizer.values, moment.values, strict=True):
            values.copy_(before)
        for name, buffer in self.model.named_buffers():
            buffer.copy_(moment.buffers[name])
        self._optimizer.load_state(moment.optimizer)
        self._dropout.load_state(moment.dropout)

    def snapshot(self) -> dict[str, Tensor]:
        """Return the state dict, copied to the CPU; names that share a tensor share its copy.

        Raises:
            ModelError: If the network's state dict contains anything but tensors.
        """
        state = self.model.state_dict()
        for name, value in state.items():
            if not isinstance(value, Tensor):
                raise ModelError(
                    f"model: its state dict contains a {type(value).__name__} as {name!r}, "
                    "expected tensors only"
                )
        # By memory, since a state dict has a separate tensor object per name.
        copies = {_memory(value): copy_tensor(value, "cpu") for value in state.values()}
        return {name: copies[_memory(value)] for name, value in state.items()}

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Return the state to store at the end of an epoch: network tensors and optimizer state.

        Both are copied to the CPU. Random streams are not included; they restart with each epoch.
        """
        network = {name: copy_tensor(value, "cpu") for name, value in self._tensors().items()}
        return network, copy_nested(self._optimizer.state(), "cpu")

    @torch.no_grad()
    def load_state(self, step: int, network: dict[str, Tensor], optimizer: dict[str, Any]) -> None:
        """Resume from the result of :meth:`state` after ``step`` updates."""
        self.step = step
        own = self._tensors()
        stored = named_as(own, network)
        for name, value in own.items():
            value.copy_(stored[name])
        self._optimizer.load_state(optimizer)

    def _tensors(self) -> dict[str, Tensor]:
        # Not the state dict, which lacks non-persistent buffers.
        return dict(self.model.named_parameters()) | dict(self.model.named_buffers())


def _memory(tensor: Tensor) -> tuple[object, ...]:
    start = tensor.data_ptr() or id(tensor)  # Empty tensors have no memory.
    return start, tensor.dtype, tuple(tensor.shape), tensor.stride()
