"""What measures of one snapshot keep, and what happens where there is no memory."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Hashable
from textwrap import dedent
from typing import Any, get_args

import pytest
import torch

from orchestrator.measures import MeasureContext, build_measure, measure_snapshot
from orchestrator.measures.base import Need
from orchestrator.training import UpdateRule
from tests.measures.cases import case
from tests.measures.requested import MINE, light_requests, requests, run, untimed
from tests.measures.test_catalog import all_requests


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
def test_each_measure_declares_the_shared_values_it_builds(name: str) -> None:
    built = set()
    for subject in (case("mlp"), case("tanh")):
        context = subject.context(update_rule=UpdateRule(0.1))
        keys = keys_shared_in(context)
        options = light_requests()[name]
        if "iterations" in type(options).model_fields:  # Fewer than a network has parameters.
            options = options.model_copy(update={"iterations": 10})
        measure = build_measure(options)
        list(measure.compute(context))
        built |= keys & set(get_args(Need))
    # Relative flatness is exact on networks this small.
    assert measure.needs == built or name == "relative_flatness"


def test_large_shared_values_are_kept_until_their_last_use() -> None:
    """The graph is built once although a measure without that need was asked for in between."""
    subject = case("tanh").context()
    subject.model.register_forward_hook(lambda *_: None)  # No rules of layers apply.
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


def test_passes_shrink_if_memory_runs_out(caplog: pytest.LogCaptureFixture) -> None:
    needy = {"name": f"{MINE}:needs_small_passes", "most": 3}
    rows = run(case("mlp").context(), needy, "gradient_norm")
    assert [row["measure"] for row in rows[:2]] == ["before", "passes"]
    assert rows[1]["value"] == 5  # of 3 of the 14 examples
    assert "retrying with examples_per_pass: 3" in caplog.text
    small = run(case("mlp").context(examples_per_pass=3), "gradient_norm")
    assert untimed(rows[2:]) == untimed(small)


@pytest.mark.parametrize("name", ["runs_out_of_memory", "runs_out_of_main_memory"])
def test_running_out_of_memory_for_a_single_example_is_an_error(name: str) -> None:
    rows = run(case("mlp").context(), f"{MINE}:{name}", "gradient_norm")
    assert rows[0]["status"] == "error"
    assert rows[0]["error"].startswith(f"MeasureError: {MINE}:{name}: out of memory on cpu")
    assert "examples_per_pass: 1" in rows[0]["error"]
    assert {row["status"] for row in rows[1:]} == {"ok"}


@pytest.mark.slow
def test_a_process_with_little_memory_gives_the_same_values() -> None:
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
            return context.data.examples_per_pass, [row["value"] for row in rows]
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
