"""Signal handling: the first Ctrl-C, SIGTERM or SIGHUP stops cleanly, the second immediately."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

INTERRUPTED = 130
_SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP")  # SIGHUP: the terminal is gone.


@contextmanager
def interrupts() -> Iterator[None]:
    """Turn a termination signal within the block into ``KeyboardInterrupt``.

    A second signal ends the process immediately, with exit code 130. Files get their names only
    when complete, so only work in progress is lost. A signal that is ignored at the start of the
    block (``nohup``) stays ignored.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    asked = False

    def interrupt(signum: int, frame: FrameType | None) -> None:
        nonlocal asked
        if asked and signum == getattr(signal, "SIGHUP", None):
            return  # Both the shell and the kernel send it.
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
