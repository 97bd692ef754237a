"""The user's own arrays, in one file written by ``numpy.savez``."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from orchestrator.data.found_files import SourceArrays, from_user
from orchestrator.errors import DataError
from orchestrator.registry import builds
from orchestrator.study.data_options import NpzData

_NAMES = ("x_train", "y_train", "x_test", "y_test")


@builds(NpzData)
def load_npz(options: NpzData) -> SourceArrays:
    """Read ``x_train``, ``y_train``, ``x_test`` and ``y_test``.

    Args:
        options: The file; ``~`` is the home folder.

    Raises:
        DataError: If the file is missing, is not an ``.npz`` file, lacks an array, or contains
            Python objects, which are never unpickled.
    """
    path = options.path
    file = Path(path).expanduser()
    if not file.is_file():
        raise DataError(f"data.path: {path} is not a file (relative paths start at {Path.cwd()})")
    hint = f"write it with numpy.savez(path, {', '.join(f'{name}=…' for name in _NAMES)})"
    if not zipfile.is_zipfile(file):
        raise DataError(f"{file}: not an .npz file", hint)
    try:
        arrays = _read(file, hint)
    except DataError:
        raise
    except Exception as error:  # The error of a damaged archive depends on where it is damaged.
        raise DataError(f"{file}: cannot be read: {error!r}", hint) from error
    return from_user(arrays, str(file))


def _read(file: Path, hint: str) -> list[NDArray[Any]]:
    # Opened here because NumPy leaves a file open if it is not an archive.
    with file.open("rb") as stream, np.load(stream, allow_pickle=False) as archive:
        missing = [name for name in _NAMES if name not in archive]
        if missing:
            present = ", ".join(archive.files) or "nothing"
            raise DataError(f"{file}: missing {', '.join(missing)}; found {present}", hint)
        unpacked = sum(member.file_size for member in archive.zip.infolist())
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        if unpacked > memory:
            raise DataError(
                f"{file}: unpacks to {unpacked:,} bytes, but this machine has {memory:,} bytes of "
                "memory"
            )
        arrays = []
        for name in _NAMES:
            try:
                array = archive[name]
            except Exception as error:
                raise DataError(f"{file}: {name}: cannot be read: {error}", hint) from error
            if not isinstance(array, np.ndarray):  # NumPy returns foreign members as bytes.
                raise DataError(f"{file}: {name}: not an array", hint)
            arrays.append(array)
    return arrays
