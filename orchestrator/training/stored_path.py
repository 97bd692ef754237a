"""What reading and writing networks needs of a path that is not on a disk."""

from __future__ import annotations

from typing import Protocol, Self


class StoredPath(Protocol):
    """A path on an object store, like :class:`pathlib.Path`; what is written there is whole."""

    @property
    def name(self) -> str:
        """The last part."""

    @property
    def parent(self) -> Self:
        """What it lies in."""

    def __truediv__(self, below: str) -> Self:
        """What lies in it."""

    def exists(self) -> bool:
        """Whether it is there."""

    def read_bytes(self) -> bytes:
        """The content; ``FileNotFoundError`` if it is not there."""

    def write_bytes(self, content: bytes) -> None:
        """Write all or nothing."""

    def rename(self, target: Self) -> None:
        """Put it elsewhere."""

    def mkdir(self, parents: bool = False, exist_ok: bool = False) -> None:
        """Make the folder, where there are folders."""
