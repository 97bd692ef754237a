"""Whether what waits finds room, against all ways in which measurers may lie on nodes."""

from itertools import product

import pytest
import ray
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.cluster.trials import free_nodes as room
from orchestrator.cluster.trials.free_nodes import measurers_beside, nodes_that_can_hold

NOWHERE = frozenset()


def cluster_of(patched, *nodes, most=None):
    """Pretend that Ray has nodes called a, b, c …, and may get as much as ``most``."""
    listed = [
        {"NodeID": chr(ord("a") + number), "Alive": True, "Resources": node}
        for number, node in enumerate(nodes)
    ]
    now = {kind: sum(node.get(kind, 0.0) for node in nodes) for node in nodes for kind in node}
    patched.setattr(ray, "nodes", lambda: listed)
    patched.setattr(ray, "cluster_resources", lambda: now)
    patched.setattr(room, "capacity", lambda: now | (most or {}))
    return listed


def test_on_one_node_measurers_get_what_the_largest_trial_leaves(monkeypatch):
    cluster_of(monkeypatch, {"CPU": 4.0, "GPU": 1.0, "measure": 3.0})

    def fitting(measurer, *trials):
        return measurers_beside([(trial, NOWHERE) for trial in trials], measurer)

    assert fitting({"CPU": 1.0}, {"CPU": 1.0}) == 3
    assert fitting({"CPU": 1.0}, {"CPU": 1.0}, {"CPU": 3.0}) == 1
    assert fitting({"CPU": 1.0}, {"CPU": 4.0}) == 0
    assert fitting({"CPU": 1.0, "GPU": 0.25}, {"CPU": 1.0, "GPU": 0.5}) == 2
    assert fitting({"CPU": 0.0, "measure": 1.0}, {"CPU": 1.0}) == 3
    assert fitting({"CPU": 0.0, "GPU": 0.0}, {"CPU": 4.0}) == float("inf")
    assert fitting({"CPU": 1.0}) == float("inf")


def test_measurers_leave_room_on_a_node_that_a_trial_may_use(monkeypatch):
    listed = cluster_of(monkeypatch, {"CPU": 2.0}, {"CPU": 2.0})
    one = {"CPU": 1.0}
    assert measurers_beside([(one, NOWHERE)], one) == 3
    assert measurers_beside([(one, NOWHERE), (one, frozenset("a"))], one) == 1
    assert measurers_beside([(one, frozenset("ab"))], one) == 3  # It may run where it died.
    listed[1]["Alive"] = False
    assert measurers_beside([(one, frozenset("a"))], one) == 1


def test_nodes_that_an_autoscaler_may_add_count(monkeypatch):
    cluster_of(monkeypatch, {"CPU": 2.0}, most={"CPU": 8.0})
    one = {"CPU": 1.0}
    assert measurers_beside([(one, frozenset("a"))], one) == 7


def placements(measurers, nodes, each):
    """All ways to have so many measurers on nodes, as numbers of each node."""
    most = [int(cores // each) for cores in nodes]
    return [
        numbers
        for numbers in product(*(range(number + 1) for number in most))
        if sum(numbers) == measurers
    ]


@given(
    nodes=st.lists(st.integers(1, 4), min_size=1, max_size=3),
    trial=st.integers(1, 4),
    each=st.integers(1, 3),
    away=st.sets(st.integers(0, 2)),
)
def test_the_number_of_measurers_is_the_largest_that_never_blocks_a_trial(nodes, trial, each, away):
    with pytest.MonkeyPatch.context() as patched:
        cluster_of(patched, *({"CPU": float(cores)} for cores in nodes))
        kept_away = frozenset(chr(ord("a") + number) for number in away)
        found = measurers_beside([({"CPU": trial}, kept_away)], {"CPU": each})
        may_hold = len(nodes_that_can_hold({"CPU": trial}, kept_away))
    open_to_it = [cores for number, cores in enumerate(nodes) if not (may_hold and number in away)]
    closed = [cores for number, cores in enumerate(nodes) if may_hold and number in away]

    def fits(numbers):
        left = (cores - each * n for cores, n in zip(open_to_it, numbers, strict=False))
        return any(cores >= trial for cores in left)

    def always_fits(measurers):
        return all(map(fits, placements(measurers, open_to_it + closed, each)))

    if max(open_to_it) < trial:
        assert found == 0
        return
    assert all(map(always_fits, range(int(found) + 1)))
    assert not placements(found + 1, nodes, each) or not always_fits(found + 1)


def test_a_node_without_room_for_a_measurer_is_always_free_for_a_trial(monkeypatch):
    cluster_of(monkeypatch, {"CPU": 1.0}, {"CPU": 2.0}, {"CPU": 1.0})
    assert measurers_beside([({"CPU": 1.0}, frozenset("ab"))], {"CPU": 2.0}) == 1
    assert measurers_beside([({"CPU": 1.0}, frozenset("ac"))], {"CPU": 2.0}) == 0
