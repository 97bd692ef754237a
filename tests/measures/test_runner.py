from __future__ import annotations

import logging
import subprocess
import sys
from math import isfinite, isnan
from typing import Any

import pytest
import torch
from pydantic import TypeAdapter
from torch import nn

from orchestrator.measures import MeasureContext, measure_snapshot
from orchestrator.measures.runner import _repeatable
from orchestrator.study.measure_options import MeasureRequest
from tests.measures.cases import CASES, CROSS_ENTROPY, Case, case, random_dataset
from tests.measures.test_catalog import all_requests

REQUEST: TypeAdapter[Any] = TypeAdapter(MeasureRequest)
MINE = "tests.measures.user_measures"
KEYS = {
    "request",
    "variant",
    "split",
    "n_examples",
    "status",
    "error",
    "seconds",
    "dtype",
    "batch_norm_mode",
    "seed",
    "measure_version",
}
OF_A_VALUE = {"measure", "value", "standard_error"}
OF_A_CURVE = {"curve", "x", "y", "values", "standard_errors"}


def run(context: MeasureContext, *names: Any) -> list[dict[str, Any]]:
    requests = [REQUEST.validate_python(name) for name in names]
    return list(measure_snapshot(context, {request.request: request for request in requests}))


def untimed(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{key: value for key, value in row.items() if key != "seconds"} for row in rows]


@pytest.mark.parametrize("subject", CASES, ids=lambda case: case.name)
def test_measures_every_kind_of_network(subject: Case) -> None:
    context = subject.context(seed=5, initial_state=subject.model(1).state_dict())
    rows = list(measure_snapshot(context, all_requests()))
    assert {row["request"] for row in rows} == set(all_requests())
    identities = [(row["request"], name_of(row), row["variant"], row["split"]) for row in rows]
    assert len(set(identities)) == len(rows)
    for row in rows:
        assert set(row) == KEYS | (OF_A_CURVE if "curve" in row else OF_A_VALUE)
        assert (row["dtype"], row["batch_norm_mode"], row["seed"]) == ("float64", "eval", 5)
        assert row["seconds"] >= 0
        if row["status"] == "error":
            assert (subject.name, row["measure"]) == ("single_class", "margin")
            assert row["error"].startswith("MeasureError: a margin compares")
            continue
        finite = all(map(isfinite, numbers(row)))
        assert row["status"] == ("ok" if finite else "nonfinite")
        assert row["n_examples"] == (row["split"] and context.n_examples(row["split"]))
        if not undefined(subject, row):
            assert row["status"] == "ok", row
        else:
            assert row["error"]


def name_of(row: dict[str, Any]) -> str:
    return str(row.get("measure") or row["curve"])


def numbers(row: dict[str, Any]) -> list[float]:
    """The values of a row of either table."""
    return [row["value"]] if "measure" in row else [*row["x"], *row["values"]]


def undefined(subject: Case, row: dict[str, Any]) -> bool:
    """Whether the value has no meaning for that network or those data."""
    return (
        (subject.name == "one_example" and row["variant"] == "total_variation")
        or (
            subject.name == "single_class"
            and name_of(row) in ("gradient_noise_scale", "loss_slice_width")
        )
        # A chain cannot move where the loss changes by thousands: it says so.
        or (subject.name == "saturated" and name_of(row) == "local_entropy")
        or (
            name_of(row) == "path_norm"
            and (subject.name == "leaky_relu" or not subject.piecewise_linear)
        )
    )


def test_seconds_are_the_same_on_all_rows_of_a_request() -> None:
    rows = run(case("mlp").context(), "margin", "norms")
    for request in ("margin", "norms"):
        assert len({row["seconds"] for row in rows if row["request"] == request}) == 1


def test_adding_a_measure_leaves_the_others_bit_identical() -> None:
    context = case("residual_batch_norm").context
    requests = all_requests()
    together = untimed(list(measure_snapshot(context(), requests)))
    reverse = dict(reversed(requests.items()))
    backwards = untimed(list(measure_snapshot(context(), reverse)))
    for request, options in requests.items():
        alone = untimed(list(measure_snapshot(context(), {request: options})))
        assert repr([row for row in together if row["request"] == request]) == repr(alone)
        assert repr([row for row in backwards if row["request"] == request]) == repr(alone)


def test_measures_of_one_snapshot_share_their_passes() -> None:
    passes = []
    context = case("mlp").context()
    context.model.register_forward_hook(lambda _, inputs, output: passes.append(len(inputs[0])))
    run(context, "margin", "gradient_norm", "sam_sharpness")
    # Logits of both splits, two examples for the layers' shapes, a gradient of each split, and
    # the loss at the end of the SAM step.
    assert sorted(passes) == [2, 7, 7, 14, 14, 14]


