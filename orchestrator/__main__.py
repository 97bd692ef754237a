"""``python -m orchestrator``: the command line, with every user's error on one line."""

from __future__ import annotations

import os
import sys

from orchestrator.errors import OrchestratorError
from orchestrator.terminal import printable

INTERRUPTED = 130


def main() -> None:
    """Run the command line and exit with its code (see the README for what each means)."""
    from orchestrator.cli import app  # Errors of the import itself must be loud.

    try:
        app(standalone_mode=True)
    except OrchestratorError as error:
        print(f"error: {printable(str(error))}", file=sys.stderr)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(INTERRUPTED)
    except BrokenPipeError:  # ``orchestrator query … | head`` is no mistake.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)


if __name__ == "__main__":
    main()
