from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path

import pytest

from orchestrator.results.store.atomic import is_temporary, replacing, write_atomically


def test_content_is_replaced_and_nothing_is_left_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_atomically(path, "old")
    write_atomically(path, b"n\xc3\xa9w")
    assert path.read_text(encoding="utf-8") == "néw"
    assert os.listdir(tmp_path) == ["file"]


def test_while_it_is_written_it_is_outside_the_glob(tmp_path: Path) -> None:
    path = tmp_path / "part.parquet"
    with replacing(path) as temporary:
        temporary.write_text("half")
        assert is_temporary(temporary.name)
        assert list(tmp_path.glob("*.parquet")) == []
        assert temporary.parent == tmp_path
    assert path.read_text() == "half"


def test_a_failure_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_atomically(path, "old")
    writing = contextlib.ExitStack()
    writing.enter_context(replacing(path)).write_text("half")
    writing.callback(sys.exit)
    with pytest.raises(SystemExit):
        writing.close()
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["file"]


def test_file_then_rename_then_folder_reach_the_disk(
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


def test_a_user_s_hidden_file_is_not_temporary() -> None:
    assert not is_temporary(".lock")
    assert not is_temporary("notes.tmp")
