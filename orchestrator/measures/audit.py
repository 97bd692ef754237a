"""Audit: how much each measure changes under transformations that should not matter.

A value that changes although function, data and question stay the same is not a property of the
network. Each transformation is applied separately and all requests are remeasured. The difference
is reported with its standard error, so that sampling noise is not mistaken for sensitivity.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from orchestrator.data.dataset import Dataset
from orchestrator.measures.build import required_checks
from orchestrator.measures.context import MeasureContext
from orchestrator.measures.precise_loss import PerExampleLoss
from orchestrator.measures.reparametrization import permuted, rescaled, with_scaled_logits
from orchestrator.measures.runner import measure_snapshot
from orchestrator.measures.trust.checks import context_findings
from orchestrator.measures.trust.finding import Findings
from orchestrator.study.measure_options import MeasureOptions
from orchestrator.training.update_rule import UpdateRule

Change = Literal[
    "layer_rescaling",
    "unit_permutation",
    "logit_scale",
    "batch_partition",
    "duplicated_data",
    "float32",
    "data_subset",
    "probe_seed",
]
CHANGES: tuple[Change, ...] = get_args(Change)
RESCALING = 3.0
"""α of the layer rescaling; Dinh et al. (arXiv:1703.04933) take α → ∞."""
LOGIT_FACTOR = 2.0
_TRIED_ON = 64  # Examples whose logits a reparametrization must not change.


@dataclass(frozen=True)
class Audited:
    """A network and its data, to be audited.

    Attributes:
        model: The network.
        dataset: Its data.
        loss: The loss it was trained with.
        initial_state: Its state before training, if known.
        update_rule: Rule of the last gradient-descent update; None for other optimizers.
        device: Device to compute on.
        seed: Seed of the probes.
        examples: Number of measured examples per split; all by default.
        examples_per_pass: Maximum number of examples per pass.
        trial_seed: Seed of the trial.
    """

    model: nn.Module
    dataset: Dataset
    loss: PerExampleLoss
    initial_state: Mapping[str, Tensor] | None = None
    update_rule: UpdateRule | None = None
    device: str = "cpu"
    seed: int = 0
    examples: int | None = None
    examples_per_pass: int = 1000
    trial_seed: int = 0

    def context(self, dtype: torch.dtype = torch.float64) -> MeasureContext:
        """Return a context that measures the network in ``dtype``."""
        return MeasureContext(
            self.model,
            self.dataset,
            self.loss,
            device=self.device,
            dtype=dtype,
            seed=self.seed,
            examples=self.examples,
            examples_per_pass=self.examples_per_pass,
            initial_state=self.initial_state,
            update_rule=self.update_rule,
            trial_seed=self.trial_seed,
        )


@dataclass(frozen=True)
class AuditRow:
    """One value before and after one change.

    Attributes:
        change: Name of the change.
        setting: Settings of the change, for example ``alpha=3, layers=2``.
        request: Canonical text of the request that produced the value.
        measure: Name of the measure.
        variant: Variant of the measure.
        split: Split of the measured examples; None if data-free.
        original: Value before the change.
        changed: Value after the change.
        relative_change: |after − before| over the larger magnitude; 0 if equal, between 0 and 2.
        standard_error: Standard error of the difference if either value is stochastic; an upper
            bound, because both values use the same probes.
        status: ``ok``; ``nonfinite`` or ``error`` if a value is missing or not finite;
            ``not_applicable`` if the change does not exist for this network.
        reason: Reason for any other status than ``ok``.
    """

    change: Change
    setting: str
    request: str
    measure: str
    variant: str
    split: str | None
    original: float | None = None
    changed: float | None = None
    relative_change: float | None = None
    standard_error: float | None = None
    status: str = "ok"
    reason: str | None = None


def audit(
    subject: Audited,
    requests: Mapping[str, MeasureOptions],
    changes: Sequence[Change] = CHANGES,
    *,
    findings: Findings | None = None,
    measured: Iterable[Mapping[str, Any]] = (),
) -> Iterator[AuditRow]:
    """Measure a network as it is, then once after each change, and compare value by value.

    Args:
        subject: The network and its data.
        requests: Options of the measures, by canonical text.
        changes: Changes to apply.
        findings: Findings of the trust checks, as for :func:`measure_snapshot`. By default the
            network is checked once, before the changes.
        measured: Values of the network as it is, if known: rows of :func:`measure_snapshot` in
            float64, with all rows of a request. Other requests are measured.

    Yields:
        One row per value and change. A change that does not exist for this network yields a
        single row without a measure.
    """
    context = subject.context()
    if findings is None:
        findings = context_findings(context, required_checks(requests.values()))
    before = {_key(row): row for row in measured if row["request"] in requests}
    known = {request for request, *_ in before}
    unknown = {request: options for request, options in requests.items() if request not in known}
    before |= _by_key(context, unknown, findings)
    for change in changes:
        made = _CHANGES[change](subject)
        if made.context is None:
            yield AuditRow(
                change, made.setting, "", "", "", None, status="not_applicable", reason=made.reason
            )
            continue
        after = _by_key(made.context, requests, findings)
        for key in sorted({**before, **after}, key=str):
            yield _compared(change, made.setting, key, before.get(key), after.get(key))


@dataclass(frozen=True)
class _Made:
    """An applied change, or the reason why it cannot be applied."""

    setting: str
    context: MeasureContext | None
    reason: str | None = None


def _inputs(subject: Audited) -> Tensor:
    return subject.dataset.train_x[:_TRIED_ON].to(next(subject.model.parameters()).device)


def _why_not(subject: Audited, reason: str) -> str:
    """Return ``reason``, unless non-finite logits make any comparison impossible."""
    with torch.no_grad():
        finite = subject.context().logits("train").isfinite().all()
    return reason if finite else "logits are not finite, so their change cannot be tested"


def _layer_rescaling(subject: Audited) -> _Made:
    model, layers = rescaled(subject.model, _inputs(subject), RESCALING)
    setting = f"alpha={RESCALING:g}, layers={layers}"
    if layers == 0:
        reason = "no hidden layer can be rescaled without changing the function"
        return _Made(setting, None, _why_not(subject, reason))
    return _Made(setting, replace(subject, model=model).context())


def _unit_permutation(subject: Audited) -> _Made:
    model, layers = permuted(subject.model, _inputs(subject), subject.seed)
    setting = f"layers={layers}"
    if layers == 0:
        reason = "no hidden layer can be permuted without changing the function"
        return _Made(setting, None, _why_not(subject, reason))
    return _Made(setting, replace(subject, model=model).context())


def _logit_scale(subject: Audited) -> _Made:
    model = with_scaled_logits(subject.model, _inputs(subject), LOGIT_FACTOR)
    setting = f"factor={LOGIT_FACTOR:g}"
    if model is None:
        reason = "the last layer does not scale the logits"
        return _Made(setting, None, _why_not(subject, reason))
    return _Made(setting, replace(subject, model=model).context())


def _batch_partition(subject: Audited) -> _Made:
    fewer = max(1, (subject.examples_per_pass * 2) // 5 - 1)
    context = replace(subject, examples_per_pass=fewer).context()
    if context.data.n_examples("train") <= fewer:
        fewer = max(1, context.data.n_examples("train") // 2)
        context = replace(subject, examples_per_pass=fewer).context()
    return _Made(f"examples_per_pass={fewer}", context)


def _duplicated_data(subject: Audited) -> _Made:
    # Duplicate the measured subset: a subset of duplicated data would differ.
    context = subject.context()
    (train_x, train_y), (test_x, test_y) = context.data("train"), context.data("test")
    twice = replace(
        subject.dataset,
        train_x=torch.cat([train_x, train_x]),
        train_y=torch.cat([train_y, train_y]),
        test_x=torch.cat([test_x, test_x]),
        test_y=torch.cat([test_y, test_y]),
    )
    return _Made("copies=2", replace(subject, dataset=twice, examples=None).context())


def _float32(subject: Audited) -> _Made:
    return _Made("dtype=float32", subject.context(torch.float32))


def _data_subset(subject: Audited) -> _Made:
    half = subject.context().data.n_examples("train") // 2
    if half < 1:
        return _Made("examples=0", None, "a single example has no subset")
    return _Made(f"examples={half}", replace(subject, examples=half).context())


def _probe_seed(subject: Audited) -> _Made:
    other = subject.seed + 1
    return _Made(f"seed={other}", replace(subject, seed=other).context())


_CHANGES: dict[Change, Callable[[Audited], _Made]] = {
    "layer_rescaling": _layer_rescaling,
    "unit_permutation": _unit_permutation,
    "logit_scale": _logit_scale,
    "batch_partition": _batch_partition,
    "duplicated_data": _duplicated_data,
    "float32": _float32,
    "data_subset": _data_subset,
    "probe_seed": _probe_seed,
}

_Key = tuple[str, str, str, str | None]


def _by_key(
    context: MeasureContext, requests: Mapping[str, MeasureOptions], findings: Findings
) -> dict[_Key, Mapping[str, Any]]:
    """Return the rows of values by request, measure, variant and split, without curves."""
    return {
        _key(row): row
        for row in measure_snapshot(context, requests, findings=findings)
        if "measure" in row
    }


def _key(row: Mapping[str, Any]) -> _Key:
    return row["request"], row["measure"], row["variant"], row["split"]


def relative_change(before: float, after: float) -> float:
    """Return |after − before| over the larger magnitude, between 0 and 2, for finite values.

    >>> relative_change(2.0, 1.0), relative_change(0.0, 0.0), relative_change(-1e308, 1.5e308)
    (0.5, 0.0, 1.6666666666666665)
    """
    if before == after:
        return 0.0
    larger = max(abs(before), abs(after))
    change = abs(before - after) / larger
    # The difference of values with opposite signs may overflow.
    return change if math.isfinite(change) else abs(before / larger - after / larger)


def _compared(
    change: Change,
    setting: str,
    key: _Key,
    before: Mapping[str, Any] | None,
    after: Mapping[str, Any] | None,
) -> AuditRow:
    found = [row for row in (before, after) if row is not None]
    bad = next((row for row in found if row["status"] != "ok"), None)
    a, b = (None if row is None else row["value"] for row in (before, after))
    if bad is not None or a is None or b is None:
        reason = bad["error"] if bad is not None else "measured only before or after the change"
        status = "error" if bad is None else bad["status"]
        return AuditRow(change, setting, *key, a, b, status=status, reason=reason)
    errors = [row["standard_error"] for row in found if row["standard_error"] is not None]
    relative = relative_change(a, b)
    error = math.hypot(*errors) if errors else None
    return AuditRow(change, setting, *key, a, b, relative, error)
