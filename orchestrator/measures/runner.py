"""Measurement of one snapshot: rows of values, or an error row, for every request."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from math import isfinite
from time import perf_counter
from typing import Any

import torch

from orchestrator.errors import MeasureError, OrchestratorError, error_text, named_error
from orchestrator.measures.after_request import Unchanged
from orchestrator.measures.base import Curve, Measure, Need, Value
from orchestrator.measures.build import build_measure
from orchestrator.measures.context import MeasureContext
from orchestrator.measures.memory import is_out_of_memory
from orchestrator.measures.nonfinite import why_not_finite
from orchestrator.measures.own_measure import FunctionMeasure
from orchestrator.measures.trust.checks import context_findings
from orchestrator.measures.trust.finding import Check, Findings, objection
from orchestrator.models.wrappers import eagerly
from orchestrator.random_streams import stream_seed
from orchestrator.study.measure_options import MeasureOptions
from orchestrator.training.process_guard import left_as_found
from orchestrator.training.process_state import RandomStream

logger = logging.getLogger(__name__)

Row = dict[str, Any]


def measure_snapshot(
    context: MeasureContext,
    requests: Mapping[str, MeasureOptions],
    *,
    findings: Findings | None = None,
) -> Iterator[Row]:
    """Measure all requests on one snapshot, for the tables ``measures`` and ``curves``.

    A request that raises an exception yields a single row with status ``error``, because partial
    results would make it look measured. The other requests continue. Unexpected exceptions, those
    not meant for the user, are also logged with their traceback. If memory runs out, the request
    is retried with a quarter of the examples per pass, down to single examples; this changes
    values by no more than rounding. Exceptions that make the process unusable (a broken device,
    an interrupt) are not caught.

    Requests are computed in order, except that requests sharing large results run consecutively
    so that these can be released early (``Measure.needs``).

    All state is restored after each request. A request that changed the network, the data, shared
    results or the process yields one row with status ``error`` (rules in :mod:`after_request`).

    Args:
        context: The snapshot and its data. Work shared by several requests is done once and counts
            towards ``seconds`` of the first of them.
        requests: Options by the canonical text stored as ``request`` in the rows.
        findings: Findings of earlier trust checks of the network's shape; ``{}`` turns the checks
            off. By default this network is checked as the requests require.

    Yields:
        Rows with the keys request, measure, variant, split, n_examples, value, standard_error,
        status (``ok``, ``nonfinite`` or ``error``), error, seconds, dtype, batch_norm_mode,
        seed (of the probes) and measure_version. A row of the table ``curves`` has curve, x
        and y instead of measure; x, y, value and standard_error are lists.

    Raises:
        torch.AcceleratorError: If the device is broken.
    """
    with left_as_found(functions=False):  # Imports the user's own modules.
        plan = _in_order([_built(request, options) for request, options in requests.items()])
        if findings is None:
            required = frozenset[Check]().union(*(one.requires for one in plan))
            findings = context_findings(context, required)
    unchanged = Unchanged(context, own=any(one.is_own for one in plan))
    with unchanged.watching():
        for place, one in enumerate(plan):
            yield from _measure(context, one, findings, unchanged)
            awaited = frozenset[Need]().union(*(later.needs for later in plan[place + 1 :]))
            for need in one.needs - awaited:
                context.release(need)


@dataclass(frozen=True)
class _Planned:
    """A request with its measure, or with the reason why it has none."""

    request: str
    name: str
    measure: Measure | None
    failure: str | None = None

    @property
    def needs(self) -> frozenset[Need]:
        return frozenset() if self.measure is None else self.measure.needs

    @property
    def is_own(self) -> bool:
        """Whether the measure is the user's own code."""
        if self.measure is None or isinstance(self.measure, FunctionMeasure):
            return self.measure is not None
        return type(self.measure).__module__.partition(".")[0] != "orchestrator"

    @property
    def requires(self) -> frozenset[Check]:
        return frozenset() if self.measure is None else self.measure.requires


def _built(request: str, options: MeasureOptions) -> _Planned:
    try:
        return _Planned(request, options.name, build_measure(options))
    except Exception as error:
        return _Planned(request, options.name, None, _reason(request, error))


def _in_order(plan: Sequence[_Planned]) -> list[_Planned]:
    """Return the plan in the requested order, but with measures of a common need adjacent."""
    ordered: list[_Planned] = []
    for one in plan:
        places = [i for i, before in enumerate(ordered) if before.needs & one.needs]
        ordered.insert(places[-1] + 1 if places else len(ordered), one)
    return ordered


