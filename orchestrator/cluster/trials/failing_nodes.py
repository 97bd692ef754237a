"""Nodes on which processes of trials die again and again, and how trials keep away from them."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Set
from typing import Any

import ray
from ray import tune

from orchestrator.cluster.trials.free_nodes import more_nodes_may_come, nodes_that_can_hold

FAILING_DEATHS = 3
"""Of processes on one node, by which it counts as failing …"""
FAILING_TRIALS = 2
"""… if they trained at least so many trials: a trial may be to blame by itself."""
NODE_LABEL = "ray.io/node-id"  # Every node of Ray has it.


class FailingNodes:
    """Where the processes of trials died in this run.

    A trial is not placed again where its process died, and no trial where those of several did,
    as long as another node can hold it. Exceptions of the user's code are not counted. Read by the
    dispatcher's thread while the driver's own writes.
    """

    def __init__(self) -> None:
        self._places: dict[str, str] = {}
        self._deaths: dict[str, Counter[str]] = defaultdict(Counter)
        self._kept_away: dict[str, tuple[Mapping[str, float], frozenset[str]]] = {}

    def started(self, trial_id: str, node_id: str) -> None:
        """Note where a trial's process runs."""
        self._places[trial_id] = node_id
        self._kept_away.pop(trial_id, None)

    def died(self, trial_id: str) -> None:
        """Note that a trial's process died where it ran."""
        if node_id := self._places.pop(trial_id, None):
            self._deaths[node_id][trial_id] += 1

    @property
    def failing(self) -> dict[str, str]:
        """What to tell of each node that counts as failing, by its id."""
        return {
            node_id: f"{deaths.total()} processes of {len(deaths)} trials died there"
            for node_id, deaths in list(self._deaths.items())
            if deaths.total() >= FAILING_DEATHS and len(deaths) >= FAILING_TRIALS
        }

    def away(self, trial_id: str) -> frozenset[str]:
        """Ids of the nodes that a trial has to keep away from as long as others can hold it."""
        failing = self.failing
        return frozenset(
            node_id
            for node_id, deaths in list(self._deaths.items())
            if trial_id in deaths or node_id in failing
        )

    def placement(self, trial_id: str, bundle: Mapping[str, float]) -> tune.PlacementGroupFactory:
        """Where a trial may run: anywhere but on the nodes that it has to keep away from."""
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
        """Whether one of these trials waits for other nodes than there are now.

        Where it may run was decided when there were others; Ray waits for them for ever.
        """
        waiting = [self._kept_away[id_] for id_ in self._kept_away.keys() & trial_ids]
        return any(not nodes_that_can_hold(*place) for place in waiting) and not (
            more_nodes_may_come()
        )

    def summary(self) -> list[str]:
        """The failing nodes for people, by their host names."""
        if not self.failing:
            return []
        names = {node["NodeID"]: node["NodeManagerHostname"] for node in ray.nodes()}
        return [
            f"{names.get(node_id, 'a host that is gone')} (node {node_id[:8]}): {what}"
            for node_id, what in self.failing.items()
        ]


def node_of(actor: Any) -> str:
    """Id of the node on which an actor runs or ran; empty if Ray does not know."""
    table = ray._private.state.actors(actor._actor_id.hex())
    return str(table.get("Address", {}).get("NodeID", ""))
