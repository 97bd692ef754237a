"""Results shared by measures, with detection of changes to them."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from typing import Any

import torch
from torch import Tensor

from orchestrator.measures.network_state import as_bits

_CHUNK = 2**20


class SharedResults(dict[Hashable, Any]):
    """The results shared by measures of one snapshot, by key.

    Results computed while the network was modified are not kept, for example those computed while
    a user's measure moves the weights.

    Args:
        found: Results shared already.
        is_sound: Function that returns whether the network is unmodified; called during a user's
            measure.
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
            closely: Whether to also compare values. Torch's version counters miss writes through
                ``.data`` or numpy.
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
        """Drop results that the request changed, or computed on a modified network.

        Returns:
            The keys of the changed results.
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
    """Return the number of writes to a tensor that torch has counted."""
    return 0 if tensor.is_inference() else tensor._version


def fingerprint(tensor: Tensor) -> tuple[int, int]:
    """Return the version and an ordered checksum that detects any single changed number."""
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
    """Yield the tensors in nested tuples, lists and dicts; other objects are skipped."""
    if isinstance(value, Tensor):
        if value.layout == torch.strided:
            yield value
    elif isinstance(value, dict):
        yield from (tensor for item in value.values() for tensor in _tensors(item))
    elif isinstance(value, tuple | list):
        yield from (tensor for item in value for tensor in _tensors(item))
