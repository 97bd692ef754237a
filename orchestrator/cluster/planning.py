"""The plan of a study, with times from a short probe on this machine. Does not need Ray.

Work that asks for a GPU is probed on a GPU if one is available, and otherwise on a CPU core.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import torch
from torch import nn

from orchestrator.cluster.backlog import audits_left, read_backlog
from orchestrator.cluster.processes.own_code import (
    import_own_parts,
    import_trial_parts,
    own_parts_of,
)
from orchestrator.cluster.processes.worker_process import prepare_process
from orchestrator.cluster.snapshots.subject import subject
from orchestrator.data import load_dataset
from orchestrator.data.dataset import Dataset
from orchestrator.measures import CHANGES, measure_snapshot
from orchestrator.measures.build import build_measure, required_checks
from orchestrator.measures.trust.checks import network_findings, refuse_spoiled
from orchestrator.measures.trust.finding import Findings, objection
from orchestrator.models import build_model
from orchestrator.results import (
    ResultsFolder,
    committed_snapshots,
    is_final,
    refuse_contradictions,
    swept_columns,
)
from orchestrator.study.plan import Plan, Probed, Stored, make_plan
from orchestrator.study.shapes import measuring_shape, training_shape
from orchestrator.study.spec import CheckpointOptions, Study, TrialConfig
from orchestrator.study.training_options import StopOptions
from orchestrator.study.trials import Trial, expand_trials, hyperparameters
from orchestrator.training import Finished, train
from orchestrator.training.process_guard import left_as_found

PROBE_SECONDS = 30.0
MOST_BUILT, MOST_TRAINED, MOST_MEASURED = 1000, 100, 50
"""Limits on networks built for their size and shapes probed; random searches draw thousands."""

Cost = TypeVar("Cost")


def plan_study(
    study: Study,
    results: str | Path,
    *,
    probe: bool = True,
    price_per_cpu_hour: float | None = None,
    price_per_gpu_hour: float | None = None,
) -> Plan:
    """Count the remaining work of a study and estimate its time.

    Args:
        study: The study.
        results: Its results folder; need not exist.
        probe: Train and measure on one thread for about half a minute to estimate the time.
        price_per_cpu_hour: Price of one core, in any currency.
        price_per_gpu_hour: Price of one GPU.

    Raises:
        UserError: If ``run`` would refuse the study: own parts that cannot be imported, invalid
            data, networks that spoil training, or a folder with other results or with trials that
            contradict the study.
    """
    trials = expand_trials(study)
    if probe:
        import_own_parts(study, trials)
    swept = swept_columns([hyperparameters(study, trial) for trial in trials])
    ResultsFolder(results).require_room_for(study.study, swept)
    folder = ResultsFolder.open(results) if ResultsFolder(results).resolved.is_file() else None
    stored = Stored()
    if folder is not None:
        refuse_contradictions(folder, study, trials)
        stored = _stored(folder, study, {trial.trial_id for trial in trials})
    costs = _Costs(study, {trial.condition_id: trial for trial in trials})
    trial_needs = study.resources.trial
    slots = (os.cpu_count() or 1) // max(trial_needs.cpus, 1)
    if trial_needs.gpus and torch.cuda.is_available():
        slots = min(slots, torch.cuda.device_count() // trial_needs.gpus)
    return make_plan(
        study,
        trials,
        stored,
        costs.probed() if probe else costs.sizes(),
        slots=max(1, int(slots)),
        gpus_probed=probe and costs.uses_cuda,
        audits=audits_left(folder, study, trials),
        measurings_per_audit=len(CHANGES) + 1,
        price_per_cpu_hour=price_per_cpu_hour,
        price_per_gpu_hour=price_per_gpu_hour,
        spoiled_measures=tuple(_spoiled_measures(study, trials, costs.checked)),
    )


def _stored(folder: ResultsFolder, study: Study, trial_ids: Set[str]) -> Stored:
    backlog = read_backlog(folder, study)
    wanted = study.wanted
    measured, unmeasured = Counter[str](), Counter[str]()
    unmeasured_final = set()
    for row in committed_snapshots(folder, trial_ids):
        final = is_final(row)
        if backlog.measured.get(row["checkpoint_id"], set()).issuperset(wanted[final]):
            measured[row["trial_id"]] += 1
            continue
        unmeasured[row["trial_id"]] += 1
        if final:
            unmeasured_final.add(row["trial_id"])
    done = backlog.completed & trial_ids
    partial = (backlog.attempts.keys() & trial_ids) - done
    return Stored(done, partial, measured, unmeasured, unmeasured_final)


class _Costs:
    """Sizes and times of a study's networks on this machine.

    Args:
        study: The study.
        conditions: Condition id → one of its trials.

    Attributes:
        checked: Shape → findings of the trust checks.
    """

    def __init__(self, study: Study, conditions: Mapping[str, Trial]) -> None:
        self._study, self._conditions = study, conditions
        imported: set[tuple[str, str]] = set()
        for trial in conditions.values():
            own = own_parts_of(trial.config)
            if not own <= imported:
                import_trial_parts(trial.config)
                imported |= own
        self._datasets: dict[str, Dataset] = {}
        self.checked: dict[str, Findings] = {}
        self._budget = PROBE_SECONDS / (2 * min(len(conditions), MOST_TRAINED))

    def sizes(self) -> dict[str, Probed]:
        """Return the size of each condition's data and snapshots."""
        snapshot_bytes = self._each(_network_key, MOST_BUILT, self._snapshot_bytes)
        return {
            id_: Probed(len(self._data(one).train_y), snapshot_bytes[id_])
            for id_, one in self._conditions.items()
        }

    def probed(self) -> dict[str, Probed]:
        """Return the sizes and times of each condition.

        Raises:
            ModelError: If a network spoils its training.
        """
        sizes = self.sizes()
        measuring = self._each(
            lambda trial: measuring_shape(trial.config), MOST_MEASURED, self._measure_seconds
        )
        training = self._each(
            lambda trial: (training_shape(trial.config), self._trains_on(trial)),
            MOST_TRAINED,
            self._update_seconds,
        )
        return {
            id_: replace(
                size,
                update_seconds=training[id_],
                measure_seconds=measuring[id_][0],
                final_seconds=measuring[id_][1],
            )
            for id_, size in sizes.items()
        }

    def _each(
        self, key: Callable[[Trial], Hashable], most: int, cost: Callable[[Trial], Cost]
    ) -> dict[str, Cost]:
        """Return each condition's cost, computed once per key and for at most ``most`` keys."""
        of = stand_ins({id_: key(trial) for id_, trial in self._conditions.items()}, most)
        found = {id_: cost(self._conditions[id_]) for id_ in dict.fromkeys(of.values())}
        return {condition: found[id_] for condition, id_ in of.items()}

    def _snapshot_bytes(self, trial: Trial) -> int:
        with left_as_found(functions=False):
            return _snapshot_bytes(trial, self._data(trial))

    def _trains_on(self, trial: Trial) -> str:
        return _device(self._study.needs_of(trial.config).gpus)

    @property
    def uses_cuda(self) -> bool:
        """Whether anything is probed on a GPU."""
        measures_on = _device(self._study.resources.measurer.gpus)
        return "cuda" in {measures_on, *map(self._trains_on, self._conditions.values())}

    def _update_seconds(self, trial: Trial) -> float:
        with _one_thread():
            return _update_seconds(trial, self._data(trial), self._budget, self._trains_on(trial))

    def _measure_seconds(self, trial: Trial) -> tuple[float, float]:
        """Return the seconds to measure any snapshot, and the extra seconds for a final one."""
        study, dataset = self._study, self._data(trial)
        device = _device(study.resources.measurer.gpus)
        findings: Findings = {}
        if study.measuring.trust_checks:
            required = required_checks(study.all_measures)
            with left_as_found(functions=False):
                findings = network_findings(
                    trial.config, dataset, study.measuring, required, device
                )
            self.checked[measuring_shape(trial.config)] = findings
            refuse_spoiled(trial.config, findings)
        of_all, of_final = study.wanted[False], study.wanted[True][len(study.wanted[False]) :]
        with _one_thread():
            every, final = (
                _measure_seconds(study, trial, dataset, device, findings, requests)
                for requests in (of_all, of_final)
            )
        return every, final

    def _data(self, trial: Trial) -> Dataset:
        key = _data_key(trial.config)
        if key not in self._datasets:
            self._datasets[key] = load_dataset(trial.config.data)
        return self._datasets[key]


