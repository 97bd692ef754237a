"""What measures share, watched for measures that change it."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from typing import Any

import torch
from torch import Tensor

from orchestrator.measures.network_state import as_bits

_CHUNK = 2**20


class SharedResults(dict[Hashable, Any]):
    """The results that measures of one snapshot share, by key.

    Nothing is kept that was computed while the network was not as it should be, as in the middle
    of a user's measure that moves the weights.

    Args:
        found: What is shared already.
        is_sound: Whether the network is as it should be; asked during a user's measure.
    """

    def __init__(self, found: dict[Hashable, Any], is_sound: Callable[[], bool]) -> None:
        super().__init__(found)
        self._is_sound = is_sound
        self._closely = False
        self._marks: dict[Hashable, list[tuple[Tensor, Any]]] = {}
        self._unsound: set[Hashable] = set()

    def watch(self, *, closely: bool) -> None:
        """Begin a request.

        Args:
            closely: Compare values, too, and not only torch's counts of changes: those miss what
                is written through ``.data`` or numpy.
        """
        self._closely = closely
        self._unsound = set()
        self._marks = {key: self._mark(value) for key, value in self.items()}

    def __setitem__(self, key: Hashable, value: Any) -> None:
        super().__setitem__(key, value)
        self._marks[key] = self._mark(value)
        if self._closely and not self._is_sound():
            self._unsound.add(key)

    def forget_changed(self) -> list[Hashable]:
        """Forget what the request changed, or computed on a changed network.

        Returns:
            The keys of what it changed.
        """
        changed = [
            key
            for key, marks in self._marks.items()
            if key in self and any(self._fingerprint(tensor) != mark for tensor, mark in marks)
        ]
        for key in {*changed, *self._unsound}:
            self.pop(key, None)
        self._closely = False
        return changed

    def _mark(self, value: Any) -> list[tuple[Tensor, Any]]:
        return [(tensor, self._fingerprint(tensor)) for tensor in _tensors(value)]

    def _fingerprint(self, tensor: Tensor) -> Any:
        return fingerprint(tensor) if self._closely else version(tensor)


def version(tensor: Tensor) -> int:
    """How often a tensor was written to, as far as torch knows."""
    return 0 if tensor.is_inference() else tensor._version


def fingerprint(tensor: Tensor) -> tuple[int, int]:
    """Version and a checksum of the bits in their order; any single changed number shows."""
    total = 0
    flat = tensor.detach().reshape(-1)
    if flat.is_complex():
        flat = torch.view_as_real(flat.resolve_conj()).reshape(-1)
    for place, part in enumerate(torch.split(flat, _CHUNK)):
        bits = as_bits(part).to(torch.int64)
        weights = torch.arange(1, 2 * len(bits), 2, device=bits.device)
        total += (place + 1) * int((bits * weights).sum())
    return version(tensor), total


def _tensors(value: Any) -> Iterator[Tensor]:
    """The tensors in nested tuples, lists and dicts; other objects look after their own."""
    if isinstance(value, Tensor):
        if value.layout == torch.strided:
            yield value
    elif isinstance(value, dict):
        yield from (tensor for item in value.values() for tensor in _tensors(item))
    elif isinstance(value, tuple | list):
        yield from (tensor for item in value for tensor in _tensors(item))
