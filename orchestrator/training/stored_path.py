"""The interface of paths that are not on a disk, for reading and writing networks."""

from __future__ import annotations

from typing import Protocol, Self


class StoredPath(Protocol):
    """A path on an object store, like :class:`pathlib.Path`; written objects are complete."""

    @property
    def name(self) -> str:
        """The last part of the path."""

    @property
    def parent(self) -> Self:
        """The parent path."""

    def __truediv__(self, below: str) -> Self:
        """Return the path of ``below`` inside this one."""

    def exists(self) -> bool:
        """Whether the path exists."""

    def read_bytes(self) -> bytes:
        """Return the content; raise ``FileNotFoundError`` if the path does not exist."""

    def write_bytes(self, content: bytes) -> None:
        """Write the whole content or nothing."""

    def rename(self, target: Self) -> None:
        """Move the object to ``target``."""

    def mkdir(self, parents: bool = False, exist_ok: bool = False) -> None:
        """Create the folder, on stores that have folders."""
