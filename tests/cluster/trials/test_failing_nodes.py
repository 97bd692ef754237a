"""Where processes of trials died, none is placed again as long as another node can hold it."""

import os
import subprocess
import sys
import time

import pytest
import ray

from orchestrator.cluster.trials import free_nodes as room
from orchestrator.cluster.trials.failing_nodes import FailingNodes
from tests.cluster.comparison import rows, tables
from tests.cluster.conftest import JOINS_PRIVATE
from tests.cluster.test_interruption import finish, wait_until
from tests.cluster.test_node_lost import cluster, run  # noqa: F401 - fixtures

FAULTY = "tests.cluster.faulty"
BUNDLE = {"CPU": 1.0}


@pytest.fixture
def nodes(monkeypatch):
    """Three nodes, of which the tests may change what Ray says."""
    found = [
        {"NodeID": id_, "Alive": True, "Resources": {"CPU": 2.0}, "NodeManagerHostname": f"h{id_}"}
        for id_ in "abc"
    ]
    monkeypatch.setattr(ray, "nodes", lambda: found)
    return found


def die(failing, trial_id, node_id):
    failing.started(trial_id, node_id)
    failing.died(trial_id)


def kept_away(failing, trial_id, bundle=BUNDLE):
    asked = failing.placement(trial_id, bundle)._bound.arguments
    (selector,) = asked.get("bundle_label_selector") or [{}]
    return selector.get("ray.io/node-id")


def test_a_trial_avoids_the_nodes_where_its_process_died(nodes):
    failing = FailingNodes()
    assert kept_away(failing, "t") is None
    die(failing, "t", "a")
    die(failing, "t", "b")
    assert kept_away(failing, "t") == "!in(a,b)"
    assert kept_away(failing, "other") is None
    assert failing.summary() == []


def test_a_single_trial_does_not_make_a_node_failing(nodes):
    failing = FailingNodes()
    for _ in range(9):
        die(failing, "t", "a")
    assert failing.summary() == []
    die(failing, "u", "a")
    assert kept_away(failing, "other") == "!in(a)"
    assert failing.summary() == ["ha (node a): 10 processes of 2 trials died there"]


def test_a_trial_may_stay_if_no_other_node_can_hold_it(nodes):
    failing = FailingNodes()
    for node_id in "abc":
        die(failing, "t", node_id)
    assert kept_away(failing, "t") is None
    die(failing, "u", "a")
    assert kept_away(failing, "u") == "!in(a)"
    assert kept_away(failing, "u", {"CPU": 4.0}) is None
    nodes[1]["Alive"] = nodes[2]["Alive"] = False
    assert kept_away(failing, "u") is None


def test_a_trial_is_stranded_once_every_node_it_may_use_is_gone(nodes, monkeypatch):
    now = {"CPU": 6.0}
    monkeypatch.setattr(ray, "cluster_resources", lambda: now)
    monkeypatch.setattr(room, "capacity", lambda: now)
    failing = FailingNodes()
    die(failing, "t", "a")
    kept_away(failing, "t")
    kept_away(failing, "u")
    assert not failing.stranded({"t", "u"})
    nodes[1]["Alive"] = nodes[2]["Alive"] = False
    assert failing.stranded({"t", "u"})
    assert not failing.stranded({"u"})
    monkeypatch.setattr(room, "capacity", lambda: {"CPU": 8.0})
    assert not failing.stranded({"t"})  # Another node may come.
    monkeypatch.setattr(room, "capacity", lambda: now)
    assert kept_away(failing, "t") is None  # Placed anew, it waits for no other node.
    assert not failing.stranded({"t"})


def test_a_trial_that_started_is_not_stranded(nodes):
    failing = FailingNodes()
    die(failing, "t", "a")
    kept_away(failing, "t")
    failing.started("t", "b")
    nodes[1]["Alive"] = nodes[2]["Alive"] = False
    assert not failing.stranded({"t"})


def test_only_deaths_of_started_trials_on_known_nodes_count(nodes):
    failing = FailingNodes()
    failing.died("never started")
    failing.started("t", "")  # Ray does not know where.
    failing.died("t")
    failing.started("t", "a")
    assert kept_away(failing, "t") is None


@pytest.mark.ray
@pytest.mark.slow
def test_trials_leave_a_node_that_kills_them(cluster, run, small_study, tmp_path):  # noqa: F811
    node, log, folder = tmp_path / "node", tmp_path / "log", tmp_path / "results"
    study = small_study(
        model={"name": f"{FAULTY}:DiesOnNode", "node": str(node), "log": str(log)},
        measures=["margin"],
        seeds=4,
        resources={},
        measuring={"trust_checks": False},  # They would train on a node of theirs.
    )
    told = finish(run(study, folder))
    assert "8 of 8 trials completed" in told
    bad, places = node.read_text(), log.read_text().split()
    # Each of the first few once, none of them twice; then nobody goes there.
    attempts = "SELECT max(attempt), sum(attempt - 1) FROM trials"
    assert rows(folder, attempts) == [(2, places.count(bad))]
    assert 1 <= places.count(bad) <= 5, places
    assert set(places) == {node.node_id for node in cluster.nodes}
    assert bad not in places[-4:]
    assert {row["status"] for row in tables(folder)["trials"].values()} == {"'completed'"}
    if places.count(bad) >= 3:
        assert f"(node {bad[:8]})" in told
        assert "failing host, avoided" in told


HOG = """
import sys, threading, ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy as On

@ray.remote(num_cpus=2)
class Hog:
    def ready(self):
        pass

address, node = sys.argv[1:]
ray.init(address=address)
hog = Hog.options(scheduling_strategy=On(node, soft=False)).remote()
ray.get(hog.ready.remote())
print("there", flush=True)
threading.Event().wait()
"""


@pytest.mark.ray
@pytest.mark.full
def test_a_trial_resumes_where_it_died_once_no_other_node_is_left(
    cluster, run, small_study, tmp_path  # noqa: F811
):  # fmt: skip
    there = cluster.nodes[1]
    hog = subprocess.Popen(
        [sys.executable, "-c", HOG, cluster.address, there.node_id],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, **JOINS_PRIVATE},
    )
    try:
        while "there" not in (said := hog.stdout.readline()):
            assert said, "the other node was not occupied"
        marker = tmp_path / "marker"
        study = small_study(
            model={"name": f"{FAULTY}:KillsOnce", "marker": str(marker), "calls": 20},
            measures=["margin"],
            sweep={"training.batch_size": [20]},
            seeds=1,
            resources={"trial": {"cpus": 1}, "measurer": {"cpus": 1, "count": 1}},
        )
        process = run(study, tmp_path / "results")
        wait_until(marker.exists, process)
        time.sleep(10)  # Now it waits for the other node, which is occupied …
        assert process.poll() is None
        cluster.remove_node(there, allow_graceful=False)  # … and is lost.
        assert "1 of 1 trials completed" in finish(process)
    finally:
        hog.kill()
        hog.communicate()
