"""Exit code and message of an interrupted command."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

INTERRUPTED = 130
"""Exit code of an interrupted command."""


def this_command() -> str:
    """Return the command that this process executes, to be typed again."""
    return shlex.join(["python", "-m", "orchestrator", *sys.argv[1:]])


@contextmanager
def told_how_to_go_on() -> Iterator[None]:
    """On an interrupt, print the command that resumes the work and exit with code 130."""
    try:
        yield
    except KeyboardInterrupt:
        with suppress(OSError):  # The terminal itself may be gone.
            print(
                f"\ninterrupted; finished work is saved. Resume with:\n  {this_command()}",
                file=sys.stderr,
                flush=True,
            )
        # Everything has stopped. Ray remembers the SIGINT, so a regular exit could still die of
        # it and lose the exit code.
        os._exit(INTERRUPTED)
