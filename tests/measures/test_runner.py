from __future__ import annotations

import logging
import subprocess
import sys
from math import isnan

import pytest
import torch
from torch import nn

from orchestrator.measures import MeasureContext, measure_snapshot
from orchestrator.measures.runner import repeatable_convolutions
from orchestrator.training import UpdateRule
from tests.measures.cases import CROSS_ENTROPY, case, random_dataset
from tests.measures.requested import (
    KEYS,
    MINE,
    OF_A_VALUE,
    light_requests,
    name_in,
    numbers_in,
    run,
    untimed,
)
from tests.measures.test_catalog import all_requests


def test_all_rows_of_a_request_have_equal_seconds() -> None:
    rows = run(case("mlp").context(), "margin", "norms")
    for request in ("margin", "norms"):
        assert len({row["seconds"] for row in rows if row["request"] == request}) == 1


@pytest.mark.parametrize(
    ("name", "each"),
    [("mlp_batch_norm", 4), pytest.param("residual_batch_norm", 1, marks=pytest.mark.slow)],
)
def test_adding_a_measure_leaves_the_others_bit_identical(name: str, each: int) -> None:
    context = case(name).context
    requests = light_requests()
    together = untimed(list(measure_snapshot(context(), requests)))
    reverse = dict(reversed(requests.items()))
    backwards = untimed(list(measure_snapshot(context(), reverse)))
    for request, options in list(requests.items())[::each]:
        alone = untimed(list(measure_snapshot(context(), {request: options})))
        assert repr([row for row in together if row["request"] == request]) == repr(alone)
        assert repr([row for row in backwards if row["request"] == request]) == repr(alone)


def test_measures_of_one_snapshot_share_their_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orchestrator.measures.runner.context_findings", lambda *_: {})
    passes = []
    context = case("mlp").context()
    context.model.register_forward_hook(lambda _, inputs, output: passes.append(len(inputs[0])))
    run(context, "margin", "gradient_norm", "sam_sharpness")
    # Logits of both splits, two examples for the layers' shapes, a gradient of each split, and
    # the loss at the end of the SAM step.
    assert sorted(passes) == [2, 7, 7, 14, 14, 14]


def test_a_failing_measure_is_a_row_and_the_others_continue(
    caplog: pytest.LogCaptureFixture,
) -> None:
    rows = run(case("mlp").context(), f"{MINE}:fails_late", "gradient_norm")
    failed, *others = rows
    assert failed["measure"] == failed["request"] == f"{MINE}:fails_late"
    assert failed["status"] == "error"
    assert failed["error"] == "ZeroDivisionError: of my own"
    assert failed["value"] is failed["standard_error"] is failed["split"] is None
    assert set(failed) == KEYS | OF_A_VALUE
    assert [row["status"] for row in others] == ["ok", "ok"]
    (record,) = (record for record in caplog.records if record.name.startswith("orchestrator"))
    assert record.levelno == logging.ERROR
    assert record.exc_info is not None
    assert isinstance(record.exc_info[1], ZeroDivisionError)


def test_a_user_error_is_a_row_without_a_traceback(
    caplog: pytest.LogCaptureFixture,
) -> None:
    (row,) = run(case("tanh").context(), {"hessian_trace": {"method": "exact"}})
    assert row["status"] == "error"
    assert row["request"] == 'hessian_trace(method="exact")'
    assert row["measure"] == "hessian_trace"
    assert row["error"].startswith("MeasureError: the exact Hessian trace needs")
    (row,) = run(case("mlp").context(), f"{MINE}:absent")
    assert row["error"].startswith("ImportPathError: ")
    assert row["measure_version"] is None
    assert not [record for record in caplog.records if record.name.startswith("orchestrator")]


def test_values_of_custom_measures_are_stored_as_given() -> None:
    rows = run(case("mlp").context(), f"{MINE}:logit_scale", f"{MINE}:LogitNorm")
    assert [row["measure"] for row in rows] == [
        "logit_scale",
        "logit_spread",
        "logit_scale",
        "my_logit_norm",
    ]
    assert [row["split"] for row in rows] == [None, None, "test", "train"]
    assert [row["n_examples"] for row in rows] == [None, None, 7, 14]
    assert [row["standard_error"] for row in rows] == [None, 0.5, None, None]
    assert [row["measure_version"] for row in rows] == [1, 1, 1, 3]


