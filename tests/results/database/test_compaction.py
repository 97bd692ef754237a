from __future__ import annotations

import os
import resource
import shutil
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.parquet as pq
import pytest

from orchestrator.errors import FilesGoneError, ResultsError, StorageError
from orchestrator.reporting import write_report
from orchestrator.reporting.data import open_results as source
from orchestrator.results import (
    ResultsFolder,
    again_if_compacted,
    compact,
    connect,
    study_status,
    write_part,
)
from orchestrator.results.database import compaction, status
from orchestrator.results.store.checksum import write_sealed
from tests.results.conftest import at, measure_row, rows, trial_row


def assert_same(found: dict[str, list[tuple[Any, ...]]], wanted: Any) -> None:
    """Equal but for the last digits of sums, which DuckDB adds up in any order."""
    assert found.keys() == wanted.keys()
    for view, records in found.items():
        assert len(records) == len(wanted[view]), view
        for record, expected in zip(records, wanted[view], strict=True):
            for value, other in zip(record, expected, strict=True):
                if isinstance(value, float) and isinstance(other, float):
                    assert value == pytest.approx(other, rel=1e-12, abs=0, nan_ok=True), view
                else:
                    assert value == other, view


def parts(folder: ResultsFolder, table: str) -> list[str]:
    return sorted(name for name in os.listdir(folder.table(table)) if name != "_schema.parquet")


def test_compaction_does_not_change_any_view(
    filled: ResultsFolder, small_rows: dict[str, Any]
) -> None:
    done = compact(filled.path)
    assert [(each.table, each.parts) for each in done] == [
        ("trials", 4),
        ("epochs", 4),
        ("checkpoints", 4),
        ("measures", 8),
    ]
    assert_same(rows(filled), small_rows)
    for each in done:
        assert each.path == filled.table(each.table) / "compact-1.parquet"
        assert parts(filled, each.table) == ["compact-1.parquet"]


def test_the_compacted_file_is_sorted_typed_and_states_its_version(filled: ResultsFolder) -> None:
    compact(filled)
    path = filled.table("measures") / "compact-1.parquet"
    table = pq.read_table(path)
    keys = [
        tuple(row[name] for name in ("measure", "trial_id", "step")) for row in table.to_pylist()
    ]
    assert keys == sorted(keys)
    stored = filled.schema("measures")
    assert table.schema.names == stored.names
    assert [field.type for field in table.schema] == [field.type for field in stored]
    metadata = pq.read_metadata(path)
    assert metadata.metadata[b"schema_version"] == b"1"
    assert metadata.row_group(0).column(0).compression == "ZSTD"


def test_compaction_drops_repeated_rows(folder: ResultsFolder) -> None:
    for name in "abc":
        write_part(folder, "trials", [trial_row("a0"), trial_row("a1")], name)
    (done,) = compact(folder)
    assert pq.read_metadata(done.path).num_rows == 2


def test_a_table_with_too_few_parts_is_not_compacted(filled: ResultsFolder) -> None:
    assert compact(filled, least_parts=100) == []
    compact(filled)
    assert compact(filled) == []


@pytest.fixture(scope="module")
def compacted_once(
    small_results: ResultsFolder, tmp_path_factory: pytest.TempPathFactory
) -> tuple[ResultsFolder, dict[str, Any]]:
    """A compacted study with one more part, only to be read, and its rows."""
    path = shutil.copytree(small_results.path, tmp_path_factory.mktemp("again") / "small")
    folder = ResultsFolder.open(path)
    compact(folder)
    write_part(folder, "measures", [measure_row("b1", 20, "margin_mean", 1.0)], "more")
    return folder, rows(folder)


@pytest.fixture
def with_more(
    compacted_once: tuple[ResultsFolder, dict[str, Any]], tmp_path: Path
) -> tuple[ResultsFolder, dict[str, Any]]:
    """The same, of one's own."""
    folder, before = compacted_once
    return ResultsFolder.open(shutil.copytree(folder.path, tmp_path / "small")), before


