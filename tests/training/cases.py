"""Small data sets, configurations and networks that the training tests share."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from orchestrator.data.dataset import Dataset
from orchestrator.study.spec import CheckpointOptions, TrialConfig
from orchestrator.training import Checkpoint, EpochEnd, Event, Finished, train

HERE = "tests.training.cases"
EVERYTHING = {"name": "mlp", "width": 12, "depth": 2, "normalization": "batch", "dropout": 0.2}
IMAGES = {"name": "cnn", "width": 4, "depth": 1, "normalization": "batch", "dropout": 0.2}

of_every_kind = pytest.mark.parametrize(
    ("model", "training"),
    [
        (EVERYTHING, {}),
        (EVERYTHING, {"optimizer": {"name": "adamw", "learning_rate": 0.01}}),
        (EVERYTHING, {"optimizer": {"name": "asam", "momentum": 0.9}}),
        (f"{HERE}:peculiar", {"optimizer": {"name": "torch.optim:RMSprop"}}),
        (IMAGES, {"augmentation": ["flip", "crop"], "schedule": "cosine"}),
    ],
    ids=["sgd", "adamw", "asam", "own", "images"],
)


def blobs(n: int = 60, classes: int = 3, shape: tuple[int, ...] = (8,), seed: int = 0) -> Dataset:
    """Overlapping Gaussian classes; a third as many examples to test on."""
    generator = torch.Generator().manual_seed(seed)
    centres = torch.randn(classes, *shape, generator=generator)
    total = n + n // 3
    labels = torch.arange(total) % classes
    inputs = centres[labels] + torch.randn(total, *shape, generator=generator)
    return Dataset("blobs", inputs[:n], labels[:n], inputs[n:], labels[n:], classes, "blobs")


def configuration(
    model: Any = None, *, stop: dict[str, Any] | None = None, **training: Any
) -> TrialConfig:
    """A trial's configuration, by default a small MLP with momentum and batches of 16."""
    return TrialConfig.model_validate(
        {
            "data": "digits",
            "model": model or {"name": "mlp", "width": 16, "depth": 1},
            "training": {
                "batch_size": 16,
                "optimizer": {"name": "sgd", "learning_rate": 0.1, "momentum": 0.9},
                "stop": stop or {"epochs": 4},
                **training,
            },
        }
    )


def run(
    config: TrialConfig,
    dataset: Dataset | None = None,
    seed: int = 0,
    device: str | torch.device = "cpu",
    **checkpoints: Any,
) -> list[Event]:
    """All events of a trial."""
    options = CheckpointOptions.model_validate(checkpoints)
    return list(train(config, seed, dataset or blobs(), options, device=device))


def checkpoints_of(events: list[Event]) -> list[Checkpoint]:
    return [event for event in events if isinstance(event, Checkpoint)]


def epochs_of(events: list[Event]) -> list[EpochEnd]:
    return [event for event in events if isinstance(event, EpochEnd)]


def finish_of(events: list[Event]) -> Finished:
    *_, last = events
    assert isinstance(last, Finished)
    return last


def assert_same_tensors(first: dict[str, Tensor], second: dict[str, Tensor]) -> None:
    """Equal to the last bit."""
    assert first.keys() == second.keys()
    for name, value in first.items():
        assert torch.equal(value, second[name]), name


def untimed(event: Event) -> dict[str, Any]:
    """What of an event must be the same every time: all but seconds, tensors and callables."""
    left_out = {"seconds", "train_seconds", "evaluation_seconds", "state", "resume"}
    return {key: value for key, value in vars(event).items() if key not in left_out}


def assert_same_events(first: list[Event], second: list[Event]) -> None:
    """Equal to the last bit, snapshots included; only the times may differ."""
    assert [untimed(event) for event in first] == [untimed(event) for event in second]
    for one, other in zip(checkpoints_of(first), checkpoints_of(second), strict=True):
        assert_same_tensors(one.state, other.state)


class Peculiar(nn.Module):
    """Everything that a network may do and a flat buffer could break.

    A layer used twice, a parameter that is never used, one that is not trained, a buffer that is
    not saved and one that is replaced, not changed, in each forward pass; dropout.
    """

    def __init__(self, inputs: int, classes: int) -> None:
        super().__init__()
        self.first = nn.Linear(inputs, inputs)
        self.unused = nn.Parameter(torch.ones(3))
        self.fixed = nn.Parameter(torch.ones(inputs), requires_grad=False)
        self.last = nn.Linear(inputs, classes)
        self.dropout = nn.Dropout(0.3)
        self.register_buffer("scale", torch.ones(inputs), persistent=False)
        self.register_buffer("mean", torch.zeros(inputs))

    def forward(self, inputs: Tensor) -> Tensor:
        if self.training:
            self.mean = 0.9 * self.mean + 0.1 * inputs.detach().mean(0)
            self.scale.mul_(0.99)
        hidden = (inputs - self.mean) * self.scale * self.fixed
        return self.last(self.dropout(torch.tanh(self.first(torch.tanh(self.first(hidden))))))


def peculiar(input_shape: tuple[int, ...], classes: int) -> nn.Module:
    return Peculiar(input_shape[0], classes)


class Noisy(nn.Linear):
    """Draws random numbers in eval mode too."""

    def forward(self, inputs: Tensor) -> Tensor:
        logits = super().forward(inputs)
        return logits + torch.rand_like(logits)


def noisy(input_shape: tuple[int, ...], classes: int) -> nn.Module:
    return Noisy(input_shape[0], classes)


def exploding(input_shape: tuple[int, ...], classes: int) -> nn.Module:
    """A network whose cube of a product outgrows float32 at once."""
    return nn.Sequential(nn.Linear(input_shape[0], 16), Cube(), nn.Linear(16, classes))


class Cube(nn.Module):
    def forward(self, inputs: Tensor) -> Tensor:
        return inputs**3


def hinge(logits: Tensor, labels: Tensor, *, width: float = 1.0) -> Tensor:
    """A user's own loss: distance of the true logit to ``width``, clipped."""
    return (width - logits.gather(1, labels[:, None])[:, 0]).clamp_min(0)


def averaged(logits: Tensor, labels: Tensor) -> Tensor:
    """A mistake: the mean instead of one loss per example."""
    return hinge(logits, labels).mean()


def no_optimizer(parameters: list[Tensor], lr: float) -> str:
    del parameters, lr
    return "none"
