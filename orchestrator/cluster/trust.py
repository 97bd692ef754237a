"""The trust checks of a study: made by measurers, once for each shape of network, and stored."""

from __future__ import annotations

import hashlib
import json
import logging
import socket
import time
from collections.abc import Iterable, Sequence
from math import ceil
from typing import Any

import ray
from ray.exceptions import RayError

from orchestrator import __version__
from orchestrator.cluster.shared_data import SharedData
from orchestrator.errors import ModelError
from orchestrator.measures.build import required_checks
from orchestrator.measures.trust.checks import network_findings, refuse_spoiled
from orchestrator.measures.trust.finding import SPOILS_TRAINING, Findings
from orchestrator.results import ResultsFolder, write_part
from orchestrator.study.shapes import measuring_shape
from orchestrator.study.spec import Study, TrialConfig
from orchestrator.study.trials import Trial

WAIT_SECONDS = 1.0

logger = logging.getLogger(__name__)

Spoiled = tuple[str, str | None]
"""Message and hint of the error with which a network is refused."""


class ShapeChecks:
    """The findings for each shape of network, in one process.

    Args:
        folder: The results, where they are stored.
        study: The study.
        data: Its data sets.
        device: Where this process computes.
    """

    def __init__(self, folder: ResultsFolder, study: Study, data: SharedData, device: str) -> None:
        self._folder, self._study, self._data, self._device = folder, study, data, device
        self._known: dict[str, Findings] = {}

    def of(self, config: TrialConfig) -> Findings:
        """The findings for a trial's shape; none where the study turns the checks off."""
        if not self._study.measuring.trust_checks:
            return {}
        shape = measuring_shape(config)
        if shape not in self._known:
            self._known[shape] = network_findings(
                config,
                self._data.load(config.data, self._device),
                self._study.measuring,
                required_checks(self._study.measures),
                self._device,
            )
            _store(self._folder, self._study, config, self._known[shape], self._device)
        return self._known[shape]

    def spoiled(self, config: TrialConfig) -> Spoiled | None:
        """Why networks of this shape must not be trained, if so."""
        try:
            refuse_spoiled(config, self.of(config))
        except ModelError as error:
            return error.message, error.hint
        return None


def check_shapes(measurers: Sequence[Any], trials: Iterable[Trial], timeout: float) -> None:
    """Have measurers check each shape of network that is to be trained, before any is.

    A network that kills its measurer or takes too long is not refused: its trials and measures
    have rows of their own.

    Args:
        measurers: Actors with a method ``check``, ready.
        trials: What is to be trained.
        timeout: Seconds for each shape. A measurer that is busy after them is ended.

    Raises:
        ModelError: If a network cannot be trained, or its results could not be believed.
    """
    shapes = {measuring_shape(trial.config): trial for trial in trials}
    asked: dict[Any, Any] = {}
    for number, trial in enumerate(shapes.values()):
        measurer = measurers[number % len(measurers)]
        asked[measurer.check.remote(trial.config.model_dump_json())] = measurer
    deadline = time.monotonic() + timeout * ceil(len(shapes) / len(measurers))
    while asked:
        # In short steps, so that Ctrl-C gets through.
        for reference in ray.wait(list(asked), timeout=WAIT_SECONDS)[0]:
            del asked[reference]
            try:
                spoiled: Spoiled | None = ray.get(reference)
            except RayError:
                continue
            if spoiled is not None:
                message, hint = spoiled
                raise ModelError(f"{message}; nothing was trained", hint)
        if asked and time.monotonic() > deadline:
            logger.warning("trust checks of a network took longer than %g s", timeout)
            for measurer in set(asked.values()):
                ray.kill(measurer)
            return


def _store(
    folder: ResultsFolder, study: Study, config: TrialConfig, findings: Findings, device: str
) -> None:
    """One part for a shape; the newest checks of a shape count."""
    key = [json.loads(measuring_shape(config)), study.measuring.dtype]
    shape = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:12]
    rows = [
        {
            "shape": shape,
            "data": config.data.name,
            "model": config.model.name,
            "loss": config.training.loss.name,
            "trust_check": finding.check,
            "spoils": "training" if finding.check in SPOILS_TRAINING else "measures",
            "status": finding.status,
            "reason": finding.reason,
            "dtype": study.measuring.dtype,
            "device": device,
            "host": socket.gethostname(),
            "orchestrator_version": __version__,
        }
        for finding in findings.values()
    ]
    write_part(folder, "trust_checks", rows, shape)
