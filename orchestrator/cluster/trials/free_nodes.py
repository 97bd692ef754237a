"""Whether what waits finds room on some node, whatever Ray puts where."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import inf

import ray

from orchestrator.cluster.ray.session import capacity

Bundle = Mapping[str, float]
"""What a process books, by Ray's names of resources."""
_ROUNDING = 1e-9


def nodes_that_can_hold(bundle: Bundle, away: Iterable[str] = ()) -> list[Bundle]:
    """All resources of each living node, but those away, that has enough for a process.

    Args:
        bundle: What the process books.
        away: Ids of nodes that it keeps away from.
    """
    away = set(away)
    return [
        node["Resources"]
        for node in ray.nodes()
        if node["Alive"] and node["NodeID"] not in away and _fit(node["Resources"], bundle) >= 1
    ]


def more_nodes_may_come() -> bool:
    """Whether the cluster has an autoscaler that may add to what there is now."""
    now = ray.cluster_resources()
    return any(most > now.get(kind, 0.0) for kind, most in capacity().items())


def measurers_beside(trials: Iterable[tuple[Bundle, frozenset[str]]], measurer: Bundle) -> float:
    """The most measurers that, on whatever nodes they are, leave room for each of some trials.

    Measurers keep what they book between two work items. With one more than this, they could lie so
    that a trial finds no node for as long as they live. Infinite where measurers book nothing, or
    no trial waits.

    Args:
        trials: What each trial books, and the ids of the nodes it keeps away from as long as
            others can hold it; equal ones once.
        measurer: What one measurer books.
    """
    taken = {kind: need for kind, need in measurer.items() if need > 0}
    if not taken:
        return inf
    if more_nodes_may_come():
        return min((_beside(capacity(), trial, taken) for trial, _ in trials), default=inf)
    rooms = []
    for trial, away in trials:
        nodes = nodes_that_can_hold(trial, away) or nodes_that_can_hold(trial)
        # Those that fit beside the trial, and one more that keeps it from this node.
        rooms.append(max(0, sum(_beside(node, trial, taken) + 1 for node in nodes) - 1))
    return min(rooms, default=inf)


def _beside(there: Bundle, trial: Bundle, taken: Bundle) -> int:
    left = {kind: there.get(kind, 0.0) - trial.get(kind, 0.0) for kind in taken}
    return max(0, int(_fit(left, taken)))


def _fit(there: Bundle, bundle: Bundle) -> float:
    """How many times something fits, whole or not; infinitely often what books nothing."""
    return min(
        ((there.get(kind, 0.0) + _ROUNDING) / need for kind, need in bundle.items() if need > 0),
        default=inf,
    )
