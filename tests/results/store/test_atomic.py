from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path

import pytest

from orchestrator.results.store.atomic import is_temporary, replacing, write_atomically


def test_content_is_replaced_without_leftovers(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_atomically(path, "old")
    write_atomically(path, b"n\xc3\xa9w")
    assert path.read_text(encoding="utf-8") == "néw"
    assert os.listdir(tmp_path) == ["file"]


def test_the_temporary_file_is_hidden_from_globs(tmp_path: Path) -> None:
    path = tmp_path / "part.parquet"
    with replacing(path) as temporary:
        temporary.write_text("half")
        assert is_temporary(temporary.name)
        assert list(tmp_path.glob("*.parquet")) == []
        assert temporary.parent == tmp_path
    assert path.read_text() == "half"


def test_a_failure_leaves_the_previous_content(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_atomically(path, "old")
    writing = contextlib.ExitStack()
    writing.enter_context(replacing(path)).write_text("half")
    writing.callback(sys.exit)
    with pytest.raises(SystemExit):
        writing.close()
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["file"]


def test_file_rename_and_folder_are_synced_in_this_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events: list[str] = []
    sync, replace = os.fsync, Path.replace

    def record_sync(descriptor: int) -> None:
        kind = "folder" if os.path.isdir(f"/proc/self/fd/{descriptor}") else "file"
        events.append(f"sync {kind}")
        sync(descriptor)

    def record_replace(self: Path, target: Path) -> Path:
        events.append("rename")
        return replace(self, target)

    monkeypatch.setattr(os, "fsync", record_sync)
    monkeypatch.setattr(Path, "replace", record_replace)
    write_atomically(tmp_path / "file", "text")
    assert events == ["sync file", "rename", "sync folder"]


def test_users_hidden_files_are_not_temporary() -> None:
    assert not is_temporary(".lock")
    assert not is_temporary("notes.tmp")
