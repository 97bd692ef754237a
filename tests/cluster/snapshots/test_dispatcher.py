"""The dispatcher by itself, with measurers that only pretend to measure."""

import pytest
import ray

from orchestrator.cluster.snapshots import dispatcher as module
from orchestrator.cluster.snapshots.dispatcher import Dispatcher, work_off
from orchestrator.cluster.snapshots.measurer_pool import MeasurerPool
from orchestrator.cluster.work_items import AuditItem, MeasureItem
from orchestrator.errors import ResourcesError, StorageError
from orchestrator.results import ResultsFolder, connect
from tests.cluster.pretended import (
    AuditsAll,
    DiesAsItStarts,
    DiesOnce,
    Idle,
    OnFullDisk,
    Poisoned,
    SpoiltByItsFirst,
)
from tests.results.conftest import study_json

pytestmark = pytest.mark.ray


def is_alive(actor):
    try:
        ray.get(actor.ready.remote())
    except ray.exceptions.RayActorError:
        return False
    return True


def item(name, *requests):
    checkpoint = {"checkpoint_id": name, "trial_id": "t", "step": 1}
    return MeasureItem(checkpoint, 0, "{}", requests or ("margin",))


def dispatch(folder, work_items, new_measurer, timeout=60.0):
    listed = iter([list(work_items)])
    pool = MeasurerPool(new_measurer, most=1)
    dispatcher = Dispatcher(folder, lambda: next(listed, []), pool, reserved=1, timeout=timeout)
    dispatcher.start()
    try:
        assert dispatcher.drain()
    finally:
        pool.end_all()
    return dispatcher


@pytest.mark.slow
def test_both_work_items_of_a_dead_measurer_are_handed_out_again(local_ray, tmp_path, monkeypatch):
    # Ray may name any of the results that are there, whatever the order they were asked in.
    real_wait = ray.wait

    def last_of_those_there(references, *, num_returns=1, timeout=None):
        real_wait(references, num_returns=num_returns, timeout=timeout)
        there, _ = real_wait(references, num_returns=len(references), timeout=0)
        named = there[-num_returns:]
        return named, [reference for reference in references if reference not in named]

    monkeypatch.setattr(module.ray, "wait", last_of_those_there)
    actor = ray.remote(num_cpus=1)(DiesOnce)
    dispatcher = dispatch(
        ResultsFolder(tmp_path),
        [item("a"), item("b")],
        lambda: actor.remote(tmp_path / "killed"),
    )
    assert (tmp_path / "killed").exists()
    assert dispatcher.measured == 2
    assert dispatcher.failures == []


def test_a_spoilt_measurer_is_replaced_without_charging_any_work_item(local_ray, tmp_path, caplog):
    actor = ray.remote(num_cpus=1)(SpoiltByItsFirst)
    work_items = [item("a"), item("b"), item("c")]
    dispatcher = dispatch(ResultsFolder(tmp_path), work_items, actor.remote)
    # Each was measured by a process of its own, once, in its order.
    assert list(map(str, dispatcher.failures)) == ["a: a", "b: b", "c: c"]
    assert dispatcher.measured == 3
    assert "attempt" not in caplog.text