def _reason(request: str, error: Exception) -> str:
    if not isinstance(error, OrchestratorError):
        logger.exception("measure %s failed", request, exc_info=error)
    return named_error(error)


def _measure(
    context: MeasureContext, planned: _Planned, findings: Findings, unchanged: Unchanged
) -> list[Row]:
    unchanged.begin(own=planned.is_own)
    started = perf_counter()
    found: list[Value | Curve] = []
    request, measure, failure = planned.request, planned.measure, planned.failure
    if measure is not None:
        failure = objection(measure.requires, findings)
    try:
        if measure is not None and failure is None:
            with repeatable_convolutions(context.device), eagerly():
                found = _in_memory(context, request, measure)
    except torch.AcceleratorError:
        raise  # Every later measure in this process would be affected.
    except Exception as error:
        failure = _reason(request, error)
    seconds = perf_counter() - started
    if changed := unchanged.end():
        failure = _changed(failure, request, changed)
    if failure is None and not any(isinstance(item, Value) for item in found):
        failure = "MeasureError: the measure yielded no value"
    common = {
        "request": request,
        "seconds": seconds,
        "dtype": str(context.logits_dtype).removeprefix("torch."),
        "batch_norm_mode": "eval",
        "seed": context.seed,
        "measure_version": None if measure is None else measure.version,
    }
    if failure is not None:
        return [{**_failure_row(planned.name, failure), **common}]
    return [{**_row(context, item), **common} for item in found]


def _changed(failure: str | None, request: str, what: str) -> str:
    if failure is not None:
        return f"{failure} (it also changed {what})"
    return (
        f"MeasureError: {request}: changed {what}, which was restored for the other measures; "
        "work on a copy (copy.deepcopy(context.model)), or undo the changes"
    )


def _in_memory(context: MeasureContext, request: str, measure: Measure) -> list[Value | Curve]:
    """Compute ``measure`` in passes small enough for the memory."""
    numbers = RandomStream(context.device)
    while True:
        numbers.seed(stream_seed(context.trial_seed, "measure", request))
        try:
            with numbers.borrowed():
                return list(measure.compute(context))
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            reason = error_text(error).splitlines()[0]
        # Outside the except clause: the traceback would keep the large tensors alive.
        if not context.shrink_passes():
            raise MeasureError(
                f"{request}: out of memory on {context.device} even with one example per pass, "
                f"examples_per_pass: 1 ({reason})",
                "reduce measuring.examples, or use a device with more memory",
            )
        logger.warning(
            "measure %s: out of memory on %s; retrying with examples_per_pass: %d",
            request,
            context.device,
            context.data.examples_per_pass,
        )


def _row(context: MeasureContext, found: Value | Curve) -> Row:
    n_examples = found.n_examples
    if n_examples is None and found.split is not None:
        n_examples = context.data.n_examples(found.split)
    shared = {"variant": found.variant, "split": found.split, "n_examples": n_examples}
    row = _value_row(found) if isinstance(found, Value) else _curve_row(found)
    if row["status"] == "nonfinite" and not row["error"]:
        row["error"] = why_not_finite(context, found)
    return {**row, **shared}


def _value_row(value: Value) -> Row:
    numbers = (value.value, 0.0 if value.standard_error is None else value.standard_error)
    return {
        "measure": value.measure,
        "value": value.value,
        "standard_error": value.standard_error,
        "status": "ok" if all(map(isfinite, numbers)) else "nonfinite",
        "error": value.reason,
    }


def _curve_row(curve: Curve) -> Row:
    numbers = [*curve.x, *curve.values, *(curve.y or ()), *(curve.standard_errors or ())]
    return {
        "curve": curve.curve,
        "x": list(curve.x),
        "y": None if curve.y is None else list(curve.y),
        "value": list(curve.values),
        "standard_error": None if curve.standard_errors is None else list(curve.standard_errors),
        "status": "ok" if all(map(isfinite, numbers)) else "nonfinite",
        "error": curve.reason,
    }


def _failure_row(name: str, failure: str) -> Row:
    return {
        "measure": name,
        "variant": "",
        "split": None,
        "n_examples": None,
        "value": None,
        "standard_error": None,
        "status": "error",
        "error": failure,
    }


def repeatable_convolutions(device: torch.device) -> AbstractContextManager[Any]:
    """Return a context for bitwise reproducible GPU convolutions in full float32 precision.

    Args:
        device: Device of the network; without effect unless it is a GPU.
    """
    if device.type != "cuda":
        return nullcontext()
    manager: AbstractContextManager[Any] = torch.backends.cudnn.flags(
        enabled=True, benchmark=False, deterministic=True, allow_tf32=False
    )
    return manager
