"""No number of a random network is wrong: it is right within its error, or a row says why not."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
import torch

from orchestrator.errors import OrchestratorError
from orchestrator.measures import measure_snapshot
from orchestrator.measures.context import MeasureContext
from orchestrator.measures.curvature import exact_trace
from orchestrator.study.measure_options import MeasureOptions
from orchestrator.study.measure_options.curvature import (
    FisherOptions,
    FisherRaoNormOptions,
    GgnTraceOptions,
    GradientNormOptions,
    HessianFrobeniusNormOptions,
    HessianSpectrumOptions,
    HessianTraceOptions,
)
from orchestrator.study.measure_options.margins import MarginOptions
from orchestrator.study.measure_options.norms import NormsOptions
from orchestrator.study.measure_options.robustness import InputMarginOptions
from orchestrator.study.measure_options.sharpness import SamSharpnessOptions
from orchestrator.study.training_options import CrossEntropyOptions, MseOptions
from orchestrator.training import build_loss
from orchestrator.training.losses import Loss
from tests.measures.grammar import GrammarCase, grammar_case
from tests.measures.grammar.reference import RHO, Expected, Key, expected_values

# PyTorch tells which operations vmap takes one after the other.
pytestmark = pytest.mark.filterwarnings("ignore:There is a performance drop:UserWarning")

ALL = 10_000
SLICE = 8
PROBES = 64
FEW_PROBES = 16
"""Of the trace with a control variate, whose probes cost two products each."""
STANDARD_ERRORS = {PROBES: 6.5, FEW_PROBES: 9.0}
"""Of an interval of level 1 − 1e-6 and more, for means of so many draws."""

_TRACE: dict[str, Any] = {"name": "hessian_trace", "relative_error": 1e-12}
REQUESTS: dict[str, MeasureOptions] = {
    "norms": NormsOptions(name="norms"),
    "margin": MarginOptions(name="margin", normalizations=("raw",)),
    "gradient_norm": GradientNormOptions(name="gradient_norm"),
    "hessian_trace": HessianTraceOptions(**_TRACE, probes=FEW_PROBES, per_layer=True),
    "hutchinson": HessianTraceOptions(**_TRACE, probes=PROBES, method="hutchinson"),
    "ggn_trace": GgnTraceOptions(name="ggn_trace"),
    "fisher": FisherOptions(name="fisher"),
    "fisher_rao_norm": FisherRaoNormOptions(name="fisher_rao_norm"),
    "frobenius": HessianFrobeniusNormOptions(
        name="hessian_frobenius_norm", probes=PROBES, relative_error=1e-12
    ),
    "spectrum": HessianSpectrumOptions(name="hessian_spectrum", top=1),
    "sam_sharpness": SamSharpnessOptions(name="sam_sharpness", rho=RHO),
    "input_margin": InputMarginOptions(name="input_margin", norms=("l2",)),
}
IN_PARTS = ("margin", "gradient_norm", "hessian_trace", "ggn_trace", "fisher", "input_margin")
"""Requests that are made again in passes of three examples."""

_LOSSES = {
    "cross_entropy": lambda: build_loss(CrossEntropyOptions()),
    "smoothed": lambda: build_loss(CrossEntropyOptions(label_smoothing=0.2)),
    "squared": lambda: build_loss(MseOptions(name="mse")),
}


def context_of(case: GrammarCase, **options: Any) -> MeasureContext:
    made = _LOSSES.get(case.loss_name)
    loss = Loss(case.loss) if made is None else made()
    return MeasureContext(grammar_case(case.seed).model, case.dataset, loss, **options)


def complaints(case: GrammarCase) -> Iterator[str]:
    """What is wrong with the rows of a case."""
    known, undefined = expected_values(case)
    try:
        context = context_of(case)
    except OrchestratorError as error:
        if not str(error):
            yield "refused without a reason"
        return
    rows = list(measure_snapshot(context, REQUESTS))
    for row in rows:
        for complaint in _judged(row, _known(row, known, context), undefined):
            yield f"{row['request']}: {row['measure']} {row['variant']} {row['split']} {complaint}"
    if not case.faults:  # Without trust checks, too, which are to find other networks.
        parts = context_of(case, examples_per_pass=3)
        again = measure_snapshot(parts, {name: REQUESTS[name] for name in IN_PARTS}, findings={})
        yield from _differing(rows, list(again), case.relative_rounding)


def _known(
    row: Mapping[str, Any], known: Mapping[Key, Expected], context: MeasureContext
) -> Expected | None:
    """What is known of a row: of its own variant, or of all that are no parameter's share."""
    variant = str(row["variant"])
    if row["measure"] == "hessian_trace" and variant in context.parameters:
        variant = f"#{list(context.parameters).index(variant)}"
        return known.get((row["measure"], variant, row["split"]))
    for key in (variant, "*"):
        if found := known.get((row["measure"], key, row["split"])):
            return found
    return None


