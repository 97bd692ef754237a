"""The code that a study needs besides installed packages: this one, and the user's own modules."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from types import ModuleType

from orchestrator.errors import ImportPathError
from orchestrator.measures import build_measure
from orchestrator.study.import_path import resolve_import_path
from orchestrator.study.measure_options import CustomMeasure
from orchestrator.study.options import CustomOptions, is_import_path
from orchestrator.study.spec import Study, TrialConfig
from orchestrator.study.trials import Trial
from orchestrator.training.process_guard import left_as_found

_PACKAGE = Path(__file__).parents[2]
_INSTALLED = {"site-packages", "dist-packages"}


def import_own_parts(study: Study, trials: Iterable[Trial]) -> frozenset[str]:
    """Import the user's own parts that the study names. What that does to this process is reset.

    Args:
        study: The study.
        trials: Its trials.

    Returns:
        The import paths and entry points that it names.

    Raises:
        ImportPathError: If one of them cannot be used.
        MeasureError: If a measure of the user's own cannot be built.
    """
    parts: set[tuple[str, str]] = set()
    for trial in trials:
        parts |= own_parts_of(trial.config)
    with left_as_found(functions=False):
        for options in study.all_measures:
            build_measure(options)
        for name, kind in sorted(parts):
            resolve_import_path(name, kind)
    measures = (options for options in study.all_measures if isinstance(options, CustomMeasure))
    return frozenset(name for name, _ in parts) | {options.name for options in measures}


def own_parts_of(config: TrialConfig) -> set[tuple[str, str]]:
    """The user's own parts of one trial: import paths or entry points, and what they are for."""
    parts = (
        (config.data, "datasets"),
        (config.model, "models"),
        (config.training.loss, "losses"),
        (config.training.optimizer, "optimizers"),
    )
    return {(part.name, kind) for part, kind in parts if isinstance(part, CustomOptions)}


def import_trial_parts(config: TrialConfig) -> None:
    """Import what training a trial needs, as :func:`import_own_parts` does.

    What cannot be imported is left for those who use it: they say why.
    """
    with left_as_found(functions=False):
        for name, kind in sorted(own_parts_of(config)):
            if kind != "datasets":  # Only the driver reads those.
                with suppress(ImportPathError):
                    resolve_import_path(name, kind)


def has_own_parts(study: Study, trials: Iterable[Trial]) -> bool:
    """Whether the study names any part of the user's own."""
    return any(isinstance(options, CustomMeasure) for options in study.all_measures) or any(
        own_parts_of(trial.config) for trial in trials
    )


def copy_code(study: Study, trials: Iterable[Trial], to: Path) -> None:
    """Copy the code that workers on other machines have to be sent into one folder.

    This package, so that driver and workers run the same code; and every loaded module that
    lies beside one that the study names by import path, so that what those import from beside
    them is there too. What is installed (in ``site-packages``) must be installed on the workers.

    Args:
        study: What is to be run.
        trials: Its trials.
        to: An empty folder.

    Raises:
        ImportPathError: If something that the study names cannot be imported here.
    """
    names = {
        name.partition(":")[0] for name in import_own_parts(study, trials) if is_import_path(name)
    }
    tops = {name.partition(".")[0] for name in names} - sys.stdlib_module_names
    beside = {path.parent for path in _paths(sys.modules[top] for top in tops)}
    loaded = [module for name, module in list(sys.modules.items()) if "." not in name]
    own = {path for path in _paths(loaded) if path.parent in beside and path.stem != "__main__"}
    for path in own | {_PACKAGE}:
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
