"""Keeps what user code does to its process from everything else that runs there.

Networks, losses, optimizers and measures of the user's own share processes: a process trains one
trial after another, measures snapshots of many, and a measure follows another on the same
network. Each of them must start from the same process and find the same numbers, whatever ran
before it. There are four kinds of changes:

* random numbers: everyone starts from seeds of its own, so nothing is to be reset or reported;
* settings (:mod:`process_settings`): reset. A measure that changes one that can change a number
  has its rows refused; a harmless one (warnings, environment, working folder …) is reset silently,
  as importing an ordinary library changes those;
* functions of torch and numpy that were replaced (:mod:`patched_functions`): put back;
* what nothing can reset: threads and child processes that still run, inference mode that was never
  left, the number of inter-operation threads, the rounding of threads that were started meanwhile.

What cannot be reset, or could not be repeated, *lasts*: the process may not be used for anything
else. Replaced functions last although they are put back: the module that replaced them as it was
imported is not imported a second time, so that its next user would lack them. The same is true of
any setting that changed while modules were being imported.
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
_GRACE_SECONDS = 0.2  # Until a thread or process that is ending has ended.


@dataclass(frozen=True)
class Change:
    """One thing about the process that is not as it was.

    Attributes:
        what: What changed, with both values where these are short.
        harmless: Whether it leaves every number as it is.
        lasts: Whether the process cannot be used any more for anything else.
    """

    what: str
    harmless: bool = False
    lasts: bool = False


class ProcessState:
    """The settings, functions and threads of this process as they are when this is created.

    Args:
        functions: Whether to look at the functions of torch and numpy too, which takes some
            milliseconds.
    """

    def __init__(self, *, functions: bool = True) -> None:
        self._values = {setting.name: setting.read() for setting in _SETTINGS}
        self._functions = Functions() if functions else None
        self._threads = set(threading.enumerate())
        self._children = running_children()
        self._packages = _packages()

    def imported(self) -> None:
        """Note that the modules that are needed were imported; others may come only later."""
        self._packages = _packages()

    def restore(self) -> list[Change]:
        """Reset everything that changed since.

        Returns:
            What had changed.
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
            Change(f"a thread that still runs ({thread.name})", harmless=True, lasts=True)
            for thread in self._new_threads()
        ]
        changes += [
            Change(f"a child process that still runs ({pid})", harmless=True, lasts=True)
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
            # Threads of libraries in C++ that once called Python.
            if thread not in self._threads and not isinstance(thread, threading._DummyThread)
        ]
        for thread in new:
            if thread is not threading.current_thread():
                thread.join(max(0.0, deadline - time.monotonic()))
        return [thread for thread in new if thread.is_alive()]


@contextmanager
def left_as_found(*, functions: bool = True) -> Iterator[None]:
    """Reset at the end of the block what user code in it does to this process.

    Args:
        functions: Whether to put back functions of torch and numpy too. Not where modules are
            imported that are used later on: they may need what they replaced.
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
    """Why this process may not be used for anything else; None if it may."""
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
