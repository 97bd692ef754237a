"""Defects of this package: the traceback is saved for a report, and one line is printed."""

from __future__ import annotations

import platform
import sys
import tempfile
import traceback

from orchestrator.errors import named_error
from orchestrator.version import __version__


def defect_text(error: BaseException) -> str:
    """Save the traceback of an unexpected error, and return what the command line prints of it."""
    (*_, last) = traceback.extract_tb(error.__traceback__)
    place = f"{last.filename}:{last.lineno} in {last.name}"
    report = "\n".join(
        [
            f"orchestrator {__version__}, Python {platform.python_version()}",
            platform.platform(),
            f"command: {' '.join(sys.argv[1:2])}",
            "".join(traceback.format_exception(error)),
        ]
    )
    try:
        with tempfile.NamedTemporaryFile(
            "w", prefix="orchestrator-", suffix=".log", delete=False, encoding="utf-8"
        ) as file:
            file.write(report)
    except OSError:  # The disk is full, too.
        return (
            f"error[defect]: a defect of orchestrator; its traceback could not be saved\n{report}"
        )
    lines = [
        f"error[defect]: {named_error(error)}",
        f" --> {place}",
        f"  = help: this is a defect of orchestrator {__version__}, not of your input; "
        "report it with",
        f"          {file.name}",
    ]
    return "\n".join(lines)
