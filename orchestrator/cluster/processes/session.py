"""Starting, joining and leaving Ray, without its output."""

from __future__ import annotations

import json
import logging
import os
import tempfile
import warnings
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import AuthenticationError, RayError, RuntimeEnvSetupError

from orchestrator.cluster.processes.interrupts import interrupts
from orchestrator.cluster.processes.own_code import copy_code, import_own_parts
from orchestrator.cluster.processes.private_ray import (
    PRIVATE,
    kept_private,
    leaving_nothing,
    short_folder,
)
from orchestrator.errors import ImportPathError, ResourcesError, ResultsError, StorageError
from orchestrator.results import ResultsFolder
from orchestrator.study.resource_options import ResourcesOptions, TrialResources
from orchestrator.study.spec import Study
from orchestrator.study.trials import Trial, expand_trials

_QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AIR_NEW_OUTPUT": "0",
    # With Tune's own handler, ``fit`` returns as if the study had ended.
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    # Five log files per trial that are never read: results go to Parquet.
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    # With a search algorithm of one's own, Tune would start one process after the other.
    "TUNE_MAX_PENDING_TRIALS_PG": "1000",
    # Tune's experiment state: rewritten constantly, never restored from.
    "TUNE_GLOBAL_CHECKPOINT_S": "inf",
    "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}
_SILENT: dict[str, Any] = {
    "log_to_driver": False,
    "logging_level": logging.ERROR,
    "configure_logging": True,
}
FEW_CORES = 4
PATIENCE_SECONDS = 10.0
PLENTY = 10_000.0  # Amount of each custom resource on one machine, where it limits nothing.

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Slots:
    """How many processes of each kind can run in parallel.

    Attributes:
        trials: Maximum number of trials in parallel.
        measurers: Number of measurers reserved from the start.
        most_measurers: Maximum number of measurers once no trial is left.
        measurer_cpus: Cores that Ray books per measurer.
    """

    trials: int
    measurers: int
    most_measurers: int
    measurer_cpus: float


@contextmanager
def ray_session(
    address: str | None, study: Study, trials: Collection[Trial], folder: ResultsFolder
) -> Iterator[Slots]:
    """Join the cluster at ``address``, or start Ray on this machine; leave it at the end.

    During the session, SIGTERM and the loss of the terminal raise ``KeyboardInterrupt``, as Ctrl-C
    does. A second signal ends the process immediately. The workers of a cluster receive this
    package and the user's own modules. Before any work starts, one worker checks that it can run
    the study and reach its results. If this process is already connected to Ray (in a notebook),
    that connection is used and left unchanged.

    Args:
        address: ``"auto"`` or ``host:port`` of a cluster; None starts Ray on this machine only.
        study: The study to run, with its resources and the user's own code that it names.
        trials: Trials of the study.
        folder: Results folder.

    Yields:
        Slots of the cluster.

    Raises:
        ResourcesError: If one trial plus the measurers can never be scheduled, no cluster answers
            at ``address``, the cluster requires another token, or Ray does not start.
        ImportPathError: If the workers cannot import what the study names.
        ResultsError: If the workers cannot reach the results.
    """
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    for name in ("ray", "ray.tune", "ray.data", "ray._private"):
        # Failures are stored as rows and reported at the end.
        logging.getLogger(name).setLevel(logging.CRITICAL)
    if ray.is_initialized():
        with interrupts():
            yield slots(ray.cluster_resources(), study.resources, distinct_needs(study, trials))
        return
    needs = distinct_needs(study, trials)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Users cannot fix Ray's own deprecations.
        if address:
            _join(address, study, trials)
        else:
            _start_here(study.resources, needs)
        # Ray replaces signal handlers while it starts, so ours are installed afterwards.
        with interrupts(), leaving_nothing() if not address else nullcontext():
            try:
                found = slots(capacity(), study.resources, needs)
                if address:
                    ask_a_worker(study, folder, found.measurer_cpus)
                yield found
            finally:
                ray.shutdown()


