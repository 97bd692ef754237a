"""Code that a study needs besides installed packages: this package and the user's own modules."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from types import ModuleType

from orchestrator.errors import ImportPathError
from orchestrator.study.import_path import resolve_import_path
from orchestrator.study.measure_options import CustomMeasure
from orchestrator.study.options import CustomOptions, is_import_path
from orchestrator.study.spec import Study, TrialConfig
from orchestrator.study.trials import Trial
from orchestrator.training.process_guard import left_as_found

_PACKAGE = Path(__file__).parents[2]
_INSTALLED = {"site-packages", "dist-packages"}


def import_own_parts(study: Study, trials: Iterable[Trial]) -> frozenset[str]:
    """Import the user's own parts that the study names, and reset this process afterwards.

    Args:
        study: The study.
        trials: Trials of the study.

    Returns:
        Import paths and entry points that the study names.

    Raises:
        ImportPathError: If an import path or entry point cannot be used.
        MeasureError: If a measure of the user's own cannot be built.
    """
    from orchestrator.measures import build_measure  # Processes that train need no measures.

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
    """Return the user's own parts of a trial: import paths or entry points, with their kinds."""
    parts = (
        (config.data, "datasets"),
        (config.model, "models"),
        (config.training.loss, "losses"),
        (config.training.optimizer, "optimizers"),
    )
    return {(part.name, kind) for part, kind in parts if isinstance(part, CustomOptions)}


def import_trial_parts(config: TrialConfig) -> None:
    """Import the parts needed to train a trial, as :func:`import_own_parts` does.

    Failed imports are ignored here; the code that uses the part reports the error.
    """
    with left_as_found(functions=False):
        for name, kind in sorted(own_parts_of(config)):
            if kind != "datasets":  # Only the driver reads data sets.
                with suppress(ImportPathError):
                    resolve_import_path(name, kind)


def copy_code(study: Study, trials: Iterable[Trial], to: Path) -> None:
    """Copy the code that workers on other machines need into one folder.

    The folder gets this package, so that driver and workers run the same code. It also gets every
    loaded module beside a module that the study names by import path, because named modules may
    import their neighbours. Installed packages (in ``site-packages``) must be installed on the
    workers.

    Args:
        study: The study to run.
        trials: Trials of the study.
        to: An empty folder.

    Raises:
        ImportPathError: If a part that the study names cannot be imported here.
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
    """Return the locations of packages and modules that are not installed."""
    found: set[Path] = set()
    for module in modules:
        file = getattr(module, "__file__", None)
        # A package may have several folders instead of a file; each contains part of it.
        places = list(getattr(module, "__path__", ())) or ([file] if file else [])
        found |= {Path(place).resolve() for place in places}
    return {path for path in found if not _INSTALLED & set(path.parts) and path.exists()}
