"""Claims: the built-in ones, one file each, those stated in a study file, and their verdicts."""

from __future__ import annotations

from orchestrator.registry import import_files

import_files(__name__)  # Each built-in claim registers itself.
