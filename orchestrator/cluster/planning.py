"""The plan of a study, with times from a short probe on this machine. Needs no Ray.

What asks for a GPU is probed on one where there is one, and on a core of the CPU otherwise.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import nn

from orchestrator.cluster.audit_backlog import audits_left
from orchestrator.cluster.backlog_reading import read_backlog
from orchestrator.cluster.own_code import import_own_parts, import_trial_parts, own_parts_of
from orchestrator.cluster.worker_process import prepare_process
from orchestrator.data import load_dataset
from orchestrator.data.dataset import Dataset
from orchestrator.measures import CHANGES, MeasureContext, measure_snapshot
from orchestrator.measures.build import build_measure, required_checks
from orchestrator.measures.trust.checks import network_findings, refuse_spoiled
from orchestrator.measures.trust.finding import Findings, objection
from orchestrator.models import build_model
from orchestrator.results import (
    ResultsFolder,
    committed_snapshots,
    refuse_contradictions,
    swept_columns,
)
from orchestrator.study.plan import Plan, make_plan
from orchestrator.study.shapes import measuring_shape, training_shape
from orchestrator.study.spec import CheckpointOptions, Study, TrialConfig
from orchestrator.study.training_options import StopOptions
from orchestrator.study.trials import Trial, expand_trials, hyperparameters
from orchestrator.training import Finished, build_loss, train, update_rule_at
from orchestrator.training.process_guard import left_as_found

PROBE_SECONDS = 30.0


def plan_study(
    study: Study,
    results: str | Path,
    *,
    probe: bool = True,
    price_per_cpu_hour: float | None = None,
    price_per_gpu_hour: float | None = None,
) -> Plan:
    """Count what is left of a study and estimate its time.

    Args:
        study: The study.
        results: Its results folder; need not exist.
        probe: Train and measure for about half a minute, one thread, to estimate the time.
        price_per_cpu_hour: Of one core, in any currency.
        price_per_gpu_hour: Of one GPU.

    Raises:
        UserError: For what ``run`` would refuse: own parts that cannot be imported, data, networks
            that spoil training, or a folder of other results or of trials that contradict it.
    """
    trials = expand_trials(study)
    done: set[str] = set()
    partial: set[str] = set()
    measured = 0
    if probe:
        import_own_parts(study, trials)
    swept = swept_columns([hyperparameters(study, trial) for trial in trials])
    ResultsFolder(results).require_room_for(study.study, swept)
    folder = ResultsFolder.open(results) if ResultsFolder(results).resolved.is_file() else None
    if folder is not None:
        refuse_contradictions(folder, study, trials)
        backlog = read_backlog(folder, study)
        ids = {trial.trial_id for trial in trials}
        done = backlog.completed & ids
        partial = (backlog.attempts.keys() & ids) - done
        wanted = set(study.requests)
        measured = sum(
            wanted <= backlog.measured.get(row["checkpoint_id"], set())
            for row in committed_snapshots(folder, ids)
        )
    conditions = {trial.condition_id: trial for trial in trials}
    datasets: dict[str, Dataset] = {}
    update_seconds: dict[str, float] = {}
    measure_seconds: dict[str, float] = {}
    n_train: dict[str, int] = {}
    snapshot_bytes: dict[str, int] = {}
    costs: dict[tuple[str, str], float] = {}
    checked: dict[str, Findings] = {}
    checking = probe and study.measuring.trust_checks
    required = required_checks(study.measures) if checking else frozenset()
    trains_on = {
        condition: _device(study.needs_of(trial.config).gpus)
        for condition, trial in conditions.items()
    }
    measures_on = _device(study.resources.measurer.gpus)
    sizes: dict[tuple[str, str], int] = {}
    imported: set[tuple[str, str]] = set()
    for condition, trial in conditions.items():
        network = _data_key(trial.config), trial.config.model.model_dump_json()
        own = own_parts_of(trial.config)
        if not own <= imported:
            import_trial_parts(trial.config)
            imported |= own
        if network not in sizes:
            with left_as_found(functions=False):
                sizes[network] = _snapshot_bytes(trial, _dataset(trial.config, datasets))
        dataset = datasets[network[0]]
        n_train[condition] = len(dataset.train_y)
        snapshot_bytes[condition] = sizes[network]
        if probe:
            training = training_shape(trial.config), trains_on[condition]
            measuring = measuring_shape(trial.config), measures_on
            shape = measuring[0]
            if study.measuring.trust_checks and shape not in checked:
                with left_as_found(functions=False):
                    checked[shape] = network_findings(
                        trial.config, dataset, study.measuring, required, measures_on
                    )
                refuse_spoiled(trial.config, checked[shape])
            if training not in costs:
                budget = PROBE_SECONDS / (2 * len(conditions))
                with _one_thread():
                    costs[training] = _update_seconds(trial, dataset, budget, training[1])
            if measuring not in costs:
                with _one_thread():
                    costs[measuring] = _measure_seconds(
                        study, trial, dataset, measures_on, checked.get(shape, {})
                    )
            update_seconds[condition], measure_seconds[condition] = (
                costs[training],
                costs[measuring],
            )
    trial_needs = study.resources.trial
    slots = (os.cpu_count() or 1) // max(trial_needs.cpus, 1)
    if trial_needs.gpus and torch.cuda.is_available():
        slots = min(slots, torch.cuda.device_count() // trial_needs.gpus)
    return make_plan(
        study,
        trials,
        done=done,
        partial=partial,
        measured=measured,
        n_train=n_train,
        snapshot_bytes=snapshot_bytes,
        update_seconds=update_seconds,
        measure_seconds=measure_seconds,
        slots=max(1, int(slots)),
        gpus_probed=probe and "cuda" in {measures_on, *trains_on.values()},
        audits=audits_left(folder, study, trials),
        measurings_per_audit=len(CHANGES) + 1,
        price_per_cpu_hour=price_per_cpu_hour,
        price_per_gpu_hour=price_per_gpu_hour,
        spoiled_measures=tuple(_spoiled_measures(study, conditions, checked)),
    )


def _spoiled_measures(
    study: Study, conditions: Mapping[str, Trial], checked: Mapping[str, Findings]
) -> Iterator[str]:
    """Which requests will have rows ``error`` for which network, and why."""
    configs = {measuring_shape(trial.config): trial.config for trial in conditions.values()}
    for shape, findings in checked.items():
        for request, options in study.requests.items():
            reason = objection(build_measure(options).requires, findings)
            if reason is not None:
                yield f"model {configs[shape].model.name!r}: {request}: {reason}"


def _device(gpus: float) -> str:
    return "cuda" if gpus and torch.cuda.is_available() else "cpu"


def _data_key(config: TrialConfig) -> str:
    return config.data.model_dump_json()


def _dataset(config: TrialConfig, known: dict[str, Dataset]) -> Dataset:
    key = _data_key(config)
    if key not in known:
        known[key] = load_dataset(config.data)
    return known[key]


def _snapshot_bytes(trial: Trial, dataset: Dataset) -> int:
    state = _network(trial, dataset).state_dict(keep_vars=True)
    return sum(tensor.nbytes for tensor in set(state.values()))


def _network(trial: Trial, dataset: Dataset) -> nn.Module:
    options, inputs = trial.config.model, dataset.train_x
    return build_model(options, dataset.input_shape, dataset.classes, trial.seed, inputs.dtype)


@contextmanager
def _one_thread() -> Iterator[None]:
    """As trials and measurers run: one thread, and freed memory is kept. Then all is as before."""
    with left_as_found(functions=False):
        prepare_process(1)
        yield


def _update_seconds(trial: Trial, dataset: Dataset, budget: float, device: str) -> float:
    if device != "cpu":
        _train(trial, dataset, StopOptions(updates=1), device)  # A GPU's first touch takes seconds.
    stop = StopOptions(seconds=max(0.2, budget), epochs=10**6)
    started = time.perf_counter()
    updates = _train(trial, dataset, stop, device)
    return (time.perf_counter() - started) / updates


def _train(trial: Trial, dataset: Dataset, stop: StopOptions, device: str) -> int:
    """Train until then, and tell the updates."""
    training = trial.config.training.model_copy(update={"stop": stop})
    config = trial.config.model_copy(update={"training": training})
    updates = 1
    for event in train(config, trial.seed, dataset, CheckpointOptions(), device=device):
        if isinstance(event, Finished):
            updates = max(1, event.updates)
    return updates


def _measure_seconds(
    study: Study, trial: Trial, dataset: Dataset, device: str, findings: Findings
) -> float:
    """Seconds of one snapshot's measures; the second time if that is soon, for the first is dear.

    A process loads and compiles what it needs at its first snapshot, and measures many.
    """
    first = measure_once(study, trial, dataset, device, findings)
    if first > PROBE_SECONDS / 4:
        return first
    return measure_once(study, trial, dataset, device, findings)


def measure_once(
    study: Study, trial: Trial, dataset: Dataset, device: str, findings: Findings
) -> float:
    """Seconds that all measures of the study take for an untrained network of the trial."""
    config, settings = trial.config, study.measuring
    started = time.perf_counter()
    context = MeasureContext(
        _network(trial, dataset),
        dataset,
        build_loss(config.training.loss),
        device=device,
        dtype=getattr(torch, settings.dtype),
        examples=settings.examples,
        examples_per_pass=settings.examples_per_pass,
        update_rule=update_rule_at(config.training, len(dataset.train_y), 0),
        trial_seed=trial.seed,
    )
    for _ in measure_snapshot(context, study.requests, findings=findings):
        pass
    return time.perf_counter() - started
