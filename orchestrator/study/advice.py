"""Warnings about a valid study: what is probably not meant, or cannot run on this machine."""

from __future__ import annotations

import shutil
from pathlib import Path

from orchestrator.errors import Problem
from orchestrator.study.design import conditions
from orchestrator.study.problems import Source
from orchestrator.study.spec import Study

FEW_CONDITIONS = 6
"""With fewer, a verdict speaks only of the grid itself, and seeds are all that can vary."""
NVIDIA_DRIVER = Path("/proc/driver/nvidia/gpus")


def advice_on(source: Source, study: Study) -> list[Problem]:
    """Return the warnings about a valid study.

    Args:
        source: The study file.
        study: The study in ``source``.
    """
    return [*_missing_gpus(source, study), *_one_seed(source, study)]


def gpus_here(driver: Path = NVIDIA_DRIVER) -> int | None:
    """Return the number of NVIDIA GPUs of this machine; None if it is unknown.

    Args:
        driver: Folder in which the driver lists its GPUs.
    """
    if driver.is_dir():
        return len(list(driver.iterdir()))
    return None if shutil.which("nvidia-smi") else 0


def _missing_gpus(source: Source, study: Study) -> list[Problem]:
    trial, measurer = study.resources.trial, study.resources.measurer
    overrides = [override.gpus or 0 for override in trial.overrides]
    needs = {"trial": max([trial.gpus, *overrides]), "measurer": measurer.gpus}
    here = gpus_here()
    return [
        source.problem(
            ("resources", part),
            f"needs {gpus:g} {'GPU' if gpus == 1 else 'GPUs'}, this machine has {here}",
            "run it on a cluster with --address, or set gpus: 0",
            code="no-gpu",
        )
        for part, gpus in needs.items()
        if here is not None and gpus > here
    ]


def _one_seed(source: Source, study: Study) -> list[Problem]:
    count = conditions(study.model_dump(mode="json"))
    if not study.claims or len(study.seed_list) > 1 or count >= FEW_CONDITIONS:
        return []
    trained = "1 condition" if count == 1 else f"{count} conditions"
    what = f"{trained} with one seed: too few networks to decide a claim"
    hint = f"sweep {FEW_CONDITIONS} conditions or more, or draw them with sweep.random"
    return [source.problem(("seeds",), what, hint, code="one-seed", at_key=True)]
