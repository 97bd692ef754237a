"""What is said when a command is interrupted."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

INTERRUPTED = 130
"""The exit code."""


@contextmanager
def told_how_to_go_on() -> Iterator[None]:
    """Let an interrupted command end with exit code 130 and the command that goes on."""
    try:
        yield
    except KeyboardInterrupt:
        again = shlex.join(["python", "-m", "orchestrator", *sys.argv[1:]])
        with suppress(OSError):  # The terminal may be what was lost.
            print(
                f"\ninterrupted; nothing that was finished is lost. Go on with:\n  {again}",
                file=sys.stderr,
                flush=True,
            )
        # All is stopped. An ordinary exit may end as death by SIGINT, which Ray's part of the
        # process remembers, and the exit code would be lost.
        os._exit(INTERRUPTED)
