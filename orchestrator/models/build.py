"""Building an initialized network from the options of a study file."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
from torch import nn

from orchestrator.errors import ModelError, error_text
from orchestrator.models.initialization import initialize
from orchestrator.models.own_model import build_custom
from orchestrator.python_numbers import PythonNumbers
from orchestrator.random_streams import stream_seed
from orchestrator.registry import builder_of, import_files
from orchestrator.study.model_options import BuiltInModel
from orchestrator.study.options import CustomOptions

if TYPE_CHECKING:
    from orchestrator.study.model_options import ModelOptions

import_files(__package__)


def build_model(
    options: ModelOptions,
    input_shape: tuple[int, ...],
    classes: int,
    seed: int,
    input_dtype: torch.dtype = torch.float32,
) -> nn.Module:
    """Build a network with weights drawn from a trial's seed.

    Args:
        options: The ``model`` part of a study file.
        input_shape: Shape of one example.
        classes: Number of logits.
        seed: The trial's seed; weights come from its stream ``initialization``. The global random
            states of PyTorch, numpy and Python are unchanged afterwards.
        input_dtype: Type of the inputs: ``torch.float32``, or ``torch.int64`` for integers.

    Returns:
        A network in training mode, on the CPU, in float32, that maps ``(n, *input_shape)`` to
        logits ``(n, classes)``.

    Raises:
        ModelError: If the network does not fit the data, its options or the memory.
        ImportPathError: If the user's own network cannot be imported.
    """
    stream = stream_seed(seed, "initialization")
    with _construction(stream):
        if isinstance(options, CustomOptions):
            return build_custom(options, input_shape, classes, input_dtype)
        if not input_dtype.is_floating_point:
            raise ModelError(
                f"model {options.name!r}: got inputs of type {input_dtype}, expected real numbers",
                "store measured quantities as floats: x.astype('float32'); indices, such as "
                "tokens, need your own network with an embedding",
            )
        _refuse_oversized(options, input_shape, classes)
        model: nn.Module = builder_of(options)(options, input_shape, classes)
        # A separate generator: draws by PyTorch's constructors must not affect the weights.
        activation = getattr(options, "activation", None)
        initialize(model, activation, torch.Generator().manual_seed(stream))
        return model


def parameter_count(model: nn.Module) -> int:
    """Count the trainable parameters; shared ones count once."""
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)


def _refuse_oversized(options: BuiltInModel, input_shape: tuple[int, ...], classes: int) -> None:
    """Count the weights before allocating them: running out of memory may kill the process."""
    smaller = "use a smaller width or depth"
    try:
        with torch.device("meta"):
            weightless = builder_of(options)(options, input_shape, classes)
    except (RuntimeError, OverflowError) as error:
        first = error_text(error).splitlines()[0]
        raise ModelError(f"model: too large to build: {first}", smaller) from error
    needed = sum(value.numel() * value.element_size() for value in weightless.parameters())
    there = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if needed > there:
        raise ModelError(
            f"model: the weights alone need {needed / 2**30:,.0f} GiB, but this machine has "
            f"{there / 2**30:,.0f} GiB of memory",
            smaller,
        )


@contextmanager
def _construction(seed: int) -> Iterator[None]:
    """Use the CPU, float32 and seeded random numbers, whatever the settings of the process."""
    dtype = torch.get_default_dtype()
    python = PythonNumbers(seed)  # A user's network may draw its weights from numpy.
    with torch.random.fork_rng(devices=[]), python.borrowed(), torch.device("cpu"):
        torch.set_default_dtype(torch.float32)
        # Not torch.manual_seed: it would seed the GPUs' generators too.
        torch.default_generator.manual_seed(seed)
        try:
            yield
        finally:
            torch.set_default_dtype(dtype)
