"""Nodes on which trial processes die repeatedly, and how trials avoid them."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Set
from typing import Any

import ray
from ray import tune

from orchestrator.cluster.trials.free_nodes import more_nodes_may_come, nodes_that_can_hold

FAILING_DEATHS = 3
"""Process deaths after which a node counts as failing …"""
FAILING_TRIALS = 2
"""… provided they involve at least this many trials, since a single trial may be the cause."""
NODE_LABEL = "ray.io/node-id"  # Every Ray node has this label.


class FailingNodes:
    """The deaths of trial processes in this run, by node.

    A trial avoids nodes where its own process died, and all trials avoid failing nodes, as long as
    another node is large enough. Exceptions in the user's code are not counted. The dispatcher's
    thread reads this object while the driver's main thread writes it.
    """

    def __init__(self) -> None:
        self._places: dict[str, str] = {}
        self._deaths: dict[str, Counter[str]] = defaultdict(Counter)
        self._kept_away: dict[str, tuple[Mapping[str, float], frozenset[str]]] = {}

    def started(self, trial_id: str, node_id: str) -> None:
        """Record the node on which a trial's process runs."""
        self._places[trial_id] = node_id
        self._kept_away.pop(trial_id, None)

    def died(self, trial_id: str) -> None:
        """Record that a trial's process died on its node."""
        if node_id := self._places.pop(trial_id, None):
            self._deaths[node_id][trial_id] += 1

    @property
    def failing(self) -> dict[str, str]:
        """Description of each node that counts as failing, by node id."""
        return {
            node_id: f"{deaths.total()} processes of {len(deaths)} trials died there"
            for node_id, deaths in list(self._deaths.items())
            if deaths.total() >= FAILING_DEATHS and len(deaths) >= FAILING_TRIALS
        }

    def away(self, trial_id: str) -> frozenset[str]:
        """Return the ids of nodes that a trial avoids as long as others are large enough."""
        failing = self.failing
        return frozenset(
            node_id
            for node_id, deaths in list(self._deaths.items())
            if trial_id in deaths or node_id in failing
        )

    def placement(self, trial_id: str, bundle: Mapping[str, float]) -> tune.PlacementGroupFactory:
        """Return where a trial may run: anywhere except on the nodes that it avoids."""
        away = self.away(trial_id)
        self._kept_away.pop(trial_id, None)
        if not away or not nodes_that_can_hold(bundle, away):
            return tune.PlacementGroupFactory([dict(bundle)])
        self._kept_away[trial_id] = bundle, away
        return tune.PlacementGroupFactory(
            [dict(bundle)],
            bundle_label_selector=[{NODE_LABEL: f"!in({','.join(sorted(away))})"}],
        )

    def stranded(self, trial_ids: Set[str]) -> bool:
        """Return whether any of these trials waits for nodes that no longer exist.

        Its placement was decided while those nodes existed, and Ray waits for them forever.
        """
        waiting = [self._kept_away[id_] for id_ in self._kept_away.keys() & trial_ids]
        return any(not nodes_that_can_hold(*place) for place in waiting) and not (
            more_nodes_may_come()
        )

    def summary(self) -> list[str]:
        """Return descriptions of the failing nodes for people, with host names."""
        if not self.failing:
            return []
        names = {node["NodeID"]: node["NodeManagerHostname"] for node in ray.nodes()}
        return [
            f"{names.get(node_id, 'a lost host')} (node {node_id[:8]}): {what}"
            for node_id, what in self.failing.items()
        ]


def node_of(actor: Any) -> str:
    """Return the id of the node on which an actor runs or ran; empty if unknown to Ray."""
    table = ray._private.state.actors(actor._actor_id.hex())
    return str(table.get("Address", {}).get("NodeID", ""))