def test_later_parts_are_compacted_into_a_new_file(
    with_more: tuple[ResultsFolder, dict[str, Any]],
) -> None:
    filled, before = with_more
    (done,) = compact(filled)
    assert (done.path.name, done.parts) == ("compact-2.parquet", 2)
    assert parts(filled, "measures") == ["compact-2.parquet"]
    assert_same(rows(filled), before)


class Crash(BaseException):
    """As a kill: nothing that catches errors sees it."""


@pytest.mark.parametrize(
    "point",
    [
        pytest.param("before the rename", marks=pytest.mark.slow),
        pytest.param("after the rename", marks=pytest.mark.slow),
        "after the first removal",
        pytest.param("after the removals", marks=pytest.mark.slow),
    ],
)
def test_a_crash_at_any_point_loses_nothing(
    with_more: tuple[ResultsFolder, dict[str, Any]], monkeypatch: pytest.MonkeyPatch, point: str
) -> None:
    filled, before = with_more
    replace, unlink, removed = Path.replace, Path.unlink, []

    def crash(*_: Any, **__: Any) -> None:
        raise Crash

    def crash_before(self: Path, target: Path) -> Path:
        if target.name == "compact-2.parquet":
            raise Crash
        return replace(self, target)

    def crash_second(self: Path, missing_ok: bool = False) -> None:
        if self.suffix == ".parquet":
            if removed:
                raise Crash
            removed.append(self)
        unlink(self, missing_ok)

    if point == "before the rename":
        monkeypatch.setattr(Path, "replace", crash_before)
    elif point == "after the rename":
        monkeypatch.setattr(compaction, "remove_unchanged", crash)
    elif point == "after the first removal":
        monkeypatch.setattr(Path, "unlink", crash_second)
    else:
        monkeypatch.setattr(compaction, "sync_directory", crash)
    with pytest.raises(Crash):
        compact(filled)
    monkeypatch.undo()
    left = parts(filled, "measures")
    assert ("compact-2.parquet" in left) == (point != "before the rename")
    assert len(left) == (
        1 if point == "after the removals" else 2 if "first" in point else len(left)
    )
    assert_same(rows(filled), before)
    compact(filled)
    assert_same(rows(filled), before)
    assert len(parts(filled, "measures")) == 1


