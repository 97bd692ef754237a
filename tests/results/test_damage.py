"""Damaged parts are found by their checksums, kept aside, and told of."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from orchestrator.errors import ResultsError
from orchestrator.results import ResultsFolder, connect, set_aside_damaged_parts
from orchestrator.results.damage import (
    damaged_files,
    damaged_parts,
    set_aside,
    set_aside_snapshot,
)

from .conftest import ask


def part(folder: ResultsFolder) -> Path:
    return folder.table("measures") / "a0-10-x.parquet"


def test_whole_parts_stay(filled: ResultsFolder) -> None:
    before = ask(filled, "SELECT count(*) FROM measures")
    assert set_aside_damaged_parts(filled) == []
    assert not filled.damaged.exists()
    assert ask(filled, "SELECT count(*) FROM measures") == before


@pytest.mark.parametrize("length", [0, 3, 200])
def test_a_truncated_part_is_told_of_and_kept_aside(filled: ResultsFolder, length: int) -> None:
    content = part(filled).read_bytes()[:length]
    part(filled).write_bytes(content)
    with pytest.raises(ResultsError, match=r"a0-10-x\.parquet: damaged") as told:
        connect(filled)
    assert "run the study again" in str(told.value.hint)

    (aside,) = set_aside_damaged_parts(filled)
    assert aside.read_bytes() == content
    assert damaged_files(filled) == {aside}
    assert ask(filled, "SELECT count(*) FROM measures WHERE checkpoint_id = 'a0-10'") == [(0,)]


def test_flipped_bytes_of_the_values_are_found(filled: ResultsFolder) -> None:
    content = part(filled).read_bytes()
    footer = 8 + int.from_bytes(content[-8:-4], "little")
    pages = range(4, len(content) - footer)
    found = 0
    for place in pages[:: max(1, len(pages) // 40)]:
        damaged = bytearray(content)
        damaged[place] ^= 1
        part(filled).write_bytes(damaged)
        found += damaged_parts(filled) == [part(filled)]
    # What is left is in headers of pages, where a name or a count may stand that nothing reads.
    assert found >= 36


def test_what_is_set_aside_twice_is_kept_twice(filled: ResultsFolder) -> None:
    for content in (b"one", b"two"):
        part(filled).write_bytes(content)
        assert len(set_aside_damaged_parts(filled)) == 1
    assert {path.read_bytes() for path in damaged_files(filled)} == {b"one", b"two"}
    assert set_aside(filled, part(filled)) is None


def test_a_snapshot_goes_with_its_record(filled: ResultsFolder) -> None:
    set_aside_snapshot(filled, "a0", 10)
    assert not filled.snapshot("a0", 10).exists()
    assert not filled.snapshot("a0", 10).with_suffix(".json").exists()
    assert len(damaged_files(filled)) == 2


def test_an_error_of_the_disk_is_not_the_part_s(
    filled: ResultsFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr("orchestrator.results.damage.pq.ParquetFile", fail)
    with pytest.raises(OSError, match="Input/output error"):
        set_aside_damaged_parts(filled)


def test_a_damaged_schema_is_told_of(filled: ResultsFolder) -> None:
    (filled.table("trials") / "_schema.parquet").write_bytes(b"PAR1")
    with pytest.raises(ResultsError, match=r"_schema\.parquet: damaged"):
        ResultsFolder.open(filled.path)
