"""A results folder on an object store: all that holds of one on a disk."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow.parquet as pq
import pytest

from orchestrator.errors import QueryError, ResultsError
from orchestrator.reporting import write_comparison, write_report
from orchestrator.results import (
    ResultsFolder,
    StorePath,
    committed_snapshots,
    compact,
    connect,
    damaged_files,
    query,
    set_aside_damaged_parts,
    set_aside_snapshot,
    study_status,
    write_part,
)
from orchestrator.results.folder import schema_files
from tests.object_store import CREDENTIALS, ObjectStore
from tests.results.conftest import fill, measure_row, rows, study_json
from tests.results.database.test_compaction import assert_same


def put(local: Path, path: Any) -> None:
    for file in local.rglob("*"):
        if file.is_file() and file.name != ".lock":
            (path / file.relative_to(local)).write_bytes(file.read_bytes())


@pytest.fixture
def stored(store_url: str, small_results: ResultsFolder) -> ResultsFolder:
    """The small study's results, copied to a store."""
    put(small_results.path, ResultsFolder(store_url).path)
    return ResultsFolder.open(store_url)


def test_views_and_status_on_a_store_equal_those_on_a_disk(
    stored: ResultsFolder, small_results: ResultsFolder, small_rows: dict[str, Any]
) -> None:
    assert_same(rows(stored), small_rows)
    assert committed_snapshots(stored) == committed_snapshots(small_results)
    assert committed_snapshots(stored, {"a0", "none"}) == committed_snapshots(stored)[:2]
    there, here = study_status(stored).to_dict(), study_status(small_results).to_dict()
    assert there.pop("path") == str(stored.path)
    assert here.pop("path") == str(small_results.path)
    assert there == here
    with stored.lock():
        assert study_status(str(stored.path)).running == stored.lock.holder() is not None


