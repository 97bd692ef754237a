"""Import of every file of a folder, whose figures or claims thereby register themselves."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterable


def import_files(package: str, path: Iterable[str]) -> None:
    """Import all modules of a package; call it as ``import_files(__name__, __path__)``."""
    for file in pkgutil.iter_modules(path, f"{package}."):
        importlib.import_module(file.name)