def _start_here(resources: ResourcesOptions, needs: Sequence[TrialResources]) -> None:
    custom = {*resources.measurer.custom, *(name for trial in needs for name in trial.custom)}
    with kept_private():
        try:
            ray.init(
                num_cpus=local_cpus(resources, needs, os.cpu_count() or 1),
                resources=dict.fromkeys(custom, PLENTY),
                **PRIVATE,
                **short_folder(),
                **_SILENT,
            )
        except Exception as error:  # Ray has no specific class for this.
            if "timed out during startup" not in str(error):
                raise
            raise ResourcesError(
                "Ray did not start on this machine within 30 s",
                "the machine is busy or low on memory; try again later",
            ) from error


def _join(address: str, study: Study, trials: Iterable[Trial]) -> None:
    """Connect to a cluster and send it the code, unless the submitted job already includes it."""
    # One attempt, of most of a minute, instead of twenty: too long a wait for a wrong address.
    os.environ.setdefault("RAY_gcs_server_port_wait_time_s", "1")
    job = json.loads(os.environ.get("RAY_JOB_CONFIG_JSON_ENV_VAR", "{}"))
    sent = {"working_dir", "py_modules"} & (job.get("runtime_env") or {}).keys()
    with tempfile.TemporaryDirectory() as folder:
        # Not as py_modules: on a worker, a folder named like this process's working directory
        # would take precedence over them, and its code may be older.
        environment = {} if sent else {"working_dir": folder}
        if not sent:
            copy_code(study, trials, Path(folder))
        try:
            ray.init(address=address, runtime_env=environment, **_SILENT)
        except ConnectionError as error:
            raise ResourcesError(
                f"no Ray cluster answers at {address!r}: {error}",
                "start one with `ray up cluster.yaml`, or omit --address to run on this machine",
            ) from error
        except AuthenticationError as error:
            raise ResourcesError(
                f"the Ray cluster at {address!r} requires its token: {error}",
                "put the cluster's token into ~/.ray/auth_token and set RAY_AUTH_MODE=token",
            ) from error
        except RuntimeEnvSetupError as error:
            raise ImportPathError(
                f"the code cannot be sent to the workers: {error}",
                "move data out of the folders of your modules, or install the modules on the "
                "workers",
            ) from error


def capacity() -> dict[str, float]:
    """Return the cluster's resources by name, including those its autoscaler may add."""
    now = ray.cluster_resources()
    most = ray._private.state.state.get_max_resources_from_cluster_config() or {}
    return {kind: max(now.get(kind, 0.0), most.get(kind, 0)) for kind in now.keys() | most.keys()}


def ask_a_worker(study: Study, folder: ResultsFolder, cpus: float) -> None:
    """Check that one worker can import the parts that the study names and open its results.

    The cluster may first have to add a worker. The check books the resources of a measurer,
    because every command needs measurers and they cost less than trials.

    Args:
        study: The study, with its import paths and resources.
        folder: Results folder.
        cpus: Cores of a measurer.

    Raises:
        ImportPathError: If the worker cannot run the study.
        ResultsError: If the worker cannot reach the results.
    """
    measurer = study.resources.measurer
    # At least a fraction of a core: the head has none to offer, and may have more installed.
    cpus = max(cpus, 0.01)
    ask = _can_run.options(num_cpus=cpus, num_gpus=measurer.gpus, resources=measurer.custom)
    answer = ask.remote(study.model_dump_json(), str(folder.path))
    if not ray.wait([answer], timeout=PATIENCE_SECONDS)[0]:
        logger.warning("waiting for a worker of the cluster")
        while not ray.wait([answer], timeout=1.0)[0]:  # In short steps: Ctrl-C gets through.
            pass
    try:
        ray.get(answer)
    except RayError as error:
        cause = getattr(error, "cause", None) or error
        if isinstance(cause, ResultsError | StorageError):
            raise ResultsError(
                f"a worker of the cluster cannot reach the results: {cause.message}",
                "mount the results folder at the same path on every node, or give every node the "
                "credentials of the object store",
            ) from error
        raise ImportPathError(
            f"a worker of the cluster cannot run this study: {type(cause).__name__}: {cause}",
            "install on the workers everything that is not a module beside the study",
        ) from error


