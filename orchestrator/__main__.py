"""``python -m orchestrator``: the command line; user errors are printed without a traceback."""

from __future__ import annotations

import os
import sys

from orchestrator.errors import OrchestratorError
from orchestrator.interrupted import INTERRUPTED
from orchestrator.terminal import printable


def main() -> None:
    """Run the command line and exit with its code (the README lists the exit codes)."""
    try:
        from orchestrator.cli import app

        app(standalone_mode=True)
    except OrchestratorError as error:
        print(f"error: {printable(str(error))}", file=sys.stderr)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        _say_interrupted()
        sys.exit(INTERRUPTED)
    except SystemExit as stop:  # Typer turns Ctrl-C into a silent SystemExit.
        if stop.code == INTERRUPTED:
            _say_interrupted()
        raise
    except BrokenPipeError:  # ``orchestrator query … | head`` is not an error.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)


def _say_interrupted() -> None:
    print("interrupted", file=sys.stderr)


if __name__ == "__main__":
    main()
