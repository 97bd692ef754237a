from __future__ import annotations

import json
import logging
import subprocess
import sys
from collections.abc import Callable, Hashable
from math import isfinite, isnan
from textwrap import dedent
from typing import Any, get_args

import pytest
import torch
from pydantic import TypeAdapter
from torch import nn

from orchestrator.measures import MeasureContext, build_measure, measure_snapshot
from orchestrator.measures.base import Need
from orchestrator.measures.norms.jiang_norms import ROWS as JIANG
from orchestrator.measures.runner import repeatable_convolutions
from orchestrator.study.measure_options import MeasureRequest
from orchestrator.training import UpdateRule
from tests.measures.cases import CASES, CROSS_ENTROPY, Case, case, random_dataset
from tests.measures.test_catalog import all_requests

REQUEST: TypeAdapter[Any] = TypeAdapter(MeasureRequest)
MINE = "tests.measures.user_measures"
KEYS = {
    "request",
    "variant",
    "split",
    "n_examples",
    "value",
    "standard_error",
    "status",
    "error",
    "seconds",
    "dtype",
    "batch_norm_mode",
    "seed",
    "measure_version",
}
OF_A_VALUE = {"measure"}
OF_A_CURVE = {"curve", "x", "y"}
WITHOUT_CURVATURE = {
    "gradient_noise_scale",
    "hessian_eigenvalue_ratio",
    "hessian_effective_rank",
    "hessian_spectral_density",
    "loss_slice_width",
}


def requests(*names: Any) -> dict[str, Any]:
    parsed = [REQUEST.validate_python(name) for name in names]
    return {request.request: request for request in parsed}


def run(context: MeasureContext, *names: Any) -> list[dict[str, Any]]:
    return list(measure_snapshot(context, requests(*names)))


def untimed(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{key: value for key, value in row.items() if key != "seconds"} for row in rows]


