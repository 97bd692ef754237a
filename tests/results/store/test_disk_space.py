"""What the operating system refuses is told as what it is."""

from __future__ import annotations

import errno
import os
from collections import namedtuple
from pathlib import Path

import pytest

from orchestrator.errors import StorageError
from orchestrator.results import require_space, storing
from orchestrator.results.store.disk_space import RESERVE_BYTES

Usage = namedtuple("Usage", "total used free")


@pytest.mark.parametrize(
    ("number", "words"),
    [(errno.ENOSPC, "no space is left"), (errno.EROFS, "read-only"), (errno.EDQUOT, "quota")],
)
def test_errors_of_the_disk_are_explained(tmp_path: Path, number: int, words: str) -> None:
    with pytest.raises(StorageError, match=words) as told, storing(tmp_path):
        raise OSError(number, os.strerror(number))
    assert told.value.message.startswith(f"{tmp_path}: cannot be written")
    with pytest.raises(StorageError, match=r"^/elsewhere: cannot be written"), storing(tmp_path):
        raise OSError(number, os.strerror(number), "/elsewhere")
    assert "run the same command again" in str(told.value.hint)


def test_other_errors_are_raised_unchanged(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), storing(tmp_path):
        (tmp_path / "none").read_bytes()


def test_a_reserve_of_disk_space_is_kept_for_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def free(size: int) -> None:
        monkeypatch.setattr("shutil.disk_usage", lambda _: Usage(10**12, 0, size))

    free(RESERVE_BYTES + 1000)
    require_space(tmp_path, 1000)
    with pytest.raises(StorageError, match=r"33\.6 MB are left .*, but 0\.0 MB plus a reserve"):
        require_space(tmp_path, 1001)
    free(RESERVE_BYTES - 1)
    with pytest.raises(StorageError, match="a reserve of 34 MB is needed"):
        require_space(tmp_path)
