"""Restore the network, the data, shared results and the process after each request.

All measures of a snapshot use one network in one process. A change left behind by one measure
would change the values of later ones, so all state is compared after each request and restored:

* **The network**: its weights and buffers (the same tensors with the same bits), training modes,
  ``requires_grad``, hooks, submodules, attributes and classes.
* **The data and shared results** (logits, gradients …). A user's measure gets a copy of the data.
  Shared results that it changed, or computed while the network was changed, are dropped.
* **The process** (:mod:`orchestrator.training.process_guard`).

The kind of change determines the request's rows:

* Random numbers, ``.grad`` and harmless settings (warnings, environment, working folder …) do not
  affect other values and are reset silently. Each request draws from its own stream, seeded by
  the context's seed and the request. A user's measure may therefore draw random numbers, and they
  do not depend on the measures that ran before it.
* Changes that the network makes whenever it is called (counters, caches, a process setting) are
  reset silently, so that each request sees the same network. Weights are an exception: a network
  whose weights change while it is measured has no well-defined value.
* Any other change replaces the rows by one ``error`` row that names the change, because a value
  computed on a network that was not restored cannot be trusted. Other measures are unaffected.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import torch
from torch import Tensor, nn

from orchestrator.measures.context import MeasureContext
from orchestrator.measures.network import in_precision
from orchestrator.measures.network_state import (
    BY_ITSELF,
    GRADIENTS,
    NetworkChange,
    NetworkState,
    same_bits,
)
from orchestrator.measures.shared_results import SharedResults, version
from orchestrator.random_streams import stream_seed
from orchestrator.training.process_guard import ProcessState
from orchestrator.training.process_state import RandomStream

_ALONE_ON = 2  # Examples for the call that detects state the network itself changes.
_SHOWN = 3  # Most names of one kind in a message.
# Attributes of a context that may change while measures run.
_MAY_CHANGE = {"_shared", "_keep_graphs"}


class Unchanged:
    """Detects and undoes changes to one context over several requests.

    Args:
        context: The snapshot.
        own: Whether the requests include the user's own measures.
    """

    def __init__(self, context: MeasureContext, *, own: bool) -> None:
        self._context = context
        modules = {"": context.model}
        if isinstance(context.loss, nn.Module):
            modules["loss"] = context.loss
        self._network = NetworkState(modules)
        self._attributes = {
            key: (value, dict(value) if isinstance(value, dict) else None)
            for key, value in vars(context).items()
            if key not in _MAY_CHANGE
        }
        self._shared = SharedResults(context._shared, lambda: not _counted(self._network.changes()))
        self._pairs = context.data.pairs
        self._own_data = own
        self._alone: set[str] | None = None

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Install watched shared results and copies of the data for the block."""
        context, found = self._context, self._context._shared
        context._shared = self._shared
        try:
            self._hand_out_data()
            yield
        finally:
            found.clear()
            found.update(self._shared)
            context._shared, context.data.pairs = found, self._pairs

    def begin(self, *, own: bool) -> None:
        """Record the state before a request.

        Args:
            own: Whether the measure is the user's own.
        """
        self._process = ProcessState(functions=own)
        self._shared.watch(closely=own)
        self._versions = [version(tensor) for tensor in self._tensors()]
        self._own = own

    def end(self) -> str | None:
        """Restore what the request changed.

        Returns:
            The changes, for the error row; None if the request's rows can be trusted.
        """
        settings = {change.what for change in self._process.restore() if not change.harmless}
        found = self._network.changes()
        if found:
            self._network.restore()
        counted = _counted(found)
        kinds: dict[str, list[str]] = {}
        for change in counted:
            kinds.setdefault(change.kind, []).append(change.name)
        shared = self._shared.forget_changed()
        data_changed = self._data_changed()
        if data_changed:
            self._hand_out_data()
        if settings or (kinds.keys() & BY_ITSELF):
            alone = self._changed_by_the_network_alone()
            settings -= alone
            kinds = {
                kind: kept
                for kind, names in kinds.items()
                if (kept := [n for n in names if kind not in BY_ITSELF or n not in alone])
            }
        if kinds:
            self._shared.clear()  # Cached graphs refer to the changed weights.
        what = [f"the network's {kind} ({_some(names)})" for kind, names in sorted(kinds.items())]
        what += ["the data"] if data_changed else []
        what += [f"shared results ({_some([_name(key) for key in shared])})"] if shared else []
        what += [f"the process: {_some(sorted(settings))}"] if settings else []
        what += [f"the context's {_some(names)}"] if (names := self._restore_attributes()) else []
        return "; ".join(what) or None

    def _hand_out_data(self) -> None:
        if self._own_data:
            self._context.data.pairs = {
                split: (x.clone(), y.clone()) for split, (x, y) in self._pairs.items()
            }

    def _tensors(self) -> list[Tensor]:
        handed_out = [tensor for pair in self._context.data.pairs.values() for tensor in pair]
        return handed_out + list((self._context.initial_state or {}).values())

    def _data_changed(self) -> bool:
        if [version(tensor) for tensor in self._tensors()] != self._versions:
            return True
        if not self._own:
            return False
        return any(
            not same_bits(x, kept_x) or not same_bits(y, kept_y)
            for (x, y), (kept_x, kept_y) in zip(
                self._context.data.pairs.values(), self._pairs.values(), strict=True
            )
        )

    def _restore_attributes(self) -> list[str]:
        changed = []
        now = vars(self._context)
        for key, (value, content) in self._attributes.items():
            if now.get(key) is value and (content is None or content == value):
                continue
            changed.append(key)
            now[key] = value
            if content is not None:
                value.clear()
                value.update(content)
        return changed

    def _changed_by_the_network_alone(self) -> set[str]:
        """Return what any call of the network and its loss changes; computed at most once."""
        if self._alone is None:
            numbers = RandomStream(self._context.device)
            numbers.seed(stream_seed(0, "alone"))
            process = ProcessState(functions=False)
            inputs, labels = self._context.data("train")
            inputs = in_precision(inputs[:_ALONE_ON], self._context.dtype)
            moved = {name: p.detach().clone() for name, p in self._context.parameters.items()}
            # Errors are ignored: the measures report them in their rows.
            with numbers.borrowed(), suppress(Exception):
                with torch.no_grad():
                    self._context.model(inputs)
                    self._context.forward(inputs, moved)  # as measures do: LSTMs cache weights
                loss = self._context.loss.per_example(
                    self._context.model(inputs), labels[:_ALONE_ON]
                )
                torch.autograd.grad(
                    loss.sum(), list(self._context.parameters.values()), allow_unused=True
                )
            self._alone = {change.what for change in process.restore()}
            self._alone |= {change.name for change in self._network.changes()}
            self._network.restore()
        return self._alone


def _counted(changes: list[NetworkChange]) -> list[NetworkChange]:
    return [change for change in changes if change.kind != GRADIENTS]


def _some(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


def _name(key: Any) -> str:
    return " ".join(map(str, key)) if isinstance(key, tuple) else str(key)
