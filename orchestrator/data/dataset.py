"""The common form of all data sets: two pairs of tensors in memory."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

Split = Literal["train", "test"]


@dataclass(frozen=True)
class Dataset:
    """A classification data set, fully in memory and ready for training.

    Attributes:
        name: Name in the study file.
        train_x: Inputs of shape ``(n, *input_shape)``; images are ``(n, channels, h, w)``. Real
            numbers in float32, or integers in int64.
        train_y: Labels of shape ``(n,)``, int64, in ``[0, classes)``.
        test_x: Test inputs, like ``train_x``.
        test_y: Test labels, like ``train_y``.
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
        """The shape of one example."""
        return tuple(self.train_x.shape[1:])

    def split(self, split: Split) -> tuple[Tensor, Tensor]:
        """Return inputs and labels of ``"train"`` or ``"test"``."""
        return (self.train_x, self.train_y) if split == "train" else (self.test_x, self.test_y)

    def to(self, device: str | torch.device) -> Dataset:
        """Return the same data set with its tensors on ``device``."""
        return replace(
            self,
            train_x=self.train_x.to(device),
            train_y=self.train_y.to(device),
            test_x=self.test_x.to(device),
            test_y=self.test_y.to(device),
        )
