"""``python -m orchestrator``: the command line; user errors are printed without a traceback."""

from __future__ import annotations

import errno
import os
import sys

from orchestrator.errors import OrchestratorError
from orchestrator.interrupted import INTERRUPTED
from orchestrator.terminal import printable, replace_unknown_characters

DEFECT = 70
"""Exit code if this package itself has failed."""
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EIO)


def main() -> None:
    """Run the command line and exit with its code (the README lists the exit codes)."""
    replace_unknown_characters()
    try:
        try:
            from orchestrator.cli import app

            app(standalone_mode=True)
        finally:
            sys.stdout.flush()
    except OrchestratorError as error:
        _say(error.text())
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        _say("interrupted")
        sys.exit(INTERRUPTED)
    except SystemExit as stop:  # Typer turns Ctrl-C into a silent SystemExit.
        if stop.code == INTERRUPTED:
            _say("interrupted")
        raise
    except BrokenPipeError:  # ``orchestrator query … | head`` is not an error.
        _write_no_more()
        sys.exit(0)
    except Exception as error:
        if isinstance(error, OSError) and error.errno in _FULL and error.filename is None:
            _write_no_more()
            _say(f"error[storage]: the output cannot be written: {os.strerror(error.errno)}")
            sys.exit(3)
        from orchestrator.defect import defect_text

        _say(defect_text(error))
        sys.exit(DEFECT)


def _write_no_more() -> None:
    """Keep the interpreter from writing the rest of the output when it exits."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _say(text: str) -> None:
    print(printable(text), file=sys.stderr)


if __name__ == "__main__":
    main()
