"""What is shown: the only room that knows Altair.

Importing this room puts it in the place of the function ``orchestrator.report``, as Python does
with every module of a package. So that the function is not lost, the room can be called like it.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

from orchestrator.report.comparison import write_comparison as write_comparison
from orchestrator.report.evidence import check_claims as check_claims
from orchestrator.report.report import write_report as write_report
from orchestrator.results import Location


class _Room(ModuleType):
    def __call__(
        self,
        results: str | Location | Sequence[str | Location],
        output: str | Path | None = None,
        *,
        everything: bool = False,
    ) -> Location:
        """As :func:`orchestrator.report`."""
        if isinstance(results, str | Location):
            return write_report(results, output, everything=everything)
        return write_comparison(results, output)


sys.modules[__name__].__class__ = _Room
