"""Ctrl-C and its kin: the first ends a run in order, the second at once."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

INTERRUPTED = 130
_SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP")  # The last: the terminal is gone.


@contextmanager
def interrupts() -> Iterator[None]:
    """Turn a signal that asks this process to end into ``KeyboardInterrupt``, within the block.

    A second one ends the process at once, with exit code 130: what is written has its name only
    once it is whole, so that nothing is lost but what was in work. A signal that is ignored when
    this begins (``nohup``) stays ignored.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    asked = False

    def interrupt(signum: int, frame: FrameType | None) -> None:
        nonlocal asked
        if asked and signum == getattr(signal, "SIGHUP", None):
            return  # It comes from the shell and again from the kernel.
        if asked:
            os._exit(INTERRUPTED)
        asked = True
        raise KeyboardInterrupt

    before = {
        number: signal.getsignal(number)
        for number in (getattr(signal, name, None) for name in _SIGNALS)
        if number is not None
    }
    for number, handler in before.items():
        if handler is not signal.SIG_IGN:
            signal.signal(number, interrupt)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
