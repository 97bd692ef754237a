"""Searching for the files of a data set, and reading them."""

from __future__ import annotations

import gzip
import os
import tarfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path, PurePosixPath

from orchestrator.errors import DataError

DATA_VARIABLE = "ORCHESTRATOR_DATA"
SYSTEM_ROOTS = (Path("/usr/share/datasets"),)
USER_ROOTS = (
    "data",
    "datasets",
    "~/data",
    "~/datasets",
    "~/.cache/torch",
    "~/.cache/torch/datasets",
    "~/.cache/torchvision",
    "~/.keras/datasets",
)
MOST_BYTES = 1 << 30
_GZIP_MAGIC = b"\x1f\x8b"


@dataclass(frozen=True)
class Layout:
    """One layout of the files of a data set on disk.

    Attributes:
        format: File format, for example ``"binary"``.
        files: Names of the files, all of them required. Each may also end in ``.gz`` and have a
            dot before ``idx``: ``train-images.idx3-ubyte``.
        folders: Folders below a root that usually contain the files.
        archive: Name of an archive (tar or zip) that contains them instead, or None.
    """

    format: str
    files: tuple[str, ...]
    folders: tuple[str, ...]
    archive: str | None = None


@dataclass(frozen=True)
class Located:
    """Files that were found.

    Attributes:
        layout: Their layout.
        place: Their folder or archive.
    """

    layout: Layout
    place: Path

    def read(self) -> dict[str, bytes]:
        """Read the files and return their decompressed contents by name.

        Raises:
            DataError: If a file cannot be read or is missing, or an archive is damaged.
        """
        try:
            contents = dict(_members(self.place, self.layout))
        except DataError:
            raise
        except Exception as error:  # The error of a damaged archive depends on where it is damaged.
            raise DataError(
                f"{self.place}: cannot be read: {error}", "delete it and download it again"
            ) from error
        missing = [name for name in self.layout.files if name not in contents]
        if missing:
            raise DataError(
                f"{self.place}: does not contain {missing[0]}", "delete it and download it again"
            )
        return contents


def search_roots(data_dir: str | None, cache: Path) -> list[Path]:
    """Return the folders to search, in order of preference.

    These are ``data_dir``, ``$ORCHESTRATOR_DATA``, the cache, the folders that other tools use,
    and those of the operating system.

    Raises:
        DataError: If ``data_dir`` is given but is not a folder.
    """
    roots = []
    if data_dir is not None:
        roots.append(Path(data_dir).expanduser())
        if not roots[0].is_dir():
            raise DataError(
                f"data.data_dir: {data_dir} is not a folder (relative paths start at {Path.cwd()})"
            )
    if variable := os.environ.get(DATA_VARIABLE):
        roots.append(Path(variable).expanduser())
    roots += [cache, *(Path(root).expanduser() for root in USER_ROOTS), *SYSTEM_ROOTS]
    return list(dict.fromkeys(root.absolute() for root in roots))


def find(layouts: tuple[Layout, ...], roots: list[Path], data_dir: str | None) -> Located | None:
    """Return the first place that has all files of a layout, or None.

    Files directly in a root count only in ``data_dir``. Several data sets use names such as
    ``train.bin`` or ``train-images-idx3-ubyte``, so elsewhere the folder name must identify the
    data set.

    Args:
        layouts: The layouts, preferred ones first.
        roots: Folders to search; see :func:`search_roots`.
        data_dir: The value given in the study; the first root if not None.
    """
    for index, root in enumerate(roots):
        direct = ("",) if data_dir is not None and index == 0 else ()
        for layout in layouts:
            for folder in (*layout.folders, *direct):
                place = root / folder / (layout.archive or "")
                if place.is_file() if layout.archive else _holds_all(place, layout.files):
                    return Located(layout, place)
    return None


def _holds_all(folder: Path, files: tuple[str, ...]) -> bool:
    return all(_variant(folder, name) is not None for name in files)


def _variant(folder: Path, name: str) -> Path | None:
    """Return the file, plain or with ``.gz``, with the hyphen or the old dot before ``idx``."""
    for spelling in (name, name.replace("-idx", ".idx")):
        # Some archives unpack each file into a folder of the same name.
        for candidate in (
            folder / spelling,
            folder / f"{spelling}.gz",
            folder / spelling / spelling,
        ):
            if candidate.is_file():
                return candidate
    return None


def _name_of(member: str) -> str:
    """Return the name that a layout uses for a member of an archive."""
    return PurePosixPath(member).name.removesuffix(".gz").replace(".idx", "-idx")


def _members(place: Path, layout: Layout) -> Iterator[tuple[str, bytes]]:
    """Yield the plain name and decompressed content of each wanted file in a folder or archive."""
    if layout.archive is None:
        for name in layout.files:
            path = _variant(place, name)
            if path is not None:
                _refuse_large(path, path.stat().st_size)
                yield name, _decompressed(path.read_bytes(), path)
    elif zipfile.is_zipfile(place):
        with zipfile.ZipFile(place) as archive:
            for member in archive.infolist():
                name = _name_of(member.filename)
                if name in layout.files:
                    _refuse_large(place / name, member.file_size)
                    yield name, _decompressed(archive.read(member), place / name)
    else:
        with tarfile.open(place) as tar:
            for entry in tar:
                name = _name_of(entry.name)
                stream = tar.extractfile(entry) if name in layout.files else None
                if stream is not None:
                    _refuse_large(place / name, entry.size)
                    yield name, _decompressed(stream.read(), place / name)


def _decompressed(content: bytes, path: Path) -> bytes:
    # Detect gzip by content, not by name: IDX files and CIFAR batches never start like gzip.
    if not content.startswith(_GZIP_MAGIC):
        return content
    with gzip.open(BytesIO(content)) as stream:
        unpacked = stream.read(MOST_BYTES + 1)
    _refuse_large(path, len(unpacked))
    return unpacked


def _refuse_large(path: Path, size: int) -> None:
    """Refuse oversized files: a small archive can unpack to more than any memory can store."""
    if size > MOST_BYTES:
        raise DataError(
            f"{path}: more than {MOST_BYTES:,} bytes, larger than any file of a known data set",
            "delete it and download it again",
        )
