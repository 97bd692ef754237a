"""Model options: the networks a study file can select."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, PositiveInt, field_validator

from orchestrator.study.options import BuiltIn, CustomOptions, OneOf

Activation = Literal["relu", "leaky_relu", "tanh", "gelu", "silu"]
Normalization = Literal["none", "batch", "group"]
Dropout = Annotated[float, Field(ge=0, lt=1, description="Probability of dropping a unit.")]


class BuiltInModel(BuiltIn):
    """Base of the options of every built-in network.

    A network with a field ``activation`` is initialized for that activation.
    """


ModelOptions = Annotated[BuiltInModel | CustomOptions, OneOf("models")]


class MlpOptions(BuiltInModel):
    """A multilayer perceptron: ``depth`` hidden layers of ``width`` units."""

    name: Literal["mlp"] = "mlp"
    width: PositiveInt = Field(128, description="Units in each hidden layer.")
    depth: int = Field(2, ge=0, le=1000, description="Number of hidden layers; 0 is linear.")
    activation: Activation = "relu"
    normalization: Normalization = "none"
    dropout: Dropout = 0.0
    bias: bool = True


class CnnOptions(BuiltInModel):
    """A plain convolutional network: ``depth`` blocks of convolution, activation, max-pooling."""

    name: Literal["cnn"] = "cnn"
    width: PositiveInt = Field(
        32, description="Channels of the first block; doubled in each next one."
    )
    depth: int = Field(2, ge=1, le=30, description="Number of blocks; each halves the image.")
    activation: Activation = "relu"
    normalization: Normalization = "none"
    dropout: Dropout = 0.0


class ResnetOptions(BuiltInModel):
    """A residual network in the CIFAR style of He et al. (arXiv:1512.03385, section 4.2)."""

    name: Literal["resnet"] = "resnet"
    depth: int = Field(
        20, ge=8, le=1202, description="Weighted layers, 6n + 2: 8, 14, 20, 32, 44, 56 …"
    )
    width: PositiveInt = Field(16, description="Channels of the first stage; doubled twice.")
    activation: Activation = "relu"
    normalization: Normalization = "batch"
    dropout: Dropout = 0.0

    @field_validator("depth")
    @classmethod
    def _whole_blocks(cls, depth: int) -> int:
        if (depth - 2) % 6:
            lower = depth - (depth - 2) % 6
            raise ValueError(f"expected a depth of 6n + 2; the nearest are {lower} and {lower + 6}")
        return depth


class VggOptions(BuiltInModel):
    """A VGG network (arXiv:1409.1556) with one linear layer after the convolutions."""

    name: Literal["vgg"] = "vgg"
    depth: Literal[11, 13, 16, 19] = Field(11, description="Weighted layers, as in the paper.")
    width: PositiveInt = Field(64, description="Channels of the first stage.")
    activation: Activation = "relu"
    normalization: Normalization = "batch"
    dropout: Dropout = 0.0