def test_curves_have_rows_of_their_own() -> None:
    subject = case("mlp")
    rows = run(subject.context(), f"{MINE}:logit_histogram")
    value, histogram, pole = rows
    assert value["measure"] == "logit_largest"
    assert histogram["curve"] == "logit_histogram"
    assert len(histogram["x"]) == len(histogram["value"]) == 4
    assert sum(histogram["value"]) == 7 * 3
    assert (histogram["y"], histogram["standard_error"]) == (None, None)
    assert (histogram["split"], histogram["n_examples"], histogram["status"]) == ("test", 7, "ok")
    assert (pole["y"], pole["status"], pole["error"]) == ([2.0, 3.0], "nonfinite", "a pole")
    assert {row["request"] for row in rows} == {value["request"]}
    assert {row["seconds"] for row in rows} == {value["seconds"]}


def test_a_request_that_yields_no_value_is_an_error() -> None:
    (row,) = run(case("mlp").context(), f"{MINE}:only_a_curve")
    assert (row["status"], row["error"]) == ("error", "MeasureError: the measure yielded no value")


def test_an_interrupt_is_not_caught() -> None:
    with pytest.raises(KeyboardInterrupt):
        run(case("mlp").context(), f"{MINE}:is_interrupted")


def test_diverged_weights_give_rows_with_reasons() -> None:
    model = case("mlp").model()
    nn.init.constant_(model[2].weight, float("nan"))
    context = MeasureContext(
        model, random_dataset((5,), 14, 3), CROSS_ENTROPY, initial_state=model.state_dict()
    )
    rows = list(measure_snapshot(context, light_requests()))
    assert {row["request"] for row in rows} == set(all_requests())
    for row in rows:
        unaffected = name_in(row) in ("parameter_count", "separation", "separation_conflicts")
        unaffected |= row["variant"] in ("layer_1", "layer_3") and "hidden" not in name_in(row)
        expected = "ok" if unaffected else "nonfinite"
        assert row["status"] == expected, row
        assert expected == "ok" or (row["error"] and any(map(isnan, numbers_in(row)))), row


def test_a_nonfinite_value_has_a_reason() -> None:
    rows = run(case("one_example").context(), "margin", "norms")
    reasons = {(row["measure"], row["variant"], row["split"]): row["error"] for row in rows}
    assert reasons["margin_mean", "raw", "train"] is None
    expected = "the logits are the same for all examples"
    assert reasons["margin_mean", "total_variation", "train"] == expected
    distance = reasons["distance_from_initialization", "", None]
    assert distance.startswith("distance_from_initialization needs the network's state before")


def test_convolutions_on_a_gpu_are_set_to_be_repeatable_and_precise() -> None:
    cudnn = torch.backends.cudnn
    before = (cudnn.deterministic, cudnn.allow_tf32, cudnn.benchmark)
    with repeatable_convolutions(torch.device("cuda")):
        assert (cudnn.deterministic, cudnn.allow_tf32, cudnn.benchmark) == (True, False, False)
    assert (cudnn.deterministic, cudnn.allow_tf32, cudnn.benchmark) == before


@pytest.mark.parametrize("name", ["mlp", pytest.param("cnn", marks=pytest.mark.slow)])
def test_rows_in_single_precision_say_so_and_agree_with_double(name: str) -> None:
    initial = case(name).model(1).state_dict()
    given = {"initial_state": initial, "update_rule": UpdateRule(0.1)}
    double = list(measure_snapshot(case(name).context(**given), light_requests()))
    context = case(name).context(dtype=torch.float32, **given)
    single = list(measure_snapshot(context, light_requests()))
    assert [row["dtype"] for row in single] == ["float32"] * len(double)
    for one, other in zip(single, double, strict=True):
        assert name_in(one) == name_in(other)
        # The steps of that ascent are signs, which rounding may turn.
        rel = 5e-2 if name_in(one).startswith("local_lipschitz") else 5e-3
        expected = pytest.approx(numbers_in(other), rel=rel, abs=1e-4, nan_ok=True)
        assert numbers_in(one) == expected, one


@pytest.mark.slow
def test_measuring_works_in_a_notebook_without_ray() -> None:
    code = (
        "import sys\n"
        "from orchestrator.measures import MeasureContext, measure_snapshot, catalog\n"
        "heavy = {'ray', 'pyarrow', 'duckdb', 'altair', 'sklearn'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
        "assert catalog()\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
