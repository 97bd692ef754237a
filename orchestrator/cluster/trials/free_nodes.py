"""Checks whether waiting processes fit on some node, wherever Ray places other processes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import inf

import ray

from orchestrator.cluster.processes.session import capacity

Bundle = Mapping[str, float]
"""Resources that a process books, by Ray's names."""
_ROUNDING = 1e-9


def nodes_that_can_hold(bundle: Bundle, away: Iterable[str] = ()) -> list[Bundle]:
    """Return the total resources of each living node that is large enough for a process.

    Args:
        bundle: Resources that the process books.
        away: Ids of nodes that it avoids; these are left out.
    """
    away = set(away)
    return [
        node["Resources"]
        for node in ray.nodes()
        if node["Alive"] and node["NodeID"] not in away and _fit(node["Resources"], bundle) >= 1
    ]


def more_nodes_may_come() -> bool:
    """Return whether the cluster has an autoscaler that may add resources."""
    now = ray.cluster_resources()
    return any(most > now.get(kind, 0.0) for kind, most in capacity().items())


def measurers_beside(trials: Iterable[tuple[Bundle, frozenset[str]]], measurer: Bundle) -> float:
    """Return the maximum number of measurers that leave room for each trial on any placement.

    Measurers keep their resources between work items. One more measurer than this could be placed
    such that a trial finds no node as long as the measurers live, or fits on no node itself. The
    number is infinite if measurers book nothing or no trial waits.

    Args:
        trials: Resources that each trial books, and ids of the nodes that it avoids as long as
            other nodes are large enough; equal entries once.
        measurer: Resources that one measurer books.
    """
    taken = {kind: need for kind, need in measurer.items() if need > 0}
    if not taken:
        return inf
    if more_nodes_may_come():
        return min((_beside(capacity(), trial, taken) for trial, _ in trials), default=inf)
    rooms = []
    for trial, away in trials:
        nodes = nodes_that_can_hold(trial, away) or nodes_that_can_hold(trial)
        rooms.append(max(0, sum(_blocking(node, trial, taken) for node in nodes) - 1))
    placeable = sum(int(_fit(node, taken)) for node in nodes_that_can_hold(taken))
    return min(placeable, *rooms) if rooms else inf


def _blocking(node: Bundle, trial: Bundle, taken: Bundle) -> float:
    """Return how many measurers keep a trial from a node; infinite if so many do not fit."""
    enough = _beside(node, trial, taken) + 1
    return enough if _fit(node, taken) >= enough else inf


def _beside(there: Bundle, trial: Bundle, taken: Bundle) -> int:
    left = {kind: there.get(kind, 0.0) - trial.get(kind, 0.0) for kind in taken}
    return max(0, int(_fit(left, taken)))


def _fit(there: Bundle, bundle: Bundle) -> float:
    """Return how many times ``bundle`` fits, as a fraction; infinite if it books nothing."""
    return min(
        ((there.get(kind, 0.0) + _ROUNDING) / need for kind, need in bundle.items() if need > 0),
        default=inf,
    )