def _spoiled_measures(
    study: Study, trials: Iterable[Trial], checked: Mapping[str, Findings]
) -> Iterator[str]:
    """Yield the requests that will have rows ``error``, each with its network and the reason."""
    configs = {measuring_shape(trial.config): trial.config for trial in trials}
    for shape, findings in checked.items():
        for request, options in study.requests.items():
            reason = objection(build_measure(options).requires, findings)
            if reason is not None:
                yield f"model {configs[shape].model.name!r}: {request}: {reason}"


def _device(gpus: float) -> str:
    return "cuda" if gpus and torch.cuda.is_available() else "cpu"


def stand_ins(keys: Mapping[str, Hashable], most: int) -> dict[str, str]:
    """Return, for each condition, the condition whose cost represents it.

    Args:
        keys: Condition id → key that determines its cost.
        most: Maximum number of costs to compute. If there are more keys, an evenly spaced selection
            is used, and each selected key represents the keys up to the next one.

    Returns:
        Condition id → the first condition with the same key, or with the key that represents it.
    """
    first: dict[Hashable, str] = {}
    for condition, key in keys.items():
        first.setdefault(key, condition)
    chosen: dict[Hashable, str] = {}
    last = -1
    for place, (key, condition) in enumerate(first.items()):
        part = place * min(most, len(first)) // len(first)
        if part != last:
            last, stands = part, condition
        chosen[key] = stands
    return {condition: chosen[key] for condition, key in keys.items()}


