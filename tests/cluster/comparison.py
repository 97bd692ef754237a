"""What results folders hold, and whether two hold the same: every table, value for value."""

import hashlib

import orchestrator
from orchestrator.results.table_schemas import KEYS

# What may differ between two runs of one study: when and where, how long, how often begun.
VOLATILE = {
    *("written_at", "seconds", "train_seconds", "evaluation_seconds", "attempt"),
    *("host", "device", "python_version", "torch_version", "orchestrator_version"),
}


def rows(folder, sql):
    """The answer to a question."""
    with orchestrator.connect(folder) as database:
        return database.execute(sql).fetchall()


def tables(folder):
    """Each table's rows, without what may differ; every value as text, so that NaN equals NaN."""
    found = {}
    with orchestrator.connect(folder) as database:
        for table, keys in KEYS.items():
            names = [row[0] for row in database.execute(f"DESCRIBE {table}").fetchall()]
            kept = [name for name in names if name not in VOLATILE]
            columns = ", ".join(f'"{name}"' for name in kept)
            rows = database.execute(f"SELECT {columns} FROM {table}").fetchall()
            places = [kept.index(name) for name in keys.key]
            by_key = {tuple(map(repr, (row[i] for i in places))): row for row in rows}
            assert len(by_key) == len(rows), f"{table} has a key more than once"
            found[table] = {
                key: dict(zip(kept, map(repr, row), strict=True)) for key, row in by_key.items()
            }
    return found


def assert_equal_results(folder, undisturbed):
    """Both are complete and equal, and nothing else is left in ``folder``."""
    got, expected = tables(folder), tables(undisturbed)
    for table in expected:
        assert got[table].keys() == expected[table].keys(), table
        for key, row in expected[table].items():
            assert got[table][key] == row, f"{table} {key}"
    assert expected["trials"]
    assert expected["measures"]
    assert not list(folder.rglob(".*.tmp"))
    assert not list((folder / "resume").glob("*"))
    with orchestrator.connect(folder) as database:
        for path, sha256 in database.execute("SELECT path, sha256 FROM checkpoints").fetchall():
            assert hashlib.sha256((folder / path).read_bytes()).hexdigest() == sha256