@pytest.mark.parametrize(
    ("culprit", "status", "reason"),
    [
        pytest.param("poison", "error", "its measurer died", marks=pytest.mark.slow),
        pytest.param(
            "endless",
            "timeout",
            "took longer than measuring.timeout (2 s)",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_the_failing_measure_is_isolated_and_the_others_are_measured(
    local_ray, tmp_path, culprit, status, reason
):
    folder = ResultsFolder.create(tmp_path / "small", study_json(), "", {}, "")
    actor = ray.remote(num_cpus=1)(Poisoned)
    log = tmp_path / "log"
    work_items = [item("a", "margin", culprit, "norms"), item("b", "margin")]
    dispatcher = dispatch(folder, work_items, lambda: actor.remote(log), timeout=2.0)

    tried = log.read_text().splitlines()
    # Together once; then alone, twice more and no oftener. What waited behind it is not charged.
    assert tried.count(f"a margin {culprit} norms") == 1
    assert tried.count(f"a {culprit}") == 2
    assert {"a margin", "a norms", "b margin"} <= set(tried)
    assert dispatcher.measured == 2
    (failure,) = dispatcher.failures
    assert str(failure).startswith(f"a: {culprit}: given up after 3 attempts")
    with connect(folder, measure_columns=False) as database:
        rows = database.sql("SELECT request, status, error FROM measures").fetchall()
    assert [row[:2] for row in rows] == [(culprit, status)]
    assert reason in rows[0][2]


def test_measurers_give_way_to_trials_if_the_cluster_shrinks(local_ray, tmp_path):
    """Else, after the loss of a node, they could hold every core there is, and nothing trained."""
    actor, room, begun = ray.remote(num_cpus=0)(Idle), [float("inf")], []

    def new_measurer():
        begun.append(actor.remote())
        return begun[-1]

    dispatcher = Dispatcher(
        ResultsFolder(tmp_path), list, MeasurerPool(new_measurer, most=3), reserved=3, timeout=60.0,
        room=lambda: room[0],
    )  # fmt: skip
    dispatcher.start()
    assert len(begun) == 3
    room[0] = 1
    dead = 0
    while dead < 2:
        dispatcher.wake()
        dead = sum(not is_alive(one) for one in begun)
    dispatcher.drain()
    assert len(begun) == 3


def test_an_error_before_the_first_work_item_leaves_no_measurer(local_ray, tmp_path):
    begun = []

    def new_measurer():
        begun.append(ray.remote(num_cpus=0)(Idle).remote())
        return begun[-1]

    def refuse(measurers):
        raise ResourcesError("refused")

    pool = MeasurerPool(new_measurer, most=1)
    dispatcher = Dispatcher(ResultsFolder(tmp_path), list, pool, reserved=1, timeout=60.0)
    with pytest.raises(ResourcesError, match="refused"):
        dispatcher.start(refuse)
    assert is_alive(begun[0])
    dispatcher.stop()
    while is_alive(begun[0]):  # Until Ray has ended it; without a stop, for ever.
        pass


def test_a_full_disk_is_not_charged_to_any_measure(local_ray, tmp_path):
    actor = ray.remote(num_cpus=1)(OnFullDisk)
    with pytest.raises(StorageError, match="no space"):
        dispatch(ResultsFolder(tmp_path), [item("a")], actor.remote)
    assert not (tmp_path / "measures").exists()


def test_measurers_that_measured_audit_too_and_a_failing_audit_spoils_no_other(local_ray, tmp_path):
    actor, begun = ray.remote(num_cpus=0)(AuditsAll), []

    def new_measurer():
        begun.append(actor.remote())
        return begun[-1]

    pool = MeasurerPool(new_measurer, most=1)
    listed = iter([[item("a")]])
    folder, told = ResultsFolder(tmp_path), []
    dispatcher = Dispatcher(folder, lambda: next(listed, []), pool, reserved=1, timeout=60.0)
    dispatcher.start()
    assert dispatcher.drain()
    audits = [AuditItem({"checkpoint_id": name, "trial_id": "t"}, 0, "{}") for name in "abc"]
    assert work_off(audits[:1], folder, pool, told.append) == []
    assert len(begun) == 1
    # The second fails; its process refuses the third, which another process audits.
    assert work_off(audits[1:], folder, pool, told.append) == ["b: audit: ValueError: damaged"]
    assert len(begun) == 2
    assert told == ["audit 1/1", "audit 1/2", "audit 2/2"]
    pool.end_all()


def test_work_that_is_not_done_in_time_is_given_up_with_its_measurers(local_ray, tmp_path):
    measurer = ray.remote(num_cpus=0)(Idle).remote()
    pool = MeasurerPool(lambda: measurer, most=1)
    audits = [AuditItem({"checkpoint_id": "a", "trial_id": "t"}, 0, "{}")]
    told = []
    assert work_off(audits, ResultsFolder(tmp_path), pool, told.append, until=0.0) == []
    assert told == []
    while is_alive(measurer):  # Until Ray has ended it.
        pass


@pytest.mark.slow
def test_measurers_that_die_as_they_start_end_the_run_after_three_in_a_row(local_ray, tmp_path):
    actor = ray.remote(num_cpus=0)(DiesAsItStarts)
    folder = ResultsFolder(tmp_path)
    assert dispatch(folder, [item("a")], lambda: actor.remote(tmp_path, 2)).measured == 1
    with pytest.raises(ResourcesError, match="3 measurers died as they started"):
        dispatch(folder, [item("a")], lambda: actor.remote(tmp_path, 99))
    assert len(list(tmp_path.iterdir())) == 5
