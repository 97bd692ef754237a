"""Starting, joining and leaving Ray, with everything quiet."""

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

from orchestrator.cluster.ray.interrupts import interrupts
from orchestrator.cluster.ray.own_code import copy_code, import_own_parts
from orchestrator.cluster.ray.private_ray import (
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
    # Tune's own handler lets ``fit`` return as if the study had ended.
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    # Five log files a trial that nothing reads: results go to Parquet.
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    # Its state of all trials, written again and again: nothing is ever restored from it.
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
PLENTY = 10_000.0  # Of each custom resource on one machine: there they separate nothing.

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Slots:
    """How many processes of each kind fit side by side.

    Attributes:
        trials: Trials that train at the same time.
        measurers: Measurers reserved from the start.
        most_measurers: Measurers there may be once no trial is left.
        measurer_cpus: Cores that Ray books for one measurer.
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

    SIGTERM and the loss of the terminal are turned into ``KeyboardInterrupt``, as Ctrl-C is, for as
    long as the session lasts; a second signal ends the process at once.
    The workers of a cluster are sent this package and the user's own modules, and one of them is
    asked whether it can run the study and reach its results before anything is spent. Where this
    process is connected to Ray already (a notebook), that connection is used and kept as it is.

    Args:
        address: ``"auto"`` or ``host:port`` of a cluster; None starts Ray here and only here.
        study: What is to be run: its resources, and the user's own code that it names.
        trials: Its trials.
        folder: Its results.

    Yields:
        The slots that this cluster gives.

    Raises:
        ResourcesError: If one trial beside the measurers can never be scheduled, or if there
            is no cluster at ``address``, or it wants another token, or Ray does not start.
        ImportPathError: If the workers cannot import what the study names.
        ResultsError: If the workers cannot reach the results.
    """
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    for name in ("ray", "ray.tune", "ray.data", "ray._private"):
        # What fails is stored as a row and told at the end.
        logging.getLogger(name).setLevel(logging.CRITICAL)
    if ray.is_initialized():
        with interrupts():
            yield slots(ray.cluster_resources(), study.resources, distinct_needs(study, trials))
        return
    needs = distinct_needs(study, trials)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Ray's own deprecations are not the user's to mend.
        if address:
            _join(address, study, trials)
        else:
            _start_here(study.resources, needs)
        # Ray replaces handlers while it starts, so ours come after it.
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
        except Exception as error:  # Ray has no class of its own for this.
            if "timed out during startup" not in str(error):
                raise
            raise ResourcesError(
                "Ray did not start on this machine within half a minute",
                "it is busy, or short of memory: run again once it is not",
            ) from error


def _join(address: str, study: Study, trials: Iterable[Trial]) -> None:
    """Connect to a cluster and send it the code, unless whoever submitted this job did so."""
    # One look, of most of a minute, instead of twenty: nobody waits so long for a wrong address.
    os.environ.setdefault("RAY_gcs_server_port_wait_time_s", "1")
    job = json.loads(os.environ.get("RAY_JOB_CONFIG_JSON_ENV_VAR", "{}"))
    sent = {"working_dir", "py_modules"} & (job.get("runtime_env") or {}).keys()
    with tempfile.TemporaryDirectory() as folder:
        # Not as py_modules: those come after whatever the workers have in a folder of the name
        # of this process's working directory, which may be older.
        environment = {} if sent else {"working_dir": folder}
        if not sent:
            copy_code(study, trials, Path(folder))
        try:
            ray.init(address=address, runtime_env=environment, **_SILENT)
        except ConnectionError as error:
            raise ResourcesError(
                f"no Ray cluster answers at {address!r}: {error}",
                "start one with `ray up cluster.yaml`, or leave --address out to run here",
            ) from error
        except AuthenticationError as error:
            raise ResourcesError(
                f"the Ray cluster at {address!r} wants its token: {error}",
                "put the cluster's token into ~/.ray/auth_token and set RAY_AUTH_MODE=token",
            ) from error
        except RuntimeEnvSetupError as error:
            raise ImportPathError(
                f"the code cannot be sent to the workers: {error}",
                "keep data out of the folders of your modules, or install them on the workers",
            ) from error


def capacity() -> dict[str, float]:
    """Resources of the cluster by name: what it has, or what its autoscaler may add up to."""
    now = ray.cluster_resources()
    most = ray._private.state.state.get_max_resources_from_cluster_config() or {}
    return {kind: max(now.get(kind, 0.0), most.get(kind, 0)) for kind in now.keys() | most.keys()}


def ask_a_worker(study: Study, folder: ResultsFolder, cpus: float) -> None:
    """Let one worker import what the study names and open its results.

    A cluster may first have to grow one. It is one that measures: every command needs those, and
    they cost less than those that train.

    Args:
        study: Its import paths and resources.
        folder: The results.
        cpus: Cores of a measurer.

    Raises:
        ResultsError: If the worker cannot reach the results.
    """
    measurer = study.resources.measurer
    # A little of a core at least, for the head has none to give and may have more installed.
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
                "every node must mount their folder at the same path, or have the credentials of "
                "their object store",
            ) from error
        raise ImportPathError(
            f"a worker of the cluster cannot run this study: {type(cause).__name__}: {cause}",
            "what is not a module beside the study must be installed on the workers too",
        ) from error


@ray.remote(max_calls=1)  # type: ignore[untyped-decorator]
def _can_run(study: str, folder: str) -> None:
    asked = Study.model_validate_json(study)
    import_own_parts(asked, expand_trials(asked))
    ResultsFolder.open(folder)


def local_cpus(resources: ResourcesOptions, needs: Sequence[TrialResources], cores: int) -> int:
    """Cores to declare: those there are, or what one trial and the measurers need at least."""
    largest = max(trial.cpus for trial in needs)
    measurer = _measurer_cpus(resources, max(cores, largest))  # As for what is declared.
    least = largest + measurer * resources.measurer.count
    return max(cores, -int(-least // 1))


def _measurer_cpus(resources: ResourcesOptions, cores: float) -> float:
    if resources.measurer.cpus is not None:
        return resources.measurer.cpus
    return 0.0 if cores < FEW_CORES or resources.measurer.gpus else 1.0


def distinct_needs(study: Study, trials: Iterable[Trial]) -> list[TrialResources]:
    """What trials of a study may use, each once."""
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
    """How many trials and measurers fit into ``available`` resources.

    Args:
        available: Ray's totals: ``CPU``, ``GPU`` and custom resources.
        resources: What one trial and one measurer ask for.
        needs: What trials ask for, where they differ; by default all ask for the same.

    Raises:
        ResourcesError: If not even one trial of each kind fits beside the reserved measurers.
    """
    measurer = resources.measurer
    cores = available.get("CPU", 0.0)
    measurer_cpus = _measurer_cpus(resources, cores)
    per_measurer = {"CPU": measurer_cpus, "GPU": measurer.gpus, **measurer.custom}
    # As many as there may be of the smallest: Ray itself holds the larger ones back.
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
    """What one trial asks for, as Ray names it."""
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
                f"resources: one trial ({of_trial:g} {kind}) beside {measurers} "
                f"measurer(s) ({of_measurer:g} {kind} each) needs more than the "
                f"{total:g} {kind} there are",
                "lower resources.trial or resources.measurer in the study file, for example "
                f"resources: {{trial: {{{example}: {max(left, 0):g}}}}}"
                + "}"
                * (example.count("{")),
            )
        if of_trial > 0:
            fits.append(int((left + 1e-9) // of_trial))
    return min(fits, default=max(1, int(available.get("CPU", 0.0))))
