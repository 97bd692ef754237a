"""Random numbers and kernels of the process: borrowed for training and restored afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from orchestrator.python_numbers import PythonNumbers


class RandomStream:
    """A random stream for code that draws from the global random numbers of the process.

    Dropout layers draw from PyTorch's global generator, and a user's network may draw from
    Python's or numpy's. While the stream is borrowed, all of them draw from it. At any other time
    the process has its own numbers, and draws by other code do not affect training.

    Args:
        device: Device of the network; on a GPU, the stream covers that GPU and the CPU.
    """

    def __init__(self, device: torch.device) -> None:
        self._globals = [torch.default_generator]
        if device.type == "cuda":
            torch.cuda.init()  # type: ignore[no-untyped-call]
            index = torch.cuda.current_device() if device.index is None else device.index
            self._globals.append(torch.cuda.default_generators[index])
        self._own = [torch.Generator(generator.device) for generator in self._globals]
        self._python = PythonNumbers(0)

    def seed(self, seed: int) -> None:
        """Restart the stream from a seed."""
        for generator in self._own:
            generator.manual_seed(seed)
        self._python = PythonNumbers(seed)

    def state(self) -> list[Any]:
        """Return the current state of the stream."""
        return [generator.get_state() for generator in self._own] + [self._python.state]

    def load_state(self, state: list[Any]) -> None:
        """Restore an earlier state of the stream."""
        *own, self._python.state = state
        for generator, before in zip(self._own, own, strict=True):
            generator.set_state(before)

    @contextmanager
    def borrowed(self) -> Iterator[None]:
        """Replace the global random numbers by the stream."""
        found = [generator.get_state() for generator in self._globals]
        for generator, own in zip(self._globals, self._own, strict=True):
            generator.set_state(own.get_state())
        with self._python.borrowed():
            try:
                yield
            finally:
                for generator, own, before in zip(self._globals, self._own, found, strict=True):
                    own.set_state(generator.get_state())
                    generator.set_state(before)


@contextmanager
def reproducible_kernels(device: torch.device) -> Iterator[None]:
    """Make cuDNN choose the same deterministic kernels every time; no effect on a CPU."""
    if device.type != "cuda":
        yield
        return
    cudnn = torch.backends.cudnn
    found = cudnn.benchmark, cudnn.deterministic
    cudnn.benchmark, cudnn.deterministic = False, True
    try:
        yield
    finally:
        cudnn.benchmark, cudnn.deterministic = found