SHARES = 4
KINDS = [
    *(
        pytest.param(subject, ("float64", "float32")[i // SHARES % 2], i % SHARES, id=subject.name)
        for i, subject in enumerate(CASES)
    ),
    *(
        pytest.param(subject, dtype, None, id=f"{subject.name}-{dtype}", marks=pytest.mark.slow)
        for subject in CASES
        for dtype in ("float64", "float32")
    ),
]
"""Every network and every measure several times; all pairs are marked slow."""


@pytest.mark.parametrize(("subject", "dtype", "share"), KINDS)
def test_measures_every_kind_of_network(subject: Case, dtype: str, share: int | None) -> None:
    requests = light_requests()
    if share is not None:
        requests = {name: requests[name] for name in list(requests)[share::SHARES]}
    given = {"initial_state": subject.model(1).state_dict(), "update_rule": UpdateRule(0.1)}
    context = subject.context(seed=5, dtype=getattr(torch, dtype), **given)
    rows = list(measure_snapshot(context, requests))
    assert {row["request"] for row in rows} == set(requests)
    identities = [(row["request"], name_in(row), row["variant"], row["split"]) for row in rows]
    assert len(set(identities)) == len(rows)
    for row in rows:
        assert set(row) == KEYS | (OF_A_CURVE if "curve" in row else OF_A_VALUE)
        assert (row["dtype"], row["batch_norm_mode"], row["seed"]) == (dtype, "eval", 5)
        assert row["seconds"] >= 0
        assert row["status"] == ("ok" if all(map(isfinite, numbers_in(row))) else "nonfinite")
        n_examples = row["split"] and context.n_examples(row["split"])
        assert row["n_examples"] == n_examples
        if may_lack_a_value(row):
            assert row["status"] == "ok" or row["error"]
        elif not undefined(subject, row):
            assert row["status"] == "ok", row
        else:
            assert row["error"]


def light_requests() -> dict[str, Any]:
    """All of them, with fewer draws and steps where the defaults take most of the time."""
    fewer = {
        "hessian_trace": {"probes": 20},
        "hessian_spectral_density": {"probes": 3, "iterations": 10},
        "local_entropy": {"burn_in": 10, "samples": 40},
        "flatness_profile": {"draws": 4},
        "pac_bayes_sigma": {"draws": 8},
        "worst_case_radius": {"steps": 5},
        "pgd_margin": {"bisections": 3},
    }
    return {
        name: REQUEST.validate_python({name: fewer[name]}) if name in fewer else options
        for name, options in all_requests().items()
    }


def name_in(row: dict[str, Any]) -> str:
    """Of the measure, or of the curve."""
    return str(row["curve"] if "curve" in row else row["measure"])


def numbers_in(row: dict[str, Any]) -> list[float]:
    """The value, or those along the curve."""
    return list(row["value"]) if "curve" in row else [row["value"]]


def may_lack_a_value(row: dict[str, Any]) -> bool:
    """Whether that depends on the data, as boundaries within reach and margins above 0 do.

    Convolutions are not in every network, and so short a chain need not converge.
    """
    distances = (
        *("input_margin_", "deepfool_margin_", "pgd_margin_", "hidden_margin_"),
        *("margin_population_minimum", "local_entropy"),
    )
    over_margin = {name for name, symbol, _ in JIANG if "γ" in symbol}
    return name_in(row).startswith(distances) or name_in(row) in {*over_margin, "convolution_norm"}


def undefined(subject: Case, row: dict[str, Any]) -> bool:
    """Whether the value has no meaning for that network or those data."""
    return (
        (subject.name == "one_example" and row["variant"] == "total_variation")
        or (subject.name == "certain" and name_in(row) in WITHOUT_CURVATURE)
        or (
            subject.name in ("certain", "one_example", "constant_labels")
            and name_in(row) == "separation"
        )
        or (
            name_in(row) == "path_norm"
            and (subject.name in ("leaky_relu", "certain") or not subject.piecewise_linear)
        )
    )


def test_seconds_are_the_same_on_all_rows_of_a_request() -> None:
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
    assert len(histogram["x"]) == len(histogram["value"]) == 4
    assert sum(histogram["value"]) == 7 * 3
    assert (histogram["y"], histogram["standard_error"]) == (None, None)
    assert (histogram["split"], histogram["n_examples"], histogram["status"]) == ("test", 7, "ok")
    assert (pole["y"], pole["status"], pole["error"]) == ([2.0, 3.0], "nonfinite", "a pole")
    assert {row["request"] for row in rows} == {value["request"]}
    assert {row["seconds"] for row in rows} == {value["seconds"]}


def test_a_request_without_a_value_is_an_error() -> None:
    (row,) = run(case("mlp").context(), f"{MINE}:only_a_curve")
    assert (row["status"], row["error"]) == ("error", "MeasureError: it yielded no value")


def keys_shared_in(context: MeasureContext) -> set[Hashable]:
    """The keys of everything that measures share there from now on."""
    keys: set[Hashable] = set()
    shared = context.shared

    def noting(key: Hashable, compute: Callable[[], Any]) -> Any:
        keys.add(key)
        return shared(key, compute)

    context.shared = noting  # type: ignore[method-assign, assignment]
    return keys


@pytest.mark.parametrize("name", list(all_requests()))
def test_what_a_measure_needs_is_what_it_builds(name: str) -> None:
    built = set()
    for subject in (case("mlp"), case("tanh")):
        context = subject.context(update_rule=UpdateRule(0.1))
        keys = keys_shared_in(context)
        measure = build_measure(light_requests()[name])
        list(measure.compute(context))
        built |= keys & set(get_args(Need))
    # Relative flatness is exact on networks this small.
    assert measure.needs == built or name == "relative_flatness"


def test_what_is_large_is_kept_until_the_last_that_needs_it() -> None:
    """The graph is built once although a measure without that need was asked for in between."""
    subject = case("tanh").context()
    calls = []
    forward = subject.forward

    def counted(*arguments: Any) -> torch.Tensor:
        calls.append(torch.is_grad_enabled())
        return forward(*arguments)

    subject.forward = counted  # type: ignore[method-assign]
    raw = {"margin": {"normalizations": ["raw"]}}
    rows = measure_snapshot(subject, requests("gradient_norm", raw, "hessian_spectrum"))
    order = list(dict.fromkeys(row["measure"].partition("_")[0] for row in rows))
    assert order == ["gradient", "hessian", "margin"]
    assert calls.count(True) == 2  # one pass of each split
    assert subject.shared("gradient_graph", lambda: "built again") == "built again"


def test_an_interrupt_is_not_caught() -> None:
    with pytest.raises(KeyboardInterrupt):
        run(case("mlp").context(), f"{MINE}:is_interrupted")


def test_without_memory_passes_get_smaller(caplog: pytest.LogCaptureFixture) -> None:
    needy = {"name": f"{MINE}:needs_small_passes", "most": 3}
    rows = run(case("mlp").context(), needy, "gradient_norm")
    assert [row["measure"] for row in rows[:2]] == ["before", "passes"]
    assert rows[1]["value"] == 5  # of 3 of the 14 examples
    assert "tried again with examples_per_pass: 3" in caplog.text
    small = run(case("mlp").context(examples_per_pass=3), "gradient_norm")
    assert untimed(rows[2:]) == untimed(small)


@pytest.mark.parametrize("name", ["runs_out_of_memory", "runs_out_of_main_memory"])
def test_without_memory_for_a_single_example_it_is_an_error(name: str) -> None:
    rows = run(case("mlp").context(), f"{MINE}:{name}", "gradient_norm")
    assert rows[0]["status"] == "error"
    assert rows[0]["error"].startswith(f"MeasureError: {MINE}:{name}: no memory left on cpu")
    assert "examples_per_pass: 1" in rows[0]["error"]
    assert {row["status"] for row in rows[1:]} == {"ok"}


@pytest.mark.slow
def test_a_process_of_little_memory_measures_the_same() -> None:
    code = """
        import json, resource, torch
        from torch import nn
        from orchestrator.data import Dataset
        from orchestrator.measures import MeasureContext, measure_snapshot
        from orchestrator.study.measure_options.curvature import GradientNormOptions
        from orchestrator.training import build_loss
        from orchestrator.study.training_options import CrossEntropyOptions

        torch.set_num_threads(1)
        torch.manual_seed(0)
        x, y = torch.randn(4000, 4), torch.randint(0, 3, (4000,))
        model = nn.Sequential(nn.Linear(4, 4000), nn.ReLU(), nn.Linear(4000, 3))
        data = Dataset("random", x, y, x[:10], y[:10], 3, "hash")
        def norms():
            context = MeasureContext(
                model, data, build_loss(CrossEntropyOptions()), examples_per_pass=4000
            )
            request = GradientNormOptions(name="gradient_norm")
            rows = list(measure_snapshot(context, {"gradient_norm": request}))
            assert {row["status"] for row in rows} == {"ok"}, rows
            return context.examples_per_pass, [row["value"] for row in rows]
        plenty = norms()
        used = 1024 * int(open("/proc/self/statm").read().split()[0]) * 4
        resource.setrlimit(resource.RLIMIT_AS, (used + 2**26, used + 2**26))
        little = norms()
        print(json.dumps([plenty, little]))
    """
    done = subprocess.run(
        [sys.executable, "-c", dedent(code)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    plenty, little = json.loads(done.stdout)
    assert plenty[0] == 4000 > little[0]
    assert plenty[1] == pytest.approx(little[1], rel=1e-12)


def test_diverged_weights_are_rows_that_say_so() -> None:
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
    with repeatable_convolutions(torch.device("cuda")):
        assert (cudnn.deterministic, cudnn.allow_tf32, cudnn.benchmark) == (True, False, False)
    assert (cudnn.deterministic, cudnn.allow_tf32, cudnn.benchmark) == before


@pytest.mark.parametrize("name", ["mlp", pytest.param("cnn", marks=pytest.mark.slow)])
def test_single_precision_says_so_and_agrees(name: str) -> None:
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
def test_works_in_a_notebook_without_ray() -> None:
    code = (
        "import sys\n"
        "from orchestrator.measures import MeasureContext, measure_snapshot, catalog\n"
        "heavy = {'ray', 'pyarrow', 'duckdb', 'altair', 'sklearn'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
        "assert catalog()\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
