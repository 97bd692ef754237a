"""The trust checks of a study: run by measurers once per network shape, and stored."""

from __future__ import annotations

import hashlib
import json
import logging
import socket
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any

import ray
from ray.exceptions import RayError, RayTaskError

from orchestrator.cluster.processes.shared_data import SharedData
from orchestrator.cluster.work_items import Checked, Refusal
from orchestrator.errors import ModelError, StorageError
from orchestrator.measures.build import required_checks
from orchestrator.measures.trust.checks import network_findings, refuse_spoiled
from orchestrator.measures.trust.finding import CHECKS, SPOILS_TRAINING, Finding, Findings
from orchestrator.results import ResultsFolder, connect, damaged_files, write_part
from orchestrator.study.shapes import measuring_shape
from orchestrator.study.spec import Study, TrialConfig
from orchestrator.version import __version__

WAIT_SECONDS = 1.0

logger = logging.getLogger(__name__)


class ShapeChecks:
    """The findings for each network shape, in one process.

    Args:
        folder: Results folder, where findings are stored.
        study: The study.
        data: Data sets of the study.
        device: Device of this process.
    """

    def __init__(self, folder: ResultsFolder, study: Study, data: SharedData, device: str) -> None:
        self._folder, self._study, self._data, self._device = folder, study, data, device
        self._known: dict[str, Findings] = {}

    def of(self, config: TrialConfig, unchecked: str | None = None) -> Findings:
        """Return the findings for a trial's shape, or none if the study turns the checks off.

        Args:
            config: Configuration of the trial.
            unchecked: Reason to skip the checks of this shape, if any.
        """
        if not self._study.measuring.trust_checks:
            return {}
        shape = measuring_shape(config)
        if shape not in self._known:
            self._known[shape] = self._findings(config, unchecked)
            _store(self._folder, self._study, config, self._known[shape], self._device)
        return self._known[shape]

    def _findings(self, config: TrialConfig, unchecked: str | None) -> Findings:
        required = required_checks(self._study.all_measures)
        if unchecked is not None:
            return _undecided(required, unchecked)
        dataset = self._data.load(config.data, self._device)
        return network_findings(config, dataset, self._study.measuring, required, self._device)

    def refusal(self, config: TrialConfig) -> Refusal | None:
        """Return the error that refuses to train networks of this shape, if any."""
        try:
            refuse_spoiled(config, self.of(config))
        except ModelError as error:
            return error.message, error.hint
        return None


@dataclass(frozen=True)
class _Check:
    """A check in progress on a measurer."""

    measurer: Any
    shape: str
    since: float


def check_shapes(
    measurers: Sequence[Any],
    replaced: Callable[[Any], Any],
    trained: Iterable[TrialConfig],
    measured: Iterable[TrialConfig],
    timeout: float,
) -> dict[str, str]:
    """Check network shapes on measurers, one shape at a time per measurer.

    A measurer that dies, takes too long or is spoilt by a network is replaced, and its replacement
    checks the remaining shapes. The network is not refused for this, because its trials and
    measures get rows of their own.

    Args:
        measurers: Actors with a method ``check``, ready.
        replaced: Ends a measurer and returns a new one, ready.
        trained: Configurations of trials to train.
        measured: Configurations of earlier trials with snapshots to measure.
        timeout: Seconds allowed per shape.

    Returns:
        Shape → reason why it could not be checked.

    Raises:
        ModelError: If a network to be trained cannot be trained, or its results could not be
            trusted.
    """
    of_trained = {measuring_shape(config): config for config in trained}
    of_measured = {measuring_shape(config): config for config in measured}
    waiting = deque((of_measured | of_trained).items())
    idle, asked = list(measurers), dict[Any, _Check]()
    unchecked: dict[str, str] = {}
    while waiting or asked:
        while waiting and idle:
            shape, config = waiting.popleft()
            measurer = idle.pop()
            reference = measurer.check.remote(config)
            asked[reference] = _Check(measurer, shape, time.monotonic())
        # In short steps, so that Ctrl-C gets through.
        ray.wait(list(asked), timeout=WAIT_SECONDS)
        for reference, check in list(asked.items()):
            if ray.wait([reference], timeout=0)[0]:
                checked = _result(reference)
            elif time.monotonic() - check.since > timeout:
                checked = Checked(unmade=f"the checks took longer than {timeout:g} s")
            else:
                continue
            del asked[reference]
            if checked.unmade is not None:
                logger.warning("could not run the trust checks of a network: %s", checked.unmade)
                unchecked[check.shape] = checked.unmade
            if checked.refusal is not None and check.shape in of_trained:
                message, hint = checked.refusal
                raise ModelError(f"{message}; nothing was trained", hint)
            fit = checked.spoilt is None and checked.unmade is None
            idle.append(check.measurer if fit else replaced(check.measurer))
    return unchecked


def _result(reference: Any) -> Checked:
    try:
        checked: Checked = ray.get(reference)
    except RayTaskError as error:  # It will recur where it gets a row.
        if isinstance(error.cause, StorageError):
            raise error.cause from None
        return Checked()
    except RayError:
        return Checked(unmade="the process that ran the checks died")
    return checked


def store_unchecked(
    folder: ResultsFolder,
    study: Study,
    configs: Iterable[TrialConfig],
    unchecked: Mapping[str, str],
) -> None:
    """Store why lost checks could not be rerun, for shapes with nothing else to measure.

    Args:
        folder: Results folder.
        study: The study.
        configs: One configuration per shape whose checks were lost.
        unchecked: Reasons by shape, as returned by :func:`check_shapes`.
    """
    required = required_checks(study.all_measures)
    for config in configs:
        if (reason := unchecked.get(measuring_shape(config))) is not None:
            _store(folder, study, config, _undecided(required, reason), None)


def _undecided(required: Set[str], reason: str) -> Findings:
    return {
        check: Finding(check, "undecided", reason)
        for check in CHECKS
        if check in SPOILS_TRAINING | required
    }


def lost_checks(
    folder: ResultsFolder, study: Study, configs: Iterable[TrialConfig]
) -> list[TrialConfig]:
    """Return one configuration per shape whose checks are not stored.

    Results from releases without checks are left alone. A folder is considered only if it has
    stored checks, or if a damaged part with checks was set aside.

    Args:
        folder: Results folder.
        study: The study.
        configs: Configurations of measured trials.
    """
    if not study.measuring.trust_checks:
        return []
    with connect(folder, measure_columns=False) as database:
        rows = database.execute("SELECT DISTINCT shape FROM trust_checks").fetchall()
    stored = {shape for (shape,) in rows}
    if not stored and not any("-trust_checks-" in path.name for path in damaged_files(folder)):
        return []
    wanted = {_shape_id(study, config): config for config in configs}
    return [config for shape, config in wanted.items() if shape not in stored]


def _shape_id(study: Study, config: TrialConfig) -> str:
    key = [json.loads(measuring_shape(config)), study.measuring.dtype]
    return hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:12]


def _store(
    folder: ResultsFolder,
    study: Study,
    config: TrialConfig,
    findings: Findings,
    device: str | None,
) -> None:
    """Write one part per shape; the newest checks of a shape count."""
    shape = _shape_id(study, config)
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