def _judged(
    row: Mapping[str, Any], known: Expected | None, undefined: frozenset[str]
) -> Iterator[str]:
    if row["status"] != "ok":
        if not row["error"]:
            yield f"is {row['status']} without a reason"
        return
    if row["measure"] in undefined:
        yield f"is {row['value']}, expected a reason why there is none"
    if known is None:
        return
    error = row["standard_error"] or 0.0
    probes = FEW_PROBES if row["request"] == "hessian_trace" else PROBES
    allowed = STANDARD_ERRORS[probes] * error + known.tolerance
    if row["measure"] == "hessian_frobenius_norm":
        allowed += error**2 / (2 * known.value + 1e-12)  # its bias, as it says
    if abs(row["value"] - known.value) > allowed or math.isnan(known.value):
        stated = "exact" if row["standard_error"] is None else f"± {error:.3g}"
        yield f"is {row['value']:.9g} {stated}, expected {known.value:.9g} ± {known.tolerance:.1g}"


def _differing(rows: list[Any], again: list[Any], rounding: float) -> Iterator[str]:
    """Values that depend on how the examples are divided into passes."""
    before = {(r["request"], r["measure"], r["variant"], r["split"]): r for r in rows}
    for row in again:
        other = before.get((row["request"], row["measure"], row["variant"], row["split"]))
        if other is None or row["status"] != "ok" or other["status"] != "ok":
            continue
        a, b = row["value"], other["value"]
        errors = (row["standard_error"] or 0.0) + (other["standard_error"] or 0.0)
        # Common probes: the noise is common, too, and cancels in the difference.
        size = abs(a) + abs(b) + errors + 1e-3
        if abs(a - b) > max(rounding, 1e-7) * size:
            yield (
                f"{row['request']}: {row['measure']} {row['split']} is {a:.9g} in passes of 3, "
                f"{b:.9g} in one"
            )


@pytest.mark.parametrize("seed", range(SLICE))
def test_every_value_is_right_or_has_a_reason(seed: int) -> None:
    case = grammar_case(seed)
    assert not list(complaints(case)), str(case)


@pytest.mark.slow
@pytest.mark.parametrize("block", range(SLICE, 108, 25))
def test_every_value_of_a_hundred_networks_is_right_or_has_a_reason(block: int) -> None:
    assert not faulty(range(block, block + 25))


@pytest.mark.full
@pytest.mark.timeout(0)
@pytest.mark.parametrize("block", range(0, ALL, 500))
def test_every_value_of_all_networks_is_right_or_has_a_reason(block: int) -> None:
    assert not faulty(range(block, block + 500))


def faulty(seeds: range) -> dict[str, list[str]]:
    """Cases with complaints."""
    found = {}
    for case in map(grammar_case, seeds):
        if wrong := list(complaints(case)):
            found[str(case)] = wrong
    return found


def test_the_judge_detects_a_false_claim_of_exactness(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exact_trace, "verify_exactness", lambda context: None)
    assert any("exact, expected" in complaint for complaint in complaints(grammar_case(4)))


def test_a_seed_gives_the_same_case_every_time() -> None:
    one, other = grammar_case(7), grammar_case(7)
    assert one.text == other.text
    for name, tensor in one.model.state_dict().items():
        assert torch.equal(tensor, other.model.state_dict()[name])


def test_most_values_have_a_reference_to_judge_them_by() -> None:
    """A grammar whose every case is undecided would show nothing."""
    cases = [case for case in map(grammar_case, range(60)) if not case.faults][:15]
    names = [{name for name, *_ in expected_values(case)[0]} for case in cases]
    for name in ("gradient_norm", "hessian_trace", "ggn_trace", "fisher_trace"):
        assert sum(name in found for found in names) >= 0.6 * len(cases), name
