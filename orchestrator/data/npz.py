"""The user's own arrays, in one file written by ``numpy.savez``."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np

from orchestrator.data.source import SourceArrays, from_user
from orchestrator.errors import DataError

_NAMES = ("x_train", "y_train", "x_test", "y_test")


def load_npz(path: str) -> SourceArrays:
    """Read ``x_train``, ``y_train``, ``x_test`` and ``y_test``.

    Args:
        path: The file; ``~`` is the home folder.

    Raises:
        DataError: If the file is missing or no ``.npz``, lacks an array, or holds Python
            objects, which are never unpickled.
    """
    file = Path(path).expanduser()
    if not file.is_file():
        raise DataError(
            f"data.path: got {path}, which is no file (relative paths start at {Path.cwd()})"
        )
    hint = f"write it with numpy.savez(path, {', '.join(f'{name}=…' for name in _NAMES)})"
    if not zipfile.is_zipfile(file):
        raise DataError(f"{file}: got a file that is no .npz", hint)
    with np.load(file, allow_pickle=False) as archive:
        missing = [name for name in _NAMES if name not in archive]
        if missing:
            present = ", ".join(archive.files) or "nothing"
            raise DataError(f"{file}: got {present}, expected {', '.join(missing)} too", hint)
        arrays = []
        for name in _NAMES:
            try:
                array = archive[name]
            except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
                raise DataError(f"{file}: {name}: cannot be read: {error}", hint) from error
            if not isinstance(array, np.ndarray):  # NumPy hands out foreign members as bytes
                raise DataError(f"{file}: {name}: got a member that is no array", hint)
            arrays.append(array)
    return from_user(arrays, str(file))
