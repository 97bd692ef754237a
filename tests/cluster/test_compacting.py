"""Parts are joined while a run goes on, and nothing is lost by it."""

import threading
import time

import pytest

import orchestrator
from orchestrator.cluster import compacting as module
from orchestrator.cluster.compacting import compact_if_many, compacting
from orchestrator.errors import StorageError
from orchestrator.results import ResultsFolder
from tests.cluster.comparison import assert_equal_results
from tests.cluster.conftest import TWO_TRIALS
from tests.results.conftest import fill, study_json


@pytest.fixture
def folder(tmp_path):
    made = ResultsFolder.create(
        tmp_path / "r", study_json(), "study: small\n", {"command": ["run"]}, ""
    )
    return fill(made)


def parts(folder, table="measures"):
    return sorted(path.name for path in folder.readable(table).glob("[!.]*.parquet"))


def test_few_parts_are_not_compacted(folder):
    before = parts(folder)
    with folder.lock():
        compact_if_many(folder, most=1000)
    assert parts(folder) == before


def test_many_parts_are_compacted_during_a_run(folder, monkeypatch):
    monkeypatch.setattr(module, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr(module, "PARTS_MEANWHILE", 2)
    joined = threading.Event()
    compact = module.compact
    monkeypatch.setattr(module, "compact", lambda folder: (compact(folder), joined.set()))
    with folder.lock(), compacting(folder):
        assert joined.wait(30)
    assert any(name.startswith("compact-") for name in parts(folder))
    assert "compacting" not in {thread.name for thread in threading.enumerate()}


def test_a_failing_compaction_does_not_end_the_run(folder, monkeypatch, caplog):
    asked = []

    def refuse(folder):
        asked.append(folder)
        raise StorageError("no space", "make room")

    monkeypatch.setattr(module, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr(module, "PARTS_MEANWHILE", 2)
    monkeypatch.setattr(module, "compact", refuse)
    with folder.lock(), compacting(folder):
        deadline = time.monotonic() + 600
        while "compaction stopped" not in caplog.text:
            assert time.monotonic() < deadline
            time.sleep(0.01)
    assert len(asked) == 1


@pytest.mark.ray
@pytest.mark.slow
def test_a_run_compacted_all_the_time_ends_like_an_undisturbed_one(
    local_ray, small_study, tmp_path, undisturbed, monkeypatch
):
    monkeypatch.setattr(module, "LOOK_SECONDS", 0.05)
    monkeypatch.setattr(module, "PARTS_MEANWHILE", 3)
    times = []
    compact = module.compact
    monkeypatch.setattr(module, "compact", lambda folder: times.append(compact(folder)))
    results = tmp_path / "results"
    assert orchestrator.run(small_study(**TWO_TRIALS), results, quiet=True).complete
    assert len(times) >= 2
    assert_equal_results(results, undisturbed)
