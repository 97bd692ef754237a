"""What every source of data ends as: two pairs of resident tensors."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

Split = Literal["train", "test"]


@dataclass(frozen=True)
class Dataset:
    """A classification data set, whole in memory, ready to learn from.

    Attributes:
        name: As the study file names it.
        train_x: Inputs of shape ``(n, *input_shape)``; images are ``(n, channels, h, w)``. Real
            numbers in float32, or integers in int64.
        train_y: Labels of shape ``(n,)``, int64, in ``[0, classes)``.
        test_x: As ``train_x``.
        test_y: As ``train_y``.
        classes: Number of classes.
        content_hash: SHA-256 over the source's arrays before subset, noise and standardization.
    """

    name: str
    train_x: Tensor
    train_y: Tensor
    test_x: Tensor
    test_y: Tensor
    classes: int
    content_hash: str

    def __repr__(self) -> str:
        shapes = f"train_x {tuple(self.train_x.shape)}, test_x {tuple(self.test_x.shape)}"
        return f"Dataset({self.name!r}, {shapes}, {self.classes} classes)"

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one example."""
        return tuple(self.train_x.shape[1:])

    def split(self, split: Split) -> tuple[Tensor, Tensor]:
        """Inputs and labels of ``"train"`` or ``"test"``."""
        return (self.train_x, self.train_y) if split == "train" else (self.test_x, self.test_y)

    def to(self, device: str | torch.device) -> Dataset:
        """The same data set with its tensors on ``device``."""
        return replace(
            self,
            train_x=self.train_x.to(device),
            train_y=self.train_y.to(device),
            test_x=self.test_x.to(device),
            test_y=self.test_y.to(device),
        )
