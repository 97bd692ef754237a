"""Whole studies whose results lie on an object store."""

import os
import signal
import threading
import time

import pytest

import orchestrator
from orchestrator.errors import ResultsError, StorageError
from orchestrator.results import ResultsFolder
from orchestrator.results.store import object_stores
from tests.cluster.comparison import assert_equal_results
from tests.cluster.conftest import TWO_TRIALS
from tests.cluster.in_process import run_in_process
from tests.cluster.test_interruption import LONGER, finish, start, wait_until
from tests.object_store import CREDENTIALS, ObjectStore
from tests.results.conftest import azurite

pytestmark = [pytest.mark.ray, pytest.mark.slow]

FAULTY = f"{__package__}.faulty"


def records(url):
    """The commit records of snapshots so far."""
    snapshots = ResultsFolder(url).path / "snapshots"
    return [path for path in snapshots.objects(recursive=True) if path.suffix == ".json"]


@pytest.mark.parametrize(
    "object_store",
    ["s3", "gs", pytest.param("az", marks=[pytest.mark.full, azurite])],
    indirect=True,
)
def test_a_study_on_a_store_has_the_same_tables_as_on_a_disk(
    undisturbed, object_store, store_url, small_study, tmp_path
):
    study = small_study(**{**TWO_TRIALS, "measures": ["margin"]})
    assert orchestrator.run(study, store_url, quiet=True).complete
    measured = orchestrator.measure(store_url, ["norms"], quiet=True)
    assert not measured.failed_measures

    # What is damaged or gone there is made again.
    folder = ResultsFolder(store_url)
    one, other = sorted(path.name for path in folder.snapshots.iterdir())
    for part in (
        next(folder.table("epochs").glob(f"{one}*.parquet")),
        next(folder.table("measures").glob(f"{other}-10-*.parquet")),
        folder.snapshot(other, 10),
    ):
        part.write_bytes(part.read_bytes()[:-20])
    folder.resume_state(one).write_bytes(b"no resume state")
    again = orchestrator.run(small_study(**TWO_TRIALS), store_url, quiet=True)
    assert again.complete
    assert again.trained == 2
    assert len(again.set_aside) == 5
    assert all(path.startswith(str(folder.path).partition("?")[0]) for path in again.set_aside)
    copy = object_store.copy(store_url, tmp_path / "copy")
    assert_equal_results(copy, undisturbed)

    # Nor do the pickles that Tune writes, some in hexadecimal, have credentials.
    secrets = [
        CREDENTIALS[name].encode() for name in ("AWS_SECRET_ACCESS_KEY", "AZURE_STORAGE_KEY")
    ]
    written = [path.read_bytes() for path in copy.rglob("*") if path.is_file()]
    assert any(b"AzureBlobs".hex().encode() in each for each in written) == (
        object_store.scheme == "az"
    )
    for secret in secrets:
        assert not any(secret in each or secret.hex().encode() in each for each in written)


@pytest.mark.full
def test_killed_trials_and_measurers_change_no_table(
    local_ray, object_store, store_url, small_study, tmp_path
):
    model = {"name": f"{FAULTY}:KillsOnce", "marker": str(tmp_path / "trial"), "calls": 25}
    measures = ["margin", {f"{FAULTY}:kills_once": {"marker": str(tmp_path / "measurer")}}]
    study = small_study(**{**TWO_TRIALS, "seeds": 1, "model": model, "measures": measures})
    assert orchestrator.run(study, store_url, quiet=True).complete
    assert (tmp_path / "trial").exists()
    assert (tmp_path / "measurer").exists()
    # Now nothing is killed any more.
    run_in_process(study, tmp_path / "undisturbed")
    assert_equal_results(object_store.copy(store_url, tmp_path / "copy"), tmp_path / "undisturbed")


def test_a_lost_store_ends_the_run_soon_with_one_sentence(
    local_ray, small_study, tmp_path, monkeypatch, paced
):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(object_stores, "PATIENT_ATTEMPTS", 4)  # The driver gives up after seconds.
    # These workers were started before the variable of ``paced`` was set.
    study = small_study(**{**LONGER, "model": {**LONGER["model"], "pace": str(paced)}})
    store = ObjectStore()
    url = store.new()

    def lose():
        while not records(url):
            time.sleep(0.05)
        store.stop()

    threading.Thread(target=lose, daemon=True).start()
    with pytest.raises(StorageError, match="object store error: cannot be reached"):
        orchestrator.run(study, url, quiet=True)
    assert store.process.poll() is not None


@pytest.mark.full  # It waits for a minute: what waits is tried in tests/results/test_lease.py.
def test_a_killed_run_is_resumed_and_an_active_one_left_alone(
    object_store, store_url, small_study, tmp_path
):
    go_on = tmp_path / "go on"
    model = {"name": f"{FAULTY}:Hangs", "unless": str(go_on), "calls": 25}
    study = small_study(**{**TWO_TRIALS, "model": model})
    killed = start(study, store_url, cwd=tmp_path)
    wait_until(lambda: records(store_url), killed)
    with pytest.raises(ResultsError, match=f"in use by process {killed.pid} on "):
        orchestrator.run(study, store_url, quiet=True)
    os.kill(killed.pid, signal.SIGKILL)
    killed.communicate()

    go_on.touch()
    output = finish(start(study, store_url, cwd=tmp_path))
    assert "waiting at most 60 s" in output
    assert "2 of 2 trials completed" in output
    undisturbed = tmp_path / "undisturbed"
    run_in_process(study, undisturbed)
    assert_equal_results(object_store.copy(store_url, tmp_path / "copy"), undisturbed)
