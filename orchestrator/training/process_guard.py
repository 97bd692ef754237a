"""Isolation of user code: its changes to a process must not affect other code that runs there.

The user's own networks, losses, optimizers and measures share processes. A process trains one
trial after another, measures snapshots of many trials, and runs several measures on the same
network. Each of them must start from the same process state and give the same numbers, regardless
of what ran before. User code can make four kinds of changes:

* random numbers: all code starts from its own seeds, so nothing has to be reset or reported;
* settings (:mod:`process_settings`): reset. If a measure changes a setting that can change a
  number, its rows are refused. A harmless setting (warnings, environment, working folder …) is
  reset silently, because importing an ordinary library changes those;
* replaced functions of torch and numpy (:mod:`patched_functions`): put back;
* changes that nothing can reset: threads and child processes that are still running, inference
  mode that was never exited, the number of inter-operation threads, and the rounding mode of
  threads started in between.

A change that cannot be reset, or could not be repeated, *lasts*: the process may not be used for
anything else. Replaced functions last although they are put back. The module that replaced them
on import is not imported a second time, so its next user would lack the replacements. The same is
true of any setting that changed while modules were being imported.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from orchestrator.random_streams import stream_seed
from orchestrator.training.native_settings import running_children
from orchestrator.training.patched_functions import Functions, put_back
from orchestrator.training.process_settings import process_settings
from orchestrator.training.process_state import RandomStream

_SETTINGS = process_settings()
_GRACE_SECONDS = 0.2  # For threads and processes that are ending.


@dataclass(frozen=True)
class Change:
    """One change of the process.

    Attributes:
        what: Description of the change, with both values if they are short.
        harmless: Whether the change affects no number.
        lasts: Whether the process can no longer be used for anything else.
    """

    what: str
    harmless: bool = False
    lasts: bool = False


class ProcessState:
    """The settings, functions and threads of this process at the time of creation.

    Args:
        functions: Whether to include the functions of torch and numpy, which takes a few
            milliseconds.
    """

    def __init__(self, *, functions: bool = True) -> None:
        self._values = {setting.name: setting.read() for setting in _SETTINGS}
        self._functions = Functions() if functions else None
        self._threads = set(threading.enumerate())
        self._children = running_children()
        self._packages = _packages()

    def imported(self) -> None:
        """Note that the required modules are imported; only later ones count as new."""
        self._packages = _packages()

    def restore(self) -> list[Change]:
        """Reset everything that changed since creation.

        Returns:
            The changes.
        """
        changes = []
        imported = bool(_packages() - self._packages)
        for setting in _SETTINGS:
            before, now = self._values[setting.name], setting.read()
            if now == before:
                continue
            if setting.write is not None:
                setting.write(before)
            lasts = setting.read() != before or setting.inherited
            lasts |= imported and not setting.harmless
            what = f"{setting.name}{_from_to(before, now)}"
            changes.append(Change(what, setting.harmless, lasts))
        if self._functions is not None:
            replaced = self._functions.replaced()
            put_back(replaced)
            changes += [Change(f"the function {name}", lasts=True) for name in replaced]
        changes += [
            Change(f"a thread that is still running ({thread.name})", harmless=True, lasts=True)
            for thread in self._new_threads()
        ]
        changes += [
            Change(f"a child process that is still running ({pid})", harmless=True, lasts=True)
            for pid in sorted(self._new_children())
        ]
        return changes

    def _new_children(self) -> frozenset[int]:
        deadline = time.monotonic() + _GRACE_SECONDS
        while (new := running_children() - self._children) and time.monotonic() < deadline:
            time.sleep(_GRACE_SECONDS / 10)
        return new

    def _new_threads(self) -> list[threading.Thread]:
        deadline = time.monotonic() + _GRACE_SECONDS
        new = [
            thread
            for thread in threading.enumerate()
            # Dummy threads belong to C++ libraries that once called Python.
            if thread not in self._threads and not isinstance(thread, threading._DummyThread)
        ]
        for thread in new:
            if thread is not threading.current_thread():
                thread.join(max(0.0, deadline - time.monotonic()))
        return [thread for thread in new if thread.is_alive()]


@contextmanager
def left_as_found(*, functions: bool = True) -> Iterator[None]:
    """Reset at the end of the block all changes that user code in it makes to this process.

    Args:
        functions: Whether to put back functions of torch and numpy too. Pass False if the block
            imports modules that are used later, because they may need their replacements.
    """
    state = ProcessState(functions=functions)
    numbers = RandomStream(torch.device("cpu"))
    numbers.seed(stream_seed(0, "process"))
    with numbers.borrowed():
        try:
            yield
        finally:
            state.restore()


def lasting(changes: list[Change]) -> str | None:
    """Return why this process may not be used for anything else; None if it may."""
    found = [change.what for change in changes if change.lasts]
    return ", ".join(found) or None


def _packages() -> frozenset[str]:
    return frozenset(name for name in list(sys.modules) if "." not in name)


def _from_to(before: Any, now: Any) -> str:
    texts = [str(value) for value in (before, now)]
    if any(
        len(text) > 40 or isinstance(value, dict | list)
        for text, value in zip(texts, (before, now), strict=True)
    ):
        return ""
    return f" (from {texts[0]} to {texts[1]})"
