"""Data options: the data sets a study file can select."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, PositiveInt

from orchestrator.study.options import BuiltIn, CustomOptions, OneOf, Options


class _Selection(Options):
    """Options of every data set."""

    train_size: PositiveInt | None = Field(
        None, description="Train on a stratified subset; larger subsets contain smaller ones."
    )
    label_noise: float = Field(
        0.0, ge=0, le=1, description="Share of training labels replaced by another class."
    )
    standardize: bool = Field(
        True, description="Scale channels to zero mean, unit variance, by the training split."
    )
    seed: int = Field(0, description="Seed of the subset, label noise and generated examples.")


class BuiltInDataSet(_Selection, BuiltIn):
    """Base of the options of every built-in data set.

    Attributes:
        classes: Number of classes, by name, of data sets whose classes are of equal size. It sets
            the error above which a network did not learn.
    """

    classes: ClassVar[dict[str, int]] = {}


class CustomData(_Selection, CustomOptions):
    """A callable that returns ``(x_train, y_train, x_test, y_test)`` as arrays or tensors."""


DataOptions = Annotated[BuiltInDataSet | CustomData, OneOf("datasets")]


class BuiltinData(BuiltInDataSet):
    """A data set that this package can read.

    ``data_dir`` is the folder of its files. It cannot affect results, so it is not part of a
    trial's identity.
    """

    name: Literal[
        "mnist1d", "digits", "mnist", "fashion_mnist", "kmnist", "emnist", "cifar10", "cifar100"
    ]
    data_dir: str | None = None
    classes: ClassVar[dict[str, int]] = {
        **dict.fromkeys(("mnist1d", "digits", "mnist", "fashion_mnist", "kmnist", "cifar10"), 10),
        "cifar100": 100,
    }


class NpzData(BuiltInDataSet):
    """The user's arrays ``x_train``, ``y_train``, ``x_test``, ``y_test`` in one ``.npz``."""

    name: Literal["npz"]
    path: str = Field(description="The file; relative paths start at the working directory.")
