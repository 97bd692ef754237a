"""Data options: the data sets a study file can select."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Discriminator, Field, PositiveInt, Tag

from orchestrator.study.options import CustomOptions, Options, component_tag, name_to_mapping


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


class BuiltinData(_Selection):
    """A data set that this package can read.

    ``data_dir`` is the folder of its files. It cannot affect results, so it is not part of a
    trial's identity.
    """

    name: Literal[
        "mnist1d", "digits", "mnist", "fashion_mnist", "kmnist", "emnist", "cifar10", "cifar100"
    ]
    data_dir: str | None = None


class NpzData(_Selection):
    """The user's arrays ``x_train``, ``y_train``, ``x_test``, ``y_test`` in one ``.npz``."""

    name: Literal["npz"]
    path: str = Field(description="The file; relative paths start at the working directory.")


class CustomData(_Selection, CustomOptions):
    """A callable that returns ``(x_train, y_train, x_test, y_test)`` as arrays or tensors."""


def _data_tag(value: Any) -> str | None:
    tag = component_tag(value, "datasets")
    builtin = BuiltinData.model_fields["name"].annotation.__args__  # type: ignore[union-attr]
    return "builtin" if tag in builtin else tag


DataOptions = Annotated[
    Annotated[BuiltinData, Tag("builtin")]
    | Annotated[NpzData, Tag("npz")]
    | Annotated[CustomData, Tag("custom")],
    Discriminator(_data_tag),
    BeforeValidator(name_to_mapping),
]
