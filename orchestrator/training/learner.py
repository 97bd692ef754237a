"""A network and everything that changes while it learns."""

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
    """A point of an epoch that the learner can go back to."""

    step: int
    values: list[Tensor]
    buffers: dict[str, Tensor]
    optimizer: dict[str, Any]
    dropout: list[Any]


class Learner:
    """Makes updates, evaluates, and goes back to where it was.

    Equal arguments give equal bits, whatever else the process does, and between calls nothing
    of PyTorch's global state is changed.

    Args:
        config: Model and training of the trial.
        seed: The trial's seed.
        dataset: On any device.
        device: Where to learn.

    Attributes:
        model: The network.
        step: Updates made so far.
        epoch: The epoch begun last.
        updates_per_epoch: Batches in an epoch.
        last_step: Where ``stop.epochs`` or ``stop.updates`` ends training; infinite without.

    Raises:
        UserError: If parts of the configuration don't fit each other or the data.
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
        with self._dropout.borrowed():  # For the user's own.
            self._loss = build_loss(training.loss)
            self._optimizer = build_optimizer(training.optimizer, self.model, self._learning_rate)
        # A batch is a copy already, but is used for each gradient of an update.
        repeats = self._optimizer.repeats_gradients
        self._copies = repeats and may_write_into_inputs(self.model)
        self._factor = learning_rate_factor(
            training.schedule, self.updates_per_epoch, self.last_step
        )
        self.step = self.epoch = self._epoch_start = 0

    def begin_epoch(self, epoch: int) -> None:
        """Draw the order and the changes of an epoch, counted from 1."""
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
        """Make updates, within the epoch begun.

        Args:
            step: Where to stop, in updates since the beginning of training.
            seconds: After how long to stop, if that comes first.

        Returns:
            The seconds it took.
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
                    "model: batch normalization needs two examples, but with "
                    f"{len(self._dataset.train_y)} examples and training.batch_size "
                    f"{self._training.batch_size} there is a batch of one",
                    "choose another training.batch_size or data.train_size",
                ) from error
            loss.backward()  # type: ignore[no-untyped-call]
        return loss

    def learning_rate(self) -> float:
        """The learning rate of the last update; of the first, before there was one."""
        return self._learning_rate * self._factor(max(self.step - 1, 0))

    def evaluate(self, split: Split) -> SplitMetrics:
        """Evaluate the network where it is. Training goes on as if this had not been called."""
        stream = RandomStream(self._device)
        stream.seed(stream_seed(self._seed, "evaluation"))
        with stream.borrowed(), reproducible_kernels(self._device):
            return evaluate(self.model, *self._dataset.split(split), self._loss)

    def is_finite(self) -> bool:
        """Whether every parameter that is trained is a finite number."""
        return all(bool(values.isfinite().all()) for values in self._optimizer.values)

    def moment(self) -> Moment:
        """Remember where learning is."""
        return Moment(
            self.step,
            [copy_tensor(values) for values in self._optimizer.values],
            {name: copy_tensor(buffer) for name, buffer in self.model.named_buffers()},
            copy_nested(self._optimizer.state()),
            self._dropout.state(),
        )

    @torch.no_grad()
    def go_back(self, moment: Moment) -> None:
        """Be again where learning was, in the same epoch."""
        self.step = moment.step
        for values, before in zip(self._optimizer.values, moment.values, strict=True):
            values.copy_(before)
        for name, buffer in self.model.named_buffers():
            buffer.copy_(moment.buffers[name])
        self._optimizer.load_state(moment.optimizer)
        self._dropout.load_state(moment.dropout)

    def snapshot(self) -> dict[str, Tensor]:
        """The network's state dict, copied to the CPU; names that share a tensor share its copy.

        Raises:
            ModelError: If the network keeps more in its state dict than tensors.
        """
        state = self.model.state_dict()
        for name, value in state.items():
            if not isinstance(value, Tensor):
                raise ModelError(
                    f"model: its state dict holds a {type(value).__name__} as {name!r}, "
                    "expected tensors only"
                )
        # By memory: a state dict has another tensor object for each name.
        copies = {_memory(value): copy_tensor(value, "cpu") for value in state.values()}
        return {name: copies[_memory(value)] for name, value in state.items()}

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """What to store at the end of an epoch: the network's tensors and the optimizer's state.

        Both are copied to the CPU. Random streams begin anew with each epoch.
        """
        network = {name: copy_tensor(value, "cpu") for name, value in self._tensors().items()}
        return network, copy_nested(self._optimizer.state(), "cpu")

    @torch.no_grad()
    def load_state(self, step: int, network: dict[str, Tensor], optimizer: dict[str, Any]) -> None:
        """Go on from what :meth:`state` gave after ``step`` updates."""
        self.step = step
        own = self._tensors()
        stored = named_as(own, network)
        for name, value in own.items():
            value.copy_(stored[name])
        self._optimizer.load_state(optimizer)

    def _tensors(self) -> dict[str, Tensor]:
        # Not the state dict: it lacks the buffers that a network does not want to be saved.
        return dict(self.model.named_parameters()) | dict(self.model.named_buffers())


def _memory(tensor: Tensor) -> tuple[object, ...]:
    start = tensor.data_ptr() or id(tensor)  # Empty tensors have no memory.
    return start, tensor.dtype, tuple(tensor.shape), tensor.stride()