def test_a_failing_measure_is_a_row_and_the_others_go_on(
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


def test_a_mistake_of_the_user_is_a_row_without_a_traceback(
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


def test_custom_values_carry_what_they_say() -> None:
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


def test_curves_are_rows_of_their_own() -> None:
    subject = case("mlp")
    rows = run(subject.context(), f"{MINE}:logit_histogram")
    value, histogram, pole = rows
    assert value["measure"] == "logit_largest"
    assert histogram["curve"] == "logit_histogram"
    assert len(histogram["x"]) == len(histogram["values"]) == 4
    assert sum(histogram["values"]) == 7 * 3
    assert (histogram["y"], histogram["standard_errors"]) == (None, None)
    assert (histogram["split"], histogram["n_examples"], histogram["status"]) == ("test", 7, "ok")
    assert (pole["y"], pole["status"], pole["error"]) == ([2.0, 3.0], "nonfinite", "a pole")
    assert {row["request"] for row in rows} == {value["request"]}
    assert {row["seconds"] for row in rows} == {value["seconds"]}


def test_a_request_without_a_value_is_an_error() -> None:
    (row,) = run(case("mlp").context(), f"{MINE}:only_a_curve")
    assert (row["status"], row["error"]) == ("error", "MeasureError: it yielded no value")


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("runs_out_of_memory", torch.OutOfMemoryError),
        ("runs_out_of_main_memory", RuntimeError),
        ("is_interrupted", KeyboardInterrupt),
    ],
)
def test_what_leaves_the_process_unfit_is_not_caught(name: str, error: type[BaseException]) -> None:
    with pytest.raises(error):
        run(case("mlp").context(), f"{MINE}:{name}")


def test_diverged_weights_are_rows_that_say_so() -> None:
    model = case("mlp").model()
    nn.init.constant_(model[2].weight, float("nan"))
    context = MeasureContext(
        model, random_dataset((5,), 14, 3), CROSS_ENTROPY, initial_state=model.state_dict()
    )
    rows = list(measure_snapshot(context, all_requests()))
    assert {row["request"] for row in rows} == set(all_requests())
    for row in rows:
        unaffected = name_of(row) == "parameter_count" or row["variant"] in ("layer_1", "layer_3")
        expected = "ok" if unaffected else "nonfinite"
        assert row["status"] == expected, row
        assert expected == "ok" or any(map(isnan, numbers(row))), row


def test_a_value_that_is_not_finite_says_why() -> None:
    rows = run(case("one_example").context(), "margin", "norms")
    reasons = {(row["measure"], row["variant"], row["split"]): row["error"] for row in rows}
    assert reasons["margin_mean", "raw", "train"] is None
    expected = "the logits are the same for all examples"
    assert reasons["margin_mean", "total_variation", "train"] == expected
    distance = reasons["distance_from_initialization", "", None]
    assert distance.startswith("distance_from_initialization needs the network's state before")


def test_convolutions_on_a_gpu_are_asked_to_be_repeatable_and_precise() -> None:
    cudnn = torch.backends.cudnn
    before = (cudnn.deterministic, cudnn.allow_tf32, cudnn.benchmark)
    with _repeatable(torch.device("cuda")):
        assert (cudnn.deterministic, cudnn.allow_tf32, cudnn.benchmark) == (True, False, False)
    assert (cudnn.deterministic, cudnn.allow_tf32, cudnn.benchmark) == before


def test_single_precision_says_so_and_agrees() -> None:
    initial = case("cnn").model(1).state_dict()
    double = list(measure_snapshot(case("cnn").context(initial_state=initial), all_requests()))
    context = case("cnn").context(dtype=torch.float32, initial_state=initial)
    single = list(measure_snapshot(context, all_requests()))
    assert [row["dtype"] for row in single] == ["float32"] * len(double)
    for one, other in zip(single, double, strict=True):
        assert name_of(one) == name_of(other)
        assert numbers(one) == pytest.approx(numbers(other), rel=5e-3, abs=1e-4), one


def test_works_in_a_notebook_without_ray() -> None:
    code = (
        "import sys\n"
        "from orchestrator.measures import MeasureContext, measure_snapshot, catalog\n"
        "heavy = {'ray', 'pyarrow', 'duckdb', 'altair', 'sklearn'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
        "assert catalog()\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
