from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from orchestrator.results import ResultsFolder, connect
from orchestrator.results.database.table_views import quote, table_views
from orchestrator.results.folder.parts import whole_parts
from orchestrator.results.folder.place import compaction_number
from orchestrator.results.store.checksum import write_sealed
from tests.results.conftest import trial_row


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("compact-12.parquet", 12),
        ("compact-1.parquet.tmp", 0),
        ("a0-1.parquet", 0),
        ("xcompact-3.parquet", 0),
    ],
)
def test_compaction_numbers_are_read_from_file_names(name: str, number: int) -> None:
    assert compaction_number(Path("folder") / name) == number


def test_quotes_in_paths_are_doubled() -> None:
    assert quote(Path("it's")) == "'it''s'"


def test_the_newest_compacted_file_supersedes_earlier_ones(
    folder: ResultsFolder,
) -> None:
    directory = folder.table("trials")
    schema = folder.schema("trials")
    for number in (9, 10):  # As a crash between writing and removing leaves them.
        rows = pa.Table.from_pylist([trial_row("a0", attempt=number)], schema)
        place = str(folder.place("trials", f"compact-{number}"))
        write_sealed(rows, directory / f"compact-{number}.parquet", place=place)
    views = table_views(folder, "trials", whole_parts(folder)["trials"])
    assert "compact-10.parquet" in views.sources["parts.trials_compacted"]
    with connect(folder) as database:
        assert database.sql("SELECT attempt FROM trials").fetchall() == [(10,)]
        assert database.sql("SELECT count(*) FROM parts.trials").fetchall() == [(2,)]
