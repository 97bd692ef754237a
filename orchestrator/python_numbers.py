"""The global random generators of Python and NumPy, which user code may draw from."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np


class PythonNumbers:
    """A random stream that can replace the global generators of Python and NumPy.

    Args:
        seed: Seed of the stream; equal seeds give equal numbers.

    Attributes:
        state: Current state of both generators.
    """

    def __init__(self, seed: int) -> None:
        words = [seed >> 32, seed & 0xFFFFFFFF]
        self.state: tuple[Any, Any] = (
            random.Random(seed).getstate(),  # noqa: S311 - not for secrets
            np.random.RandomState(words).get_state(legacy=False),
        )

    @contextmanager
    def borrowed(self) -> Iterator[None]:
        """Replace the global generators by this stream within a ``with`` block."""
        found = random.getstate(), np.random.get_state(legacy=False)
        python, numpy = self.state
        random.setstate(python)
        np.random.set_state(numpy)
        try:
            yield
        finally:
            self.state = random.getstate(), np.random.get_state(legacy=False)
            random.setstate(found[0])
            np.random.set_state(found[1])