@ray.remote(max_calls=1)  # type: ignore[untyped-decorator]
def _can_run(study: str, folder: str) -> None:
    asked = Study.model_validate_json(study)
    import_own_parts(asked, expand_trials(asked))
    ResultsFolder.open(folder)


def local_cpus(resources: ResourcesOptions, needs: Sequence[TrialResources], cores: int) -> int:
    """Return the cores to declare: all cores, or more if one trial and the measurers need more."""
    largest = max(trial.cpus for trial in needs)
    measurer = _measurer_cpus(resources, max(cores, largest))  # As for the declared cores.
    least = largest + measurer * resources.measurer.count
    return max(cores, -int(-least // 1))


def _measurer_cpus(resources: ResourcesOptions, cores: float) -> float:
    if resources.measurer.cpus is not None:
        return resources.measurer.cpus
    return 0.0 if cores < FEW_CORES or resources.measurer.gpus else 1.0


def distinct_needs(study: Study, trials: Iterable[Trial]) -> list[TrialResources]:
    """Return the distinct resource needs of a study's trials."""
    trial = study.resources.trial
    if not trial.overrides:
        return [trial]
    needs: list[TrialResources] = []
    for one in trials:
        need = study.needs_of(one.config)
        if need not in needs:
            needs.append(need)
    return needs


def slots(
    available: dict[str, float],
    resources: ResourcesOptions,
    needs: Sequence[TrialResources] | None = None,
) -> Slots:
    """Return how many trials and measurers fit into ``available`` resources.

    Args:
        available: Ray's totals: ``CPU``, ``GPU`` and custom resources.
        resources: Resources of one trial and one measurer.
        needs: Distinct resources of trials, if they differ; by default all are equal.

    Raises:
        ResourcesError: If one trial of any kind plus the reserved measurers does not fit.
    """
    measurer = resources.measurer
    cores = available.get("CPU", 0.0)
    measurer_cpus = _measurer_cpus(resources, cores)
    per_measurer = {"CPU": measurer_cpus, "GPU": measurer.gpus, **measurer.custom}
    # The number of the smallest trials that fit: Ray itself delays larger trials.
    trials = max(
        _trials_that_fit(available, trial, per_measurer, measurer.count)
        for trial in needs or [resources.trial]
    )
    most = [
        int((available.get(kind, 0.0) + 1e-9) // need)
        for kind, need in per_measurer.items()
        if need > 0
    ] or [max(1, int(cores))]
    return Slots(trials, measurer.count, max(measurer.count, min(most)), measurer_cpus)


def bundle(trial: TrialResources) -> dict[str, float]:
    """Return the resources of one trial, by Ray's names."""
    return {"CPU": trial.cpus, "GPU": trial.gpus, **trial.custom}


def _trials_that_fit(
    available: dict[str, float],
    trial: TrialResources,
    per_measurer: dict[str, float],
    measurers: int,
) -> int:
    per_trial = bundle(trial)
    fits: list[int] = []
    for kind in {**per_trial, **per_measurer}:
        total, of_trial = available.get(kind, 0.0), per_trial.get(kind, 0.0)
        of_measurer = per_measurer.get(kind, 0.0)
        left = total - of_measurer * measurers
        if of_trial > left + 1e-9:
            example = f"{kind.lower()}s" if kind in ("CPU", "GPU") else f"custom: {{{kind}"
            raise ResourcesError(
                f"resources: one trial ({of_trial:g} {kind}) plus {measurers} "
                f"measurer(s) ({of_measurer:g} {kind} each) exceeds the "
                f"{total:g} {kind} available",
                "lower resources.trial or resources.measurer in the study file, for example "
                f"resources: {{trial: {{{example}: {max(left, 0):g}}}}}"
                + "}"
                * (example.count("{")),
            )
        if of_trial > 0:
            fits.append(int((left + 1e-9) // of_trial))
    return min(fits, default=max(1, int(available.get("CPU", 0.0))))
