"""Starting, joining and leaving Ray, with everything quiet."""

from __future__ import annotations

import logging
import os
import signal
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from types import FrameType

import ray

from orchestrator.cluster.private_ray import PRIVATE, kept_private
from orchestrator.errors import ResourcesError
from orchestrator.study.spec import ResourcesOptions

_QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AIR_NEW_OUTPUT": "0",
    # Tune's own handler lets ``fit`` return as if the study had ended.
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    # Five log files a trial that nothing reads: results go to Parquet.
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}
FEW_CORES = 4


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
def ray_session(address: str | None, resources: ResourcesOptions) -> Iterator[Slots]:
    """Join the cluster at ``address``, or start Ray on this machine; leave it at the end.

    SIGTERM is turned into ``KeyboardInterrupt``, as Ctrl-C is, for as long as the session lasts.
    Where this process is connected to Ray already (a notebook), that connection is used and kept.

    Args:
        address: ``"auto"`` or ``host:port`` of a cluster; None starts Ray here and only here.
        resources: What trials and measurers ask for.

    Yields:
        The slots that this cluster gives.

    Raises:
        ResourcesError: If one trial beside the measurers can never be scheduled, or if there
            is no cluster at ``address``.
    """
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    for name in ("ray", "ray.tune", "ray.data", "ray._private"):
        # What fails is stored as a row and told at the end.
        logging.getLogger(name).setLevel(logging.CRITICAL)
    if ray.is_initialized():
        with _sigterm_interrupts():
            yield slots(ray.cluster_resources(), resources)
        return
    cores = os.cpu_count() or 1
    options = (
        {"address": address} if address else {**PRIVATE, "num_cpus": _local_cpus(resources, cores)}
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Ray's own deprecations are not the user's to mend.
        try:
            with nullcontext() if address else kept_private():
                ray.init(
                    log_to_driver=False,
                    logging_level=logging.ERROR,
                    configure_logging=True,
                    **options,
                )
        except ConnectionError as error:
            raise ResourcesError(
                f"no Ray cluster answers at {address!r}: {error}",
                "start one with `ray up cluster.yaml`, or leave --address out to run here",
            ) from error
        # Ray replaces handlers while it starts, so ours come after it.
        with _sigterm_interrupts():
            try:
                yield slots(ray.cluster_resources(), resources)
            finally:
                ray.shutdown()


def _local_cpus(resources: ResourcesOptions, cores: int) -> int:
    """Cores to declare: those there are, or what one trial and the measurers need at least."""
    measurer = _measurer_cpus(resources, cores)
    least = resources.trial.cpus + measurer * resources.measurer.count
    return max(cores, -int(-least // 1))


def _measurer_cpus(resources: ResourcesOptions, cores: float) -> float:
    if resources.measurer.cpus is not None:
        return resources.measurer.cpus
    return 0.0 if cores < FEW_CORES or resources.measurer.gpus else 1.0


def slots(available: dict[str, float], resources: ResourcesOptions) -> Slots:
    """How many trials and measurers fit into ``available`` resources.

    Args:
        available: Ray's totals, with the keys ``CPU`` and ``GPU``.
        resources: What one trial and one measurer ask for.

    Raises:
        ResourcesError: If not even one trial fits beside the reserved measurers.
    """
    trial, measurer = resources.trial, resources.measurer
    totals = {"CPU": available.get("CPU", 0.0), "GPU": available.get("GPU", 0.0)}
    measurer_cpus = _measurer_cpus(resources, totals["CPU"])
    per_trial = {"CPU": trial.cpus, "GPU": trial.gpus}
    per_measurer = {"CPU": measurer_cpus, "GPU": measurer.gpus}
    fits: list[int] = []
    for kind, total in totals.items():
        left = total - per_measurer[kind] * measurer.count
        if per_trial[kind] > left + 1e-9:
            raise ResourcesError(
                f"resources: one trial ({per_trial[kind]:g} {kind}) beside {measurer.count} "
                f"measurer(s) ({per_measurer[kind]:g} {kind} each) needs more than the "
                f"{total:g} {kind} there are",
                "lower resources.trial or resources.measurer in the study file, "
                f"for example resources: {{trial: {{{kind.lower()}s: {max(left, 0):g}}}}}",
            )
        if per_trial[kind] > 0:
            fits.append(int((left + 1e-9) // per_trial[kind]))
    trials = min(fits, default=max(1, int(totals["CPU"])))
    most = [
        int((totals[kind] + 1e-9) // need) for kind, need in per_measurer.items() if need > 0
    ] or [max(1, int(totals["CPU"]))]
    return Slots(trials, measurer.count, max(measurer.count, min(most)), measurer_cpus)


@contextmanager
def _sigterm_interrupts() -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(signum: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = {
        number: signal.signal(number, interrupt) for number in (signal.SIGTERM, signal.SIGINT)
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
