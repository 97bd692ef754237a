"""How much each measure changes under what must not matter.

A number that moves when the function, the data or the question did not is no property of the
network. Each change is applied alone, everything is measured again, and the difference is told
beside its standard error, so that a stochastic measure is not blamed for its own noise.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
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
"""α of the layer rescaling; Dinh et al. (arXiv:1703.04933) let it go to infinity."""
LOGIT_FACTOR = 2.0
_TRIED_ON = 64  # Examples on which a reparametrization must not change the logits.


@dataclass(frozen=True)
class Audited:
    """A network and its data, as they are audited.

    Attributes:
        model: The network.
        dataset: Its data.
        loss: The loss it was trained with.
        initial_state: Its state before training, if known.
        update_rule: How gradient descent made its last update, where it did.
        device: Where to compute.
        seed: Of the probes.
        examples: Measure on this many examples of each split; all by default.
        examples_per_pass: Most examples in one pass.
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
        """The network, ready to be measured."""
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
        change: What was changed.
        setting: How, for example ``alpha=3, layers=2``.
        request: Canonical text of the request that gave the value.
        measure: Name of the measure.
        variant: Its variant.
        split: Of which examples; None if free of data.
        original: The value before.
        changed: The value after.
        relative_change: |after − before| over the larger magnitude; 0 if equal, between 0 and 2.
        standard_error: Of the difference, if either value is stochastic; probes are common, so
            it is an upper bound.
        status: ``ok``; ``nonfinite`` or ``error`` if a value is missing or not finite;
            ``not_applicable`` if the change does not exist for this network.
        reason: Why it is not ``ok``.
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
) -> Iterator[AuditRow]:
    """Measure a network as it is, then once after each change, and compare value by value.

    Args:
        subject: The network and its data.
        requests: What to measure, by canonical text.
        changes: Which changes to try.
        findings: Of the trust checks, as for :func:`measure_snapshot`; by default the network is
            checked once, before the changes.

    Yields:
        A row for each value and change; a single row without a measure for a change that does
        not exist for this network.
    """
    context = subject.context()
    if findings is None:
        findings = context_findings(context, required_checks(requests.values()))
    before = _by_key(context, requests, findings)
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
    """A change that was made, or the reason why it could not be."""

    setting: str
    context: MeasureContext | None
    reason: str | None = None


def _inputs(subject: Audited) -> Tensor:
    return subject.dataset.train_x[:_TRIED_ON].to(next(subject.model.parameters()).device)


def _why_not(subject: Audited, reason: str) -> str:
    """``reason``, unless the logits are such that no change can be seen to leave them."""
    with torch.no_grad():
        finite = subject.context().logits("train").isfinite().all()
    return reason if finite else "logits that are not finite show no function to be unchanged"


def _layer_rescaling(subject: Audited) -> _Made:
    model, layers = rescaled(subject.model, _inputs(subject), RESCALING)
    setting = f"alpha={RESCALING:g}, layers={layers}"
    if layers == 0:
        reason = "no hidden layer can be rescaled with the function unchanged"
        return _Made(setting, None, _why_not(subject, reason))
    return _Made(setting, replace(subject, model=model).context())


def _unit_permutation(subject: Audited) -> _Made:
    model, layers = permuted(subject.model, _inputs(subject), subject.seed)
    setting = f"layers={layers}"
    if layers == 0:
        reason = "no hidden layer can be permuted with the function unchanged"
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
    if context.n_examples("train") <= fewer:
        fewer = max(1, context.n_examples("train") // 2)
        context = replace(subject, examples_per_pass=fewer).context()
    return _Made(f"examples_per_pass={fewer}", context)


def _duplicated_data(subject: Audited) -> _Made:
    # The subset that is measured, twice: a subset of doubled data would be another one.
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
    half = subject.context().n_examples("train") // 2
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
    """The values by what they are of; curves are not audited."""
    return {
        (row["request"], row["measure"], row["variant"], row["split"]): row
        for row in measure_snapshot(context, requests, findings=findings)
        if "measure" in row
    }


def relative_change(before: float, after: float) -> float:
    """|after − before| over the larger magnitude, between 0 and 2; both finite.

    >>> relative_change(2.0, 1.0), relative_change(0.0, 0.0), relative_change(-1e308, 1.5e308)
    (0.5, 0.0, 1.6666666666666665)
    """
    if before == after:
        return 0.0
    larger = max(abs(before), abs(after))
    change = abs(before - after) / larger
    # Of opposite signs, they may differ by more than the largest number.
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
        reason = bad["error"] if bad is not None else "only measured before or after the change"
        status = "error" if bad is None else bad["status"]
        return AuditRow(change, setting, *key, a, b, status=status, reason=reason)
    errors = [row["standard_error"] for row in found if row["standard_error"] is not None]
    relative = relative_change(a, b)
    error = math.hypot(*errors) if errors else None
    return AuditRow(change, setting, *key, a, b, relative, error)
