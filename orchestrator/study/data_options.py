"""What is learned: the data sets a study file can ask for."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Discriminator, Field, PositiveInt, Tag

from orchestrator.study.options import CustomOptions, Options, component_tag, name_to_mapping


class _Selection(Options):
    """What can be asked of every data set."""

    train_size: PositiveInt | None = Field(
        None, description="Train on a stratified subset; smaller subsets are parts of larger ones."
    )
    label_noise: float = Field(
        0.0, ge=0, le=1, description="Share of training labels replaced by another class."
    )
    standardize: bool = Field(
        True, description="Zero mean, unit variance per channel, from the training split."
    )
    seed: int = Field(0, description="Chooses the subset, the noise and generated examples.")


class BuiltinData(_Selection):
    """A data set this package can read.

    ``data_dir`` says where the files lie; it does not decide the science and is not part of
    a trial's identity.
    """

    name: Literal[
        "mnist1d", "digits", "mnist", "fashion_mnist", "kmnist", "emnist", "cifar10", "cifar100"
    ]
    data_dir: str | None = None


class NpzData(_Selection):
    """The user's own arrays: ``x_train``, ``y_train``, ``x_test``, ``y_test`` in one ``.npz``."""

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
