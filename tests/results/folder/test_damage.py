"""Damaged parts are found by their checksums, kept aside, and told of."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from orchestrator.errors import ResultsError
from orchestrator.results import (
    ResultsFolder,
    committed_snapshots,
    compact,
    connect,
    restore_checkpoints,
    set_aside_damaged_parts,
    set_aside_unreadable_records,
    write_part,
)
from orchestrator.results.folder.damage import (
    damaged_files,
    damaged_parts,
    set_aside,
    set_aside_snapshot,
)
from orchestrator.results.store.checksum import KEY, Seal, read_seal, seal, seal_fits
from tests.results.conftest import ask, measure_row


def part(folder: ResultsFolder) -> Path:
    return folder.table("measures") / "a0-10-x.parquet"


def test_whole_parts_are_kept(filled: ResultsFolder) -> None:
    before = ask(filled, "SELECT count(*) FROM measures")
    assert set_aside_damaged_parts(filled) == []
    assert not filled.damaged.exists()
    assert ask(filled, "SELECT count(*) FROM measures") == before


@pytest.mark.parametrize("length", [0, 3, 200])
def test_a_truncated_part_is_reported_and_moved_aside(filled: ResultsFolder, length: int) -> None:
    content = part(filled).read_bytes()[:length]
    part(filled).write_bytes(content)
    with pytest.raises(ResultsError, match=r"a0-10-x\.parquet: damaged") as told:
        connect(filled)
    assert "run the study again" in str(told.value.hint)

    (aside,) = set_aside_damaged_parts(filled)
    assert aside.read_bytes() == content
    assert damaged_files(filled) == {aside}
    assert ask(filled, "SELECT count(*) FROM measures WHERE checkpoint_id = 'a0-10'") == [(0,)]


@pytest.mark.parametrize("compacted", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_any_flipped_bit_is_detected(filled: ResultsFolder, compacted: bool) -> None:
    if compacted:
        compact(filled)
    path = filled.table("epochs") / ("compact-1.parquet" if compacted else "a0-20.parquet")
    content, whole = path.read_bytes(), pq.read_table(path)
    assert seal_fits(path)
    name = content.rindex(KEY.encode())
    for place in range(len(content)):
        damaged = bytearray(content)
        damaged[place] ^= 1 << place % 8
        path.write_bytes(damaged)
        fits = seal_fits(path)
        if name <= place < name + len(KEY):
            # Taken for a file without a seal; what it holds is as it was.
            assert fits is None
            assert pq.read_table(path).equals(whole)
        else:
            assert fits is False, place


def test_parts_of_earlier_releases_are_checked_by_page_checksums(filled: ResultsFolder) -> None:
    table = pq.read_table(part(filled))
    pq.write_table(table, part(filled), write_page_checksum=True, compression="none")
    assert seal_fits(part(filled)) is None
    assert damaged_parts(filled) == []
    content = bytearray(part(filled).read_bytes())
    content[content.index(b"a0-10") + 2] ^= 1
    part(filled).write_bytes(content)
    assert damaged_parts(filled) == [part(filled)]


def test_files_without_room_for_a_seal_are_not_sealed(
    filled: ResultsFolder, tmp_path: Path
) -> None:
    (tmp_path / "file").write_bytes(b"PAR1")
    for path in (tmp_path / "file", part(filled)):  # The other is sealed.
        before = path.read_bytes()
        with pytest.raises(ValueError, match="no blank seal"):
            seal(path)
        assert path.read_bytes() == before


@pytest.mark.parametrize("length", [1, 90, 130, 180])
def test_a_seal_names_its_place_however_long(filled: ResultsFolder, length: int) -> None:
    name = "a" * length
    path = write_part(filled, "measures", [measure_row("a0", 10, "norm", 1.0)], name)
    assert isinstance(path, Path)
    assert read_seal(path) == Seal(True, str(filled.place("measures", name)))
    compact(filled)
    found = read_seal(path.with_name("compact-1.parquet"))
    assert found == Seal(True, str(filled.place("measures", "compact-1")))


def test_damaged_files_of_one_name_are_all_kept(filled: ResultsFolder) -> None:
    for content in (b"one", b"two"):
        part(filled).write_bytes(content)
        assert len(set_aside_damaged_parts(filled)) == 1
    assert {path.read_bytes() for path in damaged_files(filled)} == {b"one", b"two"}
    assert set_aside(filled, part(filled)) is None


def test_measures_are_moved_aside_with_their_curves(filled: ResultsFolder) -> None:
    row = measure_row("a0", 10, "", None) | {"curve": "slice", "x": [1.0], "value": [2.0]}
    del row["measure"]
    write_part(filled, "curves", [row], "a0-10-x")
    curves = filled.readable("curves") / "a0-10-x.parquet"
    curves.write_bytes(curves.read_bytes()[:-1])
    names = sorted(path.name.partition("-")[2] for path in set_aside_damaged_parts(filled))
    assert names == ["curves-a0-10-x.parquet", "measures-a0-10-x.parquet"]


def test_an_unreadable_record_is_moved_aside_with_its_snapshot(filled: ResultsFolder) -> None:
    record = Path(str(filled.snapshot("a0", 10).with_suffix(".json")))
    record.write_bytes(record.read_bytes().replace(b'"train_loss": 0.5', b'"train_loss": 0.4'))
    assert len(committed_snapshots(filled)) == 7
    set_aside_unreadable_records(filled)
    names = sorted(path.name.partition("-")[2] for path in damaged_files(filled))
    assert names == ["snapshots-a0-10.json", "snapshots-a0-10.safetensors"]
    assert len(committed_snapshots(filled)) == 7


def test_lost_rows_of_checkpoints_are_restored_from_the_records(filled: ResultsFolder) -> None:
    everything = ask(filled, "FROM checkpoints ORDER BY ALL")
    part = filled.readable("checkpoints") / "a0-20.parquet"
    part.unlink()
    known = {id_ for (id_,) in ask(filled, "SELECT checkpoint_id FROM checkpoints")}
    assert restore_checkpoints(filled, {"a1", "b0", "b1"}, known) == 0
    assert restore_checkpoints(filled, {"a0", "a1"}, known) == 2
    assert ask(filled, "FROM checkpoints ORDER BY ALL") == everything


def test_a_snapshot_is_moved_aside_with_its_record(filled: ResultsFolder) -> None:
    set_aside_snapshot(filled, "a0", 10)
    assert not filled.snapshot("a0", 10).exists()
    assert not filled.snapshot("a0", 10).with_suffix(".json").exists()
    assert len(damaged_files(filled)) == 2


def test_an_error_of_the_disk_is_not_taken_for_a_damaged_part(
    filled: ResultsFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr("orchestrator.results.folder.parts.read_seal", fail)
    with pytest.raises(OSError, match="Input/output error"):
        set_aside_damaged_parts(filled)
    with pytest.raises(ResultsError, match="cannot be read: Input/output error"):
        connect(filled)


def test_a_damaged_schema_is_refused(filled: ResultsFolder) -> None:
    path = filled.table("trials") / "_schema.parquet"
    content = bytearray(path.read_bytes())
    content[content.index(b"learning_rate")] ^= 1
    for damaged in (b"PAR1", content):
        path.write_bytes(damaged)
        with pytest.raises(ResultsError, match=r"_schema\.parquet: damaged"):
            ResultsFolder.open(filled.path)
