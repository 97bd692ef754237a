"""Which files count as parts, and how often each is examined."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from orchestrator.errors import FilesGoneError, ResultsError
from orchestrator.results import ResultsFolder, connect, set_aside_damaged_parts, study_status
from orchestrator.results.folder import parts
from orchestrator.results.folder.parts import damaged_parts, whole_parts
from tests.results.conftest import ask

COUNT = "SELECT count(*) FROM trials"


@pytest.fixture
def examined(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the files that are read to be examined; all files count as settled."""
    names: list[str] = []
    original = parts.read_seal

    def noting(path: Path) -> Any:
        names.append(path.name)
        return original(path)

    monkeypatch.setattr(parts, "read_seal", noting)
    monkeypatch.setattr(parts, "SETTLED_NANOSECONDS", -1)
    return names


def test_each_file_is_examined_once_per_process(filled: ResultsFolder, examined: list[str]) -> None:
    count = len(whole_parts(filled)["measures"])
    assert len(examined) > count
    examined.clear()
    whole_parts(filled)
    connect(filled).close()
    assert examined == []
    path = filled.readable("trials") / "a0-1.parquet"
    os.utime(path)
    whole_parts(ResultsFolder.open(filled.path))
    assert examined == ["a0-1.parquet"]


def test_recently_changed_files_are_examined_again(
    filled: ResultsFolder, examined: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parts, "SETTLED_NANOSECONDS", 10**15)
    whole_parts(filled)
    first = sorted(examined)
    whole_parts(filled)
    assert sorted(examined) == sorted(first * 2)


def test_a_bit_that_changes_without_the_size_or_time_is_found(
    filled: ResultsFolder, examined: list[str]
) -> None:
    whole_parts(filled)
    path = filled.readable("trials") / "a0-1.parquet"
    before = path.stat()
    content = bytearray(path.read_bytes())
    content[40] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert damaged_parts(filled) == [path]


@pytest.mark.parametrize("name", ["._a0-1.parquet", ".hidden.parquet", "_x.parquet", "notes.txt"])
def test_hidden_files_and_other_types_are_ignored(filled: ResultsFolder, name: str) -> None:
    (filled.readable("trials") / name).write_bytes(b"\0\5\x16\7 Mac OS X")
    assert ask(filled, COUNT) == [(4,)]
    assert study_status(filled).trials_completed == 4


def make_directory(path: Path) -> None:
    path.mkdir()


def make_dangling_link(path: Path) -> None:
    path.symlink_to(path.parent / "nowhere.parquet")


def make_copy(path: Path) -> None:
    shutil.copy(path.with_name("a0-1.parquet"), path)


@pytest.mark.parametrize(
    ("name", "make", "why"),
    [
        ("a0-1 (1).parquet", make_copy, "it is not a part"),
        ("a[0].parquet", make_copy, "it is not a part"),
        ("it's.parquet", make_copy, "it is not a part"),
        ("copy.parquet", make_copy, "it was written as trials/a0-1.parquet"),
        ("folder.parquet", make_directory, "it is not a part"),
        ("link.parquet", make_dangling_link, "it is a broken link"),
        ("text.parquet", lambda path: path.write_text("text"), "it cannot be read: "),
    ],
)
def test_foreign_parquet_files_are_refused_and_moved_aside(
    filled: ResultsFolder, name: str, make: Any, why: str
) -> None:
    foreign = filled.readable("trials") / name
    make(foreign)
    with pytest.raises(ResultsError) as told:
        connect(filled)
    assert f"{foreign}: damaged: {why}" in told.value.message
    (aside,) = set_aside_damaged_parts(filled)
    assert aside.name.endswith(f"trials-{name}")
    assert ask(filled, COUNT) == [(4,)]


def test_parts_of_earlier_releases_are_checked_completely(filled: ResultsFolder) -> None:
    for path in list(filled.path.rglob("[!_]*.parquet")):  # type: ignore[union-attr]
        pq.write_table(pq.read_table(path), path, write_page_checksum=True, compression="none")
    assert ask(filled, COUNT) == [(4,)]
    part = filled.readable("trials") / "a0-1.parquet"
    shutil.copy(filled.readable("epochs") / "a0-20.parquet", part)
    with pytest.raises(ResultsError, match=r"a0-1\.parquet: damaged: its columns do not match"):
        connect(filled)
    content = bytearray(part.read_bytes())
    content[content.index(b"a0") + 1] ^= 1
    part.write_bytes(content)
    with pytest.raises(ResultsError, match=r"a0-1\.parquet: damaged: it cannot be read: .*CRC"):
        connect(filled)


def test_an_unreadable_file_is_reported_in_one_sentence(
    filled: ResultsFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(parts, "read_seal", refuse)
    with pytest.raises(ResultsError, match=r"\.parquet: cannot be read: Permission denied"):
        connect(filled)


def test_parts_compacted_while_listing_are_not_missed(
    filled: ResultsFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    original, listings = os.listdir, []

    def listing(directory: Path) -> list[str]:
        names = original(directory)
        if directory.name == "trials":
            listings.append(names)
            if len(listings) == 1:  # A file that was removed, and its successor not yet seen.
                return [*names, "gone.parquet"]
        return names

    monkeypatch.setattr(parts.os, "listdir", listing)
    assert len(whole_parts(filled)["trials"]) == 4
    assert len(listings) == 4

    monkeypatch.setattr(
        parts.os, "listdir", lambda directory: [*original(directory), f"{len(listings)}.parquet"]
    )
    monkeypatch.setattr(parts, "examine_file", lambda *_: listings.append([]))
    with pytest.raises(FilesGoneError, match="vanish"):
        whole_parts(filled)