def test_parts_written_during_a_compaction_are_kept(
    filled: ResultsFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = compaction.remove_unchanged

    def write_first(read: Any) -> None:
        if any(path.parent.name == "measures" for path in read):
            new = measure_row("b1", 20, "margin_mean", 1.0)
            write_part(filled, "measures", [new], "new")
            changed = measure_row("a0", 10, "margin_mean", 5.0, variant="raw", written_at=at(7))
            write_part(filled, "measures", [changed], "a0-10-x")
        original(read)

    monkeypatch.setattr(compaction, "remove_unchanged", write_first)
    compact(filled)
    assert parts(filled, "measures") == [
        "a0-10-x.parquet",
        "compact-1.parquet",
        "new.parquet",
    ]
    with connect(filled) as database:
        assert database.sql(
            "SELECT checkpoint_id, hessian_trace, margin_mean FROM wide "
            "WHERE checkpoint_id IN ('a0-10', 'b1-20') ORDER BY 1"
        ).fetchall() == [("a0-10", 1.0, 5.0), ("b1-20", 8.0, 1.0)]


def test_no_part_is_removed_before_its_rows_were_read_back(
    filled: ResultsFolder, small_rows: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    files = sorted(filled.path.rglob("*.parquet"))  # type: ignore[union-attr]
    original = compaction.seal

    def write_less(path: Path) -> None:
        table = pq.read_table(path)
        place = pq.read_metadata(path).metadata[b"orchestrator_place"].decode()
        write_sealed(table.slice(1), path, place=place)

    def flip(path: Path) -> None:
        original(path)
        content = bytearray(path.read_bytes())
        content[len(content) // 3] ^= 1
        path.write_bytes(content)

    for harm in (write_less, flip):
        monkeypatch.setattr(compaction, "seal", harm)
        with pytest.raises(StorageError, match=r"compact-1\.parquet.*all parts are kept"):
            compact(filled)
        assert sorted(filled.path.rglob("*.parquet")) == files  # type: ignore[union-attr]
    assert_same(rows(filled), small_rows)


def test_a_table_whose_parts_change_during_compaction_is_left_unchanged(
    filled: ResultsFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = compaction.seal

    def write_again(path: Path) -> None:
        original(path)
        if "measures" in str(path):
            changed = measure_row("a0", 10, "margin_mean", 5.0, variant="raw", written_at=at(7))
            write_part(filled, "measures", [changed], "a0-10-x")

    monkeypatch.setattr(compaction, "seal", write_again)
    assert [each.table for each in compact(filled)] == ["trials", "epochs", "checkpoints"]
    assert len(parts(filled, "measures")) == 8


def test_only_the_holder_of_the_lock_compacts(filled: ResultsFolder) -> None:
    with filled.lock():
        with pytest.raises(ResultsError, match="in use by process"):
            compact(filled.path)
        assert compact(filled)


def test_a_full_disk_leaves_every_part(filled: ResultsFolder, small_rows: dict[str, Any]) -> None:
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, limit[1]))
    try:
        with pytest.raises(StorageError, match="cannot be written"):
            compact(filled)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    assert not list(filled.path.rglob(".*.tmp"))
    assert_same(rows(filled), small_rows)


@pytest.fixture
def compacted_while_read(
    filled: ResultsFolder, monkeypatch: pytest.MonkeyPatch
) -> tuple[ResultsFolder, list[int]]:
    """Results whose parts are joined after the first two connections to them were opened."""
    compact(filled)
    write_part(filled, "measures", [measure_row("a0", 20, "weight_norm", 1.0)], "more")
    opened: list[int] = []

    def connect_and_compact(*given: Any, **options: Any) -> Any:
        connection = connect(*given, **options)
        opened.append(len(opened))
        if len(opened) <= 2:
            write_part(filled, "trials", [trial_row("a0")], f"again-{len(opened)}")
            compact(filled)
        return connection

    for module in (status, source):
        monkeypatch.setattr(module, "connect", connect_and_compact)
    return filled, opened


def test_reading_is_repeated_if_parts_are_compacted_meanwhile(
    compacted_while_read: tuple[ResultsFolder, list[int]],
) -> None:
    folder, opened = compacted_while_read
    assert study_status(folder).trials_completed > 0
    assert len(opened) == 3


@pytest.mark.slow
def test_a_report_starts_over_if_parts_are_compacted_meanwhile(
    compacted_while_read: tuple[ResultsFolder, list[int]], tmp_path: Path
) -> None:
    folder, opened = compacted_while_read
    assert write_report(folder.path, tmp_path / "report.html").is_file()
    assert len(opened) == 4  # Two each time: what the study left out, and the rest.


def test_files_that_keep_vanishing_are_reported_after_three_attempts() -> None:
    times: list[int] = []

    @again_if_compacted
    def read() -> None:
        times.append(len(times))
        raise duckdb.IOException("No such file")

    with pytest.raises(FilesGoneError, match="No such file") as told:
        read()
    assert "try again" in str(told.value.hint)
    assert len(times) == 3


def test_a_damaged_part_is_named(filled: ResultsFolder) -> None:
    part = next(filled.table("measures").glob("[!_]*.parquet"))
    content = bytearray(part.read_bytes())
    content[len(content) // 3] ^= 0xFF
    part.write_bytes(content)
    with pytest.raises(ResultsError, match=f"{part.name}: damaged"):
        compact(filled)
