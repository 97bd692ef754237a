"""No file of a results folder answers with another value, whatever happened to its bytes."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from orchestrator.errors import ResultsError
from orchestrator.reporting import write_report
from orchestrator.reporting.export import write_export
from orchestrator.results import (
    ResultsFolder,
    committed_snapshots,
    compact,
    compare_study,
    connect,
    query,
    read_runs,
    read_study,
    study_status,
    write_part,
)
from orchestrator.results.folder.damage import damaged_parts
from orchestrator.results.store.checksum import KEY
from orchestrator.results.table_schemas import TABLES
from tests.results.conftest import measure_row

ROWS: dict[str, dict[str, Any]] = {
    "measure_catalog": {"measure": "margin_mean", "unit": "logit"},
    "curves": {
        **{k: v for k, v in measure_row("a0", 20, "", None).items() if k not in {"measure"}},
        **{"curve": "loss_slice", "request": "slice", "x": [0.5, 1.0], "value": [2.0, 3.0]},
    },
    "examples": {
        **{"data": "{}", "dataset_hash": "ab", "split": "train", "example": 3, "label": 1},
        **{"shape": "1x2", "inputs": [0.25, -1.5]},
    },
    "trust_checks": {
        **{"shape": "ab", "trust_check": "repeatable", "status": "failed"},
        **{"reason": "two passes differ", "model": "mlp"},
    },
    "example_subsets": {
        **{"data": "{}", "dataset_hash": "ab", "split": "train", "measured_examples": 9},
        **{"n_examples": 2, "examples": [4.0, 7.0]},
    },
    "connectivity": {
        **{"condition_id": "A", "trial_id": "a0", "other_trial_id": "a1", "split": "train"},
        **{"checkpoint_id": "a0-20", "other_checkpoint_id": "a1-20", "quantity": "loss"},
        **{"barrier": 0.125, "alpha": [0.0, 1.0], "value": [1.0, 2.0]},
    },
    "audit": {
        **{"trial_id": "a0", "checkpoint_id": "a0-20", "change": "scale", "request": "margin"},
        **{"measure": "margin_mean", "original": 1.0, "changed": 1.5, "status": "ok"},
    },
}
JSON: dict[str, Callable[[ResultsFolder], Any]] = {
    "study.resolved.json": read_study,
    "provenance.json": lambda folder: read_runs(folder.provenance)["runs"],
    "snapshots/a0/10.json": committed_snapshots,
}


@pytest.fixture(scope="module")
def whole(small_results: ResultsFolder, tmp_path_factory: pytest.TempPathFactory) -> ResultsFolder:
    """Results with rows in every table, to be damaged and mended by one test after another."""
    path = tmp_path_factory.mktemp("flipped") / "small"
    folder = ResultsFolder.open(shutil.copytree(small_results.path, path))
    for table, row in ROWS.items():
        write_part(folder, table, [row], "only")
    return folder


def first_part(folder: ResultsFolder, table: str) -> Path:
    return min(folder.readable(table).glob("[!._]*.parquet"))


def rows_of(folder: ResultsFolder) -> dict[str, list[tuple[Any, ...]]]:
    with connect(ResultsFolder.open(folder.path), measure_columns=False) as database:
        return {table: database.sql(f"FROM {table} ORDER BY ALL").fetchall() for table in TABLES}


def flips(content: bytes, seed: int, most: int) -> Iterator[bytes]:
    """``content`` with one bit flipped: at its ends, in its seal, and anywhere."""
    size = len(content)
    at = content.rindex(KEY.encode())
    around = [at - 90, at - 40, at - 3, at, at + 5, at + len(KEY), at + len(KEY) + 9]
    places = [0, 3, size - 8, size - 5, size - 1, *around]
    places += np.random.default_rng(seed).integers(0, size, max(0, most - len(places))).tolist()
    for number, place in enumerate(places):
        yield changed(content, place, (number + seed) % 8)


def changed(content: bytes, place: int, bit: int) -> bytes:
    damaged = bytearray(content)
    damaged[place] ^= 1 << bit
    return bytes(damaged)


def harms(content: bytes, seed: int, most: int) -> Iterator[bytes]:
    yield b""
    for share in (4, 40, len(content) // 2, len(content) - 1):
        yield content[:share]
    yield content + b"\0"
    yield content[: len(content) // 2] + bytes(len(content) - len(content) // 2)
    yield from flips(content, seed, most)


@pytest.fixture
def replaced() -> Iterator[Callable[[Path, bytes], None]]:
    """Replaces the content of files, for as long as a test lasts."""
    before: dict[Path, bytes] = {}

    def replace(path: Path, content: bytes) -> None:
        before.setdefault(path, path.read_bytes())
        path.write_bytes(content)

    yield replace
    for path, content in before.items():
        path.write_bytes(content)


Replace = Callable[[Path, bytes], None]


@pytest.mark.parametrize("table", TABLES)
def test_a_damaged_part_is_detected_or_has_the_original_rows(
    whole: ResultsFolder, replaced: Replace, table: str
) -> None:
    part = first_part(whole, table)
    content, rows = part.read_bytes(), pq.read_table(part)
    found = 0
    for harm in harms(content, TABLES.index(table), 40):
        replaced(part, harm)
        if damaged_parts(whole):
            found += 1
            assert damaged_parts(whole) == [part]
        else:
            assert pq.read_table(part).equals(rows)
    assert found >= 40


@pytest.mark.parametrize("table", TABLES)
def test_a_damaged_schema_is_refused_by_name_or_unchanged(
    whole: ResultsFolder, replaced: Replace, table: str
) -> None:
    path, schema = whole.table(table) / "_schema.parquet", whole.schema(table)
    assert isinstance(path, Path)
    refused = 0
    for harm in harms(path.read_bytes(), TABLES.index(table), 40):
        replaced(path, harm)
        try:
            assert ResultsFolder(whole.path).schema(table).equals(schema, check_metadata=True)
        except ResultsError as error:
            refused += 1
            assert f"{path}: damaged" in error.message
            assert "run the study again" in str(error.hint)
    assert refused >= 40


@pytest.mark.parametrize("name", JSON)
def test_a_damaged_json_file_is_refused_by_name_or_unchanged(
    whole: ResultsFolder, replaced: Replace, name: str
) -> None:
    path, read = whole.path / name, JSON[name]
    assert isinstance(path, Path)
    expected = read(whole)
    refused = 0
    for harm in harms(path.read_bytes(), len(name), 60):
        replaced(path, harm)
        try:
            got = read(ResultsFolder(whole.path))
        except ResultsError as error:
            refused += 1
            assert str(path) in error.message
            assert error.hint
            continue
        if name.startswith("snapshots"):
            refused += got == expected[1:]
            assert got in (expected, expected[1:])
        else:
            assert got == expected
    assert refused >= 55


COMMANDS: dict[str, Callable[[ResultsFolder, Path], Any]] = {
    "connect": lambda folder, _: rows_of(folder),
    "query": lambda folder, _: query(folder.path, "SELECT sum(value) FROM measures").fetchall(),
    "several": lambda folder, _: connect([folder.path]).close(),
    "status": lambda folder, _: study_status(folder.path),
    "report": lambda folder, to: write_report(folder.path, to / "report.html"),
    "export": lambda folder, to: write_export(folder.path, to, formats=["csv"]),
    "edits": lambda folder, _: compare_study(folder, read_study(folder), []),
    "compact": lambda folder, _: compact(folder.path),
}


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_refuses_a_damaged_part(
    whole: ResultsFolder, replaced: Replace, tmp_path: Path, command: str
) -> None:
    part = first_part(whole, "measures")
    content = part.read_bytes()
    before = sorted(whole.path.rglob("*.parquet"))  # type: ignore[union-attr]
    # Bits of values, which any reader of Parquet would answer.
    for place in (len(content) // 3, len(content) // 5):
        replaced(part, changed(content, place, 2))
        with pytest.raises(ResultsError, match=f"{part}: damaged: its checksum differs") as told:
            COMMANDS[command](whole, tmp_path)
        assert "run the study again" in str(told.value.hint)
    assert sorted(whole.path.rglob("*.parquet")) == before  # type: ignore[union-attr]
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ("epochs/a0-20", "it was written as epochs/a0-20.parquet"),
        ("measures/a0-20-x", "it was written as measures/a0-20-x.parquet"),
        ("measures/_schema", "it was written as measures/_schema.parquet"),
    ],
)
def test_a_part_copied_over_another_is_refused(
    whole: ResultsFolder, replaced: Replace, source: str, why: str
) -> None:
    part = first_part(whole, "measures")
    replaced(part, (whole.path / f"{source}.parquet").read_bytes())  # type: ignore[union-attr]
    with pytest.raises(ResultsError, match=f"{part}: damaged: {why}"):
        connect(whole)


def test_a_part_of_other_results_is_refused(
    whole: ResultsFolder, replaced: Replace, make_folder: Callable[..., ResultsFolder]
) -> None:
    part, other = first_part(whole, "measures"), make_folder("other")
    write_part(other, "measures", [measure_row("a0", 10, "margin_mean", 7.0)], part.stem)
    replaced(part, first_part(other, "measures").read_bytes())
    with pytest.raises(ResultsError, match=f"{part}: damaged: it belongs to other results"):
        rows_of(whole)


@pytest.mark.parametrize(
    ("of_other", "table", "why"),
    [
        (True, "measures", "it belongs to other results"),
        (False, "trials", "it was written as trials/_schema.parquet"),
        (False, "curves", "it was written as curves/_schema.parquet"),
    ],
)
def test_a_schema_copied_over_another_is_refused(
    whole: ResultsFolder,
    replaced: Replace,
    make_folder: Callable[..., ResultsFolder],
    of_other: bool,
    table: str,
    why: str,
) -> None:
    source = make_folder("other") if of_other else whole
    schema = whole.readable("measures") / "_schema.parquet"
    replaced(schema, (source.readable(table) / "_schema.parquet").read_bytes())
    with pytest.raises(ResultsError, match=f"{schema}: damaged: {why}"):
        rows_of(whole)


def test_compacted_files_are_protected_like_parts(filled: ResultsFolder, replaced: Replace) -> None:
    compact(filled)
    part = first_part(filled, "measures")
    content, rows = part.read_bytes(), pq.read_table(part)
    for harm in harms(content, 1, 40):
        replaced(part, harm)
        assert damaged_parts(filled) == [part] or pq.read_table(part).equals(rows)
    write_part(filled, "measures", [measure_row("a0", 10, "norms", 1.0)], "new")
    replaced(part, changed(content, len(content) // 3, 1))
    with pytest.raises(ResultsError, match=f"{part}: damaged"):
        compact(filled)
    assert part.exists()


@pytest.mark.full
@pytest.mark.parametrize("table", TABLES)
def test_no_flipped_bit_of_a_part_or_schema_changes_an_answer(
    whole: ResultsFolder, replaced: Replace, table: str
) -> None:
    expected, refused = rows_of(whole), 0
    paths = (first_part(whole, table), whole.readable(table) / "_schema.parquet")
    for path in paths:
        content = path.read_bytes()
        for bit in range(8 * len(content)):
            replaced(path, changed(content, bit // 8, bit % 8))
            try:
                assert rows_of(whole) == expected, (path, bit)
            except ResultsError as error:
                refused += 1
                assert f"{path}: damaged" in error.message
        replaced(path, content)
    assert refused > 0.9 * sum(8 * path.stat().st_size for path in paths)
