"""The code that a study needs besides installed packages: this one, and the user's own modules."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType

import orchestrator
from orchestrator.measures import build_measure
from orchestrator.study.import_path import resolve_import_path
from orchestrator.study.measure_options import CustomMeasure
from orchestrator.study.options import CustomOptions, is_import_path
from orchestrator.study.spec import Study
from orchestrator.study.trials import expand_trials

_INSTALLED = {"site-packages", "dist-packages"}


def import_own_parts(study: Study) -> frozenset[str]:
    """Import whatever the study names of the user's own.

    Returns:
        The import paths and entry points that it names.

    Raises:
        ImportPathError: If one of them cannot be used.
        MeasureError: If a measure of the user's own cannot be built.
    """
    for options in study.measures:
        build_measure(options)
    parts = {
        (part.name, kind)
        for trial in expand_trials(study)
        for part, kind in (
            (trial.config.data, "datasets"),
            (trial.config.model, "models"),
            (trial.config.training.loss, "losses"),
            (trial.config.training.optimizer, "optimizers"),
        )
        if isinstance(part, CustomOptions)
    }
    for name, kind in sorted(parts):
        resolve_import_path(name, kind)
    measures = (options for options in study.measures if isinstance(options, CustomMeasure))
    return frozenset(name for name, _ in parts) | {options.name for options in measures}


def copy_code(study: Study, to: Path) -> None:
    """Copy the code that workers on other machines have to be sent into one folder.

    This package, so that driver and workers run the same code; and every loaded module that
    lies beside one that the study names by import path, so that what those import from beside
    them is there too. What is installed (in ``site-packages``) must be installed on the workers.

    Args:
        study: What is to be run.
        to: An empty folder.

    Raises:
        ImportPathError: If something that the study names cannot be imported here.
    """
    names = {name.partition(":")[0] for name in import_own_parts(study) if is_import_path(name)}
    tops = {name.partition(".")[0] for name in names} - sys.stdlib_module_names
    beside = {path.parent for path in _paths(sys.modules[top] for top in tops)}
    loaded = [module for name, module in list(sys.modules.items()) if "." not in name]
    own = {path for path in _paths(loaded) if path.parent in beside and path.stem != "__main__"}
    for path in own | {Path(orchestrator.__file__).parent}:
        if path.is_dir():
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(path, to / path.name, ignore=ignored, dirs_exist_ok=True)
        else:
            shutil.copy2(path, to)


def _paths(modules: Iterable[ModuleType]) -> set[Path]:
    """Where packages and modules lie that are not installed."""
    found: set[Path] = set()
    for module in modules:
        file = getattr(module, "__file__", None)
        # A package may have no file but several folders, each of which is a part of it.
        places = list(getattr(module, "__path__", ())) or ([file] if file else [])
        found |= {Path(place).resolve() for place in places}
    return {path for path in found if not _INSTALLED & set(path.parts) and path.exists()}
