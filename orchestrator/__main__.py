"""``python -m orchestrator``: the command line, with every user's error on one line."""

from __future__ import annotations

import os
import sys

from orchestrator.errors import OrchestratorError
from orchestrator.interrupted import INTERRUPTED
from orchestrator.terminal import printable


def main() -> None:
    """Run the command line and exit with its code (see the README for what each means)."""
    try:
        from orchestrator.cli import app

        app(standalone_mode=True)
    except OrchestratorError as error:
        print(f"error: {printable(str(error))}", file=sys.stderr)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        _say_interrupted()
        sys.exit(INTERRUPTED)
    except SystemExit as stop:  # Typer makes that of an interruption, and says nothing.
        if stop.code == INTERRUPTED:
            _say_interrupted()
        raise
    except BrokenPipeError:  # ``orchestrator query … | head`` is no mistake.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)


def _say_interrupted() -> None:
    print("interrupted", file=sys.stderr)


if __name__ == "__main__":
    main()
