"""Nodes on which processes of trials die again and again, and how trials keep away from them."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from typing import Any

import ray
from ray import tune

FAILING_DEATHS = 3
"""Of processes on one node, by which it counts as failing …"""
FAILING_TRIALS = 2
"""… if they trained at least so many trials: a trial may be to blame by itself."""
NODE_LABEL = "ray.io/node-id"  # Every node of Ray has it.


class FailingNodes:
    """Where the processes of trials died in this run.

    A trial is not placed again where its process died, and no trial where those of several did,
    as long as another node can hold it. Exceptions of the user's code are not counted.
    """

    def __init__(self) -> None:
        self._places: dict[str, str] = {}
        self._deaths: dict[str, Counter[str]] = defaultdict(Counter)

    def started(self, trial_id: str, node_id: str) -> None:
        """Note where a trial's process runs."""
        self._places[trial_id] = node_id

    def died(self, trial_id: str) -> None:
        """Note that a trial's process died where it ran."""
        if node_id := self._places.pop(trial_id, None):
            self._deaths[node_id][trial_id] += 1

    @property
    def failing(self) -> dict[str, str]:
        """What to tell of each node that counts as failing, by its id."""
        return {
            node_id: f"{deaths.total()} processes of {len(deaths)} trials died there"
            for node_id, deaths in self._deaths.items()
            if deaths.total() >= FAILING_DEATHS and len(deaths) >= FAILING_TRIALS
        }

    def placement(self, trial_id: str, bundle: Mapping[str, float]) -> tune.PlacementGroupFactory:
        """Where a trial may run: anywhere but on the nodes that it has to keep away from."""
        away = {
            node_id
            for node_id, deaths in self._deaths.items()
            if trial_id in deaths or node_id in self.failing
        }
        if not away or not _others_can_hold(bundle, away):
            return tune.PlacementGroupFactory([dict(bundle)])
        return tune.PlacementGroupFactory(
            [dict(bundle)],
            bundle_label_selector=[{NODE_LABEL: f"!in({','.join(sorted(away))})"}],
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


def _others_can_hold(bundle: Mapping[str, float], away: set[str]) -> bool:
    return any(
        node["Alive"]
        and node["NodeID"] not in away
        and all(node["Resources"].get(kind, 0.0) >= need for kind, need in bundle.items())
        for node in ray.nodes()
    )