def test_a_store_receives_the_same_files_as_a_disk(
    store_url: str,
    object_store: ObjectStore,
    folder: ResultsFolder,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    same = SimpleNamespace(hex=folder.place("trials", "").results)
    monkeypatch.setattr(schema_files, "uuid", SimpleNamespace(uuid4=lambda: same))
    there = ResultsFolder.create(
        store_url, study_json(), "study: small\n", {"command": ["run"]}, ""
    )
    fill(there)
    fill(folder)
    copy = object_store.copy(store_url, tmp_path / "copy")

    def files(root: Path) -> dict[str, bytes]:
        hidden = {".lock", ".lock-holder.json"}
        found = (path for path in root.rglob("*") if path.is_file() and path.name not in hidden)
        return {str(path.relative_to(root)): path.read_bytes() for path in found}

    got, expected = files(copy), files(folder.path)
    assert got.keys() == expected.keys()
    for name, content in got.items():
        # Rows of epochs are written without a time, and so get that of the writing.
        assert content == expected[name] or name.startswith("epochs/"), name


@pytest.mark.slow
def test_compaction_on_a_store_preserves_every_row_in_one_file(
    stored: ResultsFolder, small_rows: dict[str, Any]
) -> None:
    done = compact(str(stored.path))
    assert [(each.table, each.parts) for each in done] == [
        *(("trials", 4), ("epochs", 4), ("checkpoints", 4), ("measures", 8)),
    ]
    for each in done:
        names = {path.name for path in stored.table(each.table).iterdir()}
        assert names == {"_schema.parquet", "compact-1.parquet"}
    assert_same(rows(stored), small_rows)
    new = measure_row("b1", 20, "margin_mean", 1.0)
    write_part(stored, "measures", [new], "new")
    compact(stored)
    with connect(stored) as database:
        assert database.sql("SELECT margin_mean FROM wide WHERE checkpoint_id = 'b1-20'").fetchall()
    names = {path.name for path in stored.table("measures").iterdir()}
    assert names == {"_schema.parquet", "compact-2.parquet"}


def test_parts_rewritten_during_a_compaction_are_kept(
    stored: ResultsFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    from orchestrator.results.database import compaction

    original = compaction.remove_unchanged

    def write_first(read: Any) -> None:
        if any(path.parent.name == "measures" for path in read):
            changed = measure_row("a0", 10, "margin_mean", 5.0, variant="raw", dtype="float64")
            write_part(stored, "measures", [changed], "a0-10-x")
        original(read)

    monkeypatch.setattr(compaction, "remove_unchanged", write_first)
    compact(stored)
    names = {path.name for path in stored.table("measures").iterdir()}
    assert names == {"_schema.parquet", "compact-1.parquet", "a0-10-x.parquet"}


def test_a_damaged_part_is_moved_aside_and_a_damaged_copy_fetched_again(
    stored: ResultsFolder,
) -> None:
    part = stored.table("trials") / "a0-1.parquet"
    whole = part.read_bytes()
    part.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ResultsError, match=r"a0-1\.parquet.*: damaged"), connect(stored):
        pytest.fail("connected")
    (aside,) = set_aside_damaged_parts(stored)
    assert isinstance(aside, StorePath)
    assert aside.parent == stored.damaged
    assert damaged_files(stored) == {aside}
    assert not part.exists()

    copy = stored.readable("trials") / "b0-1.parquet"
    stat = copy.stat()
    copy.write_bytes(copy.read_bytes()[:-9] + b"x" * 9)
    os.utime(copy, ns=(stat.st_atime_ns, stat.st_mtime_ns))  # As the bits of a bad disk change.
    assert set_aside_damaged_parts(stored) == []
    with connect(stored) as database:
        trials = database.sql("SELECT trial_id FROM trials ORDER BY 1").fetchall()
    assert trials == [("a1",), ("b0",), ("b1",)]
    assert pq.read_table(copy).num_rows == 1


def test_a_damaged_or_missing_snapshot_does_not_count(stored: ResultsFolder) -> None:
    set_aside_snapshot(stored, "a0", 10)
    stored.snapshot("b0", 20).unlink()
    left = [row["checkpoint_id"] for row in committed_snapshots(stored)]
    assert left == ["a0-20", "a1-10", "a1-20", "b0-10", "b1-10", "b1-20"]
    names = sorted(path.name.partition("-")[2] for path in damaged_files(stored))
    assert names == ["snapshots-a0-10.json", "snapshots-a0-10.safetensors"]


@pytest.mark.slow
def test_a_query_on_a_store_reads_only_the_tables(
    stored: ResultsFolder, small_results: ResultsFolder, object_store: ObjectStore, tmp_path: Path
) -> None:
    assert query(str(stored.path), "SELECT count(*) FROM wide").fetchall() == [(8,)]
    assert query([stored.path, small_results], "SELECT count(*) FROM wide").fetchall() == [(16,)]
    (tmp_path / "cache" / "secret.csv").write_text("a\n1\n")
    pq.write_table(pq.read_table(stored.readable("trials")), tmp_path / "cache" / "x.parquet")
    url = object_store.endpoint
    for source in (
        f"'{tmp_path}/cache/x.parquet'",
        f"read_parquet('{stored.here}/../x.parquet')",
        f"'{stored.table('trials')}'",
        f"read_parquet('{url}/{stored.table('trials').key}/a0-1.parquet')",  # type: ignore[union-attr]
        f"'{small_results.table('trials')}/a0-1.parquet'",
    ):
        with pytest.raises(QueryError):
            query(str(stored.path), f"FROM {source}").fetchall()


@pytest.mark.slow
def test_reports_are_written_to_the_store_by_default(
    stored: ResultsFolder, small_results: ResultsFolder, tmp_path: Path
) -> None:
    path = write_report(str(stored.path))
    assert path == stored.report
    assert b"<html" in path.read_bytes()
    assert write_report(str(stored.path), tmp_path / "report.html") == tmp_path / "report.html"
    compared = write_comparison([str(stored.path), small_results.path])
    assert isinstance(compared, StorePath)
    assert compared.parent == stored.path.parent
    assert compared.is_file()


def test_a_store_folder_of_another_study_is_refused(store_url: str, stored: ResultsFolder) -> None:
    def create(url: Any, **study: Any) -> None:
        ResultsFolder.create(url, study_json(**study), "", {"command": []}, "")

    with pytest.raises(ResultsError, match="contains the results of study 'small', not 'other'"):
        create(store_url, study="other")
    (stored.path / "elsewhere" / "file").write_bytes(b"")
    with pytest.raises(ResultsError, match="exists, but is not a results folder"):
        create(stored.path / "elsewhere")
    with pytest.raises(ResultsError, match="does not exist"):
        ResultsFolder.open(stored.path.parent / "none")
    with pytest.raises(ResultsError, match="can't contain any of"):
        ResultsFolder("s3://bucket/a*b")


@pytest.mark.slow
def test_commands_read_a_store_from_another_process(stored: ResultsFolder, tmp_path: Path) -> None:
    def orchestrator(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "orchestrator", *words]
        return subprocess.run(command, capture_output=True, text=True)

    url = str(stored.path)
    status = orchestrator("status", url)
    assert "4 of 4 completed" in status.stdout, status.stderr
    counted = orchestrator("query", url, "SELECT count(*) AS n FROM final", "-f", "csv")
    assert counted.stdout.split() == ["n", "4"], counted.stderr
    unreachable = orchestrator("status", "s3://results/x?endpoint_override=http://127.0.0.1:9")
    assert unreachable.returncode == 3
    assert "object store error: cannot be reached" in unreachable.stderr
    assert "Traceback" not in unreachable.stderr
    secret = CREDENTIALS["AWS_SECRET_ACCESS_KEY"]
    for path in stored.path.objects(recursive=True):  # type: ignore[union-attr]
        assert secret.encode() not in path.read_bytes()
