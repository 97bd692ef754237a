"""The plan of a study: numbers of trials, updates, snapshots, bytes and seconds."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import asdict, dataclass, field
from typing import Any

from orchestrator.errors import UserError
from orchestrator.study.design import describe_design, value_text
from orchestrator.study.positions import planned_steps
from orchestrator.study.spec import CheckpointOptions, Study
from orchestrator.study.training_options import StopOptions
from orchestrator.study.trials import Trial

MOST_SNAPSHOTS = 1_000_000


@dataclass(frozen=True)
class Stored:
    """State of a study's trials in the results folder.

    Attributes:
        done: Ids of completed trials.
        partial: Ids of trials that were started but not completed.
        measured: Number of snapshots with all their rows, by trial id.
        unmeasured: Number of stored snapshots that lack rows, by trial id.
        unmeasured_final: Ids of trials whose final snapshot lacks rows.
    """

    done: Set[str] = frozenset()
    partial: Set[str] = frozenset()
    measured: Mapping[str, int] = field(default_factory=dict)
    unmeasured: Mapping[str, int] = field(default_factory=dict)
    unmeasured_final: Set[str] = frozenset()

    def snapshots_left(self, trial_id: str, most: int) -> int:
        """Return the number of snapshots left to measure of a trial with at most ``most``."""
        if trial_id in self.done:
            return self.unmeasured.get(trial_id, 0)
        return max(0, most - self.measured.get(trial_id, 0))

    def final_left(self, trial_id: str) -> bool:
        """Return whether the final network of a trial is still to be measured."""
        return trial_id not in self.done or trial_id in self.unmeasured_final


@dataclass(frozen=True)
class Probed:
    """Sizes and times of one trial of a condition.

    Attributes:
        n_train: Number of training examples.
        snapshot_bytes: Bytes per snapshot.
        update_seconds: Seconds per update. This and the times below are None if not probed.
        measure_seconds: Seconds to measure one snapshot.
        final_seconds: Additional seconds for the measures of final networks only.
    """

    n_train: int
    snapshot_bytes: int
    update_seconds: float | None = None
    measure_seconds: float | None = None
    final_seconds: float | None = None


@dataclass(frozen=True)
class ConditionCost:
    """Maximum cost of one trial of a condition; a target train loss may end it sooner.

    Attributes:
        condition_id: The condition.
        label: Its swept values, as text.
        trials: Number of its trials.
        to_train: Number of its trials that are not completed.
        updates: Updates per trial; None if only ``stop.seconds`` bounds it.
        snapshots: Snapshots per trial.
        snapshot_bytes: Bytes per snapshot.
        train_seconds: Seconds to train one trial; None if not probed.
        measure_seconds: Seconds to measure one snapshot; None if not probed.
        final_seconds: Additional seconds to measure the final one; None if not probed.
        to_measure: Maximum number of snapshots left to measure, over all its trials.
        final_to_measure: Number of those that are final snapshots.
        cpus: Cores that one trial reserves.
        gpus: GPUs that one trial reserves.
    """

    condition_id: str
    label: str
    trials: int
    to_train: int
    updates: int | None
    snapshots: int
    snapshot_bytes: int
    train_seconds: float | None
    measure_seconds: float | None
    final_seconds: float | None
    to_measure: int
    final_to_measure: int
    cpus: float
    gpus: float

    @property
    def measuring(self) -> float | None:
        """Seconds of measuring left; None if not probed."""
        if self.measure_seconds is None or self.final_seconds is None:
            return None
        of_final = self.final_to_measure * self.final_seconds
        return self.to_measure * self.measure_seconds + of_final


@dataclass(frozen=True)
class Plan:
    """The plan of a study.

    Attributes:
        study: Name of the study.
        trials: Number of all trials, the sum of ``done``, ``partial`` and ``new``.
        done: Number of completed trials.
        partial: Number of trials started but not completed.
        new: Number of trials not started.
        snapshots: Maximum number of snapshots of all trials.
        snapshots_to_measure: Number of those that lack rows.
        disk_bytes: Bytes of all snapshots.
        slots: Number of trials that train in parallel on this machine.
        gpus_probed: Whether trials that need a GPU were probed on one, not on a core.
        train_seconds: Seconds of training left, over all trials; None if not probed.
        measure_seconds: Seconds of measuring left; None if not probed.
        audits: Number of snapshots to audit for a claim of the study.
        audit_seconds: Seconds of auditing, derived from those of measuring.
        cpu_hours: Core hours that trials and measurers reserve; None if not probed.
        gpu_hours: GPU hours that trials and measurers reserve; None if not probed.
        cost: Cost of these hours; None without a price.
        conditions: Costs of each condition.
        spoiled_measures: Requests without a value for some network, with reasons.
        design: Lines on how conditions are drawn at random and crossed; empty if none is drawn.
    """

    study: str
    trials: int
    done: int
    partial: int
    new: int
    snapshots: int
    snapshots_to_measure: int
    disk_bytes: int
    slots: int
    gpus_probed: bool
    train_seconds: float | None
    measure_seconds: float | None
    audits: int
    audit_seconds: float | None
    cpu_hours: float | None
    gpu_hours: float | None
    cost: float | None
    conditions: tuple[ConditionCost, ...]
    spoiled_measures: tuple[str, ...] = ()
    design: tuple[str, ...] = ()

    @property
    def wall_seconds(self) -> float | None:
        """Seconds until everything is trained, measured and audited, with every core busy."""
        parts = (self.train_seconds, self.measure_seconds, self.audit_seconds)
        if any(part is None for part in parts):
            return None
        return sum(part or 0 for part in parts) / max(1, self.slots)

    def to_dict(self) -> dict[str, Any]:
        """Return the plan as plain values, for JSON."""
        return {**asdict(self), "wall_seconds": self.wall_seconds}


def most_updates(stop: StopOptions, n_train: int, batch_size: int) -> int | None:
    """Return the maximum number of updates of a trial; None if only time bounds it."""
    bounds = []
    if stop.epochs is not None:
        bounds.append(stop.epochs * math.ceil(n_train / batch_size))
    if stop.updates is not None:
        bounds.append(stop.updates)
    return min(bounds, default=None)


def most_snapshots(
    checkpoints: CheckpointOptions, stop: StopOptions, n_train: int, batch_size: int
) -> int:
    """Return the maximum number of snapshots per trial, including the final one.

    Raises:
        UserError: If the study plans more than ``MOST_SNAPSHOTS`` per trial.
    """
    per_epoch = math.ceil(n_train / batch_size)
    updates = most_updates(stop, n_train, batch_size)
    steps: set[int] = set()
    if updates is not None:
        epochs = stop.epochs or updates // per_epoch
        at_epochs = planned_steps(checkpoints.epochs, epochs)
        at_updates = planned_steps(checkpoints.updates, updates)
        if len(at_epochs) + len(at_updates) > MOST_SNAPSHOTS:
            raise UserError(
                f"checkpoints: up to {len(at_epochs) + len(at_updates):,} snapshots per trial, "
                f"expected at most {MOST_SNAPSHOTS:,}",
                "use {every: 10} or {log_spaced: 20}",
            )
        steps |= {epoch * per_epoch for epoch in at_epochs}
        steps |= set(at_updates)
        steps = {step for step in steps if step <= updates} | {updates}
    return max(1, len(steps)) + len(checkpoints.train_loss)


def make_plan(
    study: Study,
    trials: list[Trial],
    stored: Stored,
    probed: Mapping[str, Probed],
    *,
    slots: int,
    gpus_probed: bool = False,
    audits: int = 0,
    measurings_per_audit: int = 0,
    price_per_cpu_hour: float | None = None,
    price_per_gpu_hour: float | None = None,
    spoiled_measures: tuple[str, ...] = (),
) -> Plan:
    """Assemble the plan of a study.

    Args:
        study: The study.
        trials: Its trials.
        stored: State of its trials in the results folder.
        probed: Sizes and times of each condition, by its id.
        slots: Number of trials that train in parallel.
        gpus_probed: Whether trials that need a GPU were probed on one.
        audits: Number of snapshots to audit.
        measurings_per_audit: Number of times an audit measures its snapshot.
        price_per_cpu_hour: Price per core hour, in any currency.
        price_per_gpu_hour: Price per GPU hour, in the same currency.
        spoiled_measures: Requests that the trust checks leave without a value, with reasons.
    """
    by_condition: dict[str, list[Trial]] = {}
    for trial in trials:
        by_condition.setdefault(trial.condition_id, []).append(trial)
    costs = []
    for condition, members in sorted(by_condition.items(), key=lambda item: _label(item[1][0])):
        costs.append(_condition_cost(study, members, stored, probed[condition]))
    known = all(
        cost.train_seconds is not None and probed[cost.condition_id].update_seconds is not None
        for cost in costs
    )
    measuring = _sum(cost.measuring for cost in costs)
    per_audit = _sum(
        None if c.measure_seconds is None else c.measure_seconds + (c.final_seconds or 0.0)
        for c in costs
    )
    auditing = None if per_audit is None else audits * measurings_per_audit * per_audit / len(costs)
    cpu_hours = gpu_hours = None
    if known and measuring is not None and auditing is not None:
        trained = [(c.to_train * (c.train_seconds or 0.0), c.cpus, c.gpus) for c in costs]
        measurer = study.resources.measurer
        cpus = 1.0 if measurer.cpus is None else measurer.cpus
        booked = [*trained, (measuring + auditing, cpus, measurer.gpus)]
        cpu_hours = sum(seconds * cpus for seconds, cpus, _ in booked) / 3600
        gpu_hours = sum(seconds * gpus for seconds, _, gpus in booked) / 3600
    return Plan(
        study=study.study,
        trials=len(trials),
        done=len(stored.done),
        partial=len(stored.partial),
        new=len(trials) - len(stored.done) - len(stored.partial),
        snapshots=sum(cost.trials * cost.snapshots for cost in costs),
        snapshots_to_measure=sum(cost.to_measure for cost in costs),
        disk_bytes=sum(cost.trials * cost.snapshots * cost.snapshot_bytes for cost in costs),
        slots=slots,
        gpus_probed=gpus_probed,
        train_seconds=sum(c.to_train * (c.train_seconds or 0) for c in costs) if known else None,
        measure_seconds=measuring,
        audits=audits,
        audit_seconds=auditing,
        cpu_hours=cpu_hours,
        gpu_hours=gpu_hours,
        cost=_cost((cpu_hours, price_per_cpu_hour), (gpu_hours, price_per_gpu_hour)),
        conditions=tuple(costs),
        spoiled_measures=spoiled_measures,
        design=tuple(describe_design(study.model_dump(mode="json"))),
    )


def _condition_cost(
    study: Study, trials: Sequence[Trial], stored: Stored, probed: Probed
) -> ConditionCost:
    training, needs = trials[0].config.training, study.needs_of(trials[0].config)
    updates = most_updates(training.stop, probed.n_train, training.batch_size)
    per_update = probed.update_seconds
    seconds = None if per_update is None or updates is None else per_update * updates
    if seconds is not None and training.stop.seconds is not None:
        seconds = min(seconds, training.stop.seconds)
    snapshots = most_snapshots(
        study.checkpoints, training.stop, probed.n_train, training.batch_size
    )
    ids = [trial.trial_id for trial in trials]
    return ConditionCost(
        trials[0].condition_id,
        _label(trials[0]),
        len(trials),
        sum(id_ not in stored.done for id_ in ids),
        updates,
        snapshots,
        probed.snapshot_bytes,
        seconds if seconds is not None else training.stop.seconds,
        probed.measure_seconds,
        probed.final_seconds,
        sum(stored.snapshots_left(id_, snapshots) for id_ in ids),
        sum(map(stored.final_left, ids)),
        needs.cpus,
        needs.gpus,
    )


def _sum(seconds: Iterable[float | None]) -> float | None:
    """Return the sum; None if any part is unknown."""
    parts = list(seconds)
    return None if any(part is None for part in parts) else sum(part or 0.0 for part in parts)


def _cost(*hours_and_prices: tuple[float | None, float | None]) -> float | None:
    """Return the cost of the hours with a price; None without a price or if hours are unknown."""
    priced = [(hours, price) for hours, price in hours_and_prices if price is not None]
    if not priced or any(hours is None for hours, _ in priced):
        return None
    return sum((hours or 0.0) * price for hours, price in priced)


def _label(trial: Trial) -> str:
    pairs = [
        f"{path.rpartition('.')[2]} {value_text(value)}" for path, value in trial.swept.items()
    ]
    return ", ".join(pairs) or "the only condition"


def plan_text(plan: Plan) -> str:
    """Format the plan for reading."""
    lines = [
        f"study {plan.study}: {plan.trials} trials "
        f"({plan.new} new, {plan.partial} partial, {plan.done} done)",
        f"snapshots: at most {plan.snapshots}, {plan.snapshots_to_measure} to measure, "
        f"{plan.disk_bytes / 1e6:.1f} MB",
        *plan.design,
    ]
    width = max(len(cost.label) for cost in plan.conditions)
    final = any(cost.final_seconds for cost in plan.conditions)
    titles = f"{'condition':<{width}}  to train  updates  snapshots  s/trial  s/snapshot"
    lines.append(titles + "  s/final" * final)
    for cost in plan.conditions:
        lines.append(
            f"{cost.label:<{width}}  {cost.to_train:>8}  {_cell(cost.updates):>7}  "
            f"{cost.snapshots:>9}  {_cell(cost.train_seconds):>7}  "
            f"{_cell(cost.measure_seconds):>10}" + f"  {_cell(cost.final_seconds):>7}" * final
        )
    if plan.wall_seconds is not None:
        audits = (
            f" and {plan.audit_seconds:.0f} s of auditing {plan.audits} snapshots"
            if plan.audits
            else ""
        )
        lines.append(
            f"time: about {plan.train_seconds:.0f} s of training, "
            f"{plan.measure_seconds:.0f} s of measuring{audits}; {plan.wall_seconds:.0f} s with "
            f"{plan.slots} cores or slots busy (an upper bound: a target train loss ends a "
            "trial sooner)"
        )
    if plan.cpu_hours is not None and plan.gpu_hours is not None:
        hours = f"reserved: {plan.cpu_hours:.3g} CPU hours"
        if plan.gpu_hours:
            hours += f", {plan.gpu_hours:.3g} GPU hours"
            if not plan.gpus_probed:
                hours += " (an upper bound: the probe ran on one core here)"
        lines.append(hours + ("" if plan.cost is None else f"; price {plan.cost:.2f}"))
    lines += [f"no value: {text}" for text in plan.spoiled_measures]
    return "\n".join(lines)


def _cell(value: float | None) -> str:
    if value is None:
        return "?"
    return str(value) if isinstance(value, int) else f"{value:.3g}"