def _network_key(trial: Trial) -> Hashable:
    return _data_key(trial.config), trial.config.model.model_dump_json()


def _data_key(config: TrialConfig) -> str:
    return config.data.model_dump_json()


def _snapshot_bytes(trial: Trial, dataset: Dataset) -> int:
    state = _network(trial, dataset).state_dict(keep_vars=True)
    return sum(tensor.nbytes for tensor in set(state.values()))


def _network(trial: Trial, dataset: Dataset) -> nn.Module:
    options, inputs = trial.config.model, dataset.train_x
    return build_model(options, dataset.input_shape, dataset.classes, trial.seed, inputs.dtype)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Run the block as in trials and measurers: one thread, freed memory kept. Reset afterwards."""
    with left_as_found(functions=False):
        prepare_process(1)
        yield


def _update_seconds(trial: Trial, dataset: Dataset, budget: float, device: str) -> float:
    if device != "cpu":
        _train(trial, dataset, StopOptions(updates=1), device)  # First use of a GPU takes seconds.
    stop = StopOptions(seconds=max(0.2, budget), epochs=10**6)
    started = time.perf_counter()
    updates = _train(trial, dataset, stop, device)
    return (time.perf_counter() - started) / updates


def _train(trial: Trial, dataset: Dataset, stop: StopOptions, device: str) -> int:
    """Train until ``stop`` and return the number of updates, at least 1."""
    training = trial.config.training.model_copy(update={"stop": stop})
    config = trial.config.model_copy(update={"training": training})
    updates = 1
    for event in train(config, trial.seed, dataset, CheckpointOptions(), device=device):
        if isinstance(event, Finished):
            updates = max(1, event.updates)
    return updates


def _measure_seconds(
    study: Study,
    trial: Trial,
    dataset: Dataset,
    device: str,
    findings: Findings,
    requests: Sequence[str],
) -> float:
    """Return the seconds to measure one snapshot, from a second pass if the first was fast enough.

    At its first snapshot a process also loads and compiles code, and a measurer measures many.
    """
    if not requests:
        return 0.0
    first = measure_once(study, trial, dataset, device, findings, requests)
    if first > PROBE_SECONDS / 4:
        return first
    return measure_once(study, trial, dataset, device, findings, requests)


def measure_once(
    study: Study,
    trial: Trial,
    dataset: Dataset,
    device: str,
    findings: Findings,
    requests: Sequence[str],
) -> float:
    """Return the seconds that some requests take for an untrained network of the trial."""
    started = time.perf_counter()
    network = subject(trial.config, trial.seed, dataset, study.measuring, device)
    context = network.context(getattr(torch, study.measuring.dtype))
    asked = {request: study.requests[request] for request in requests}
    for _ in measure_snapshot(context, asked, findings=findings):
        pass
    return time.perf_counter() - started
