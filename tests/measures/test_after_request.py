"""Whatever a measure changes, the others are as if it had not been asked for."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from orchestrator.data import Dataset
from orchestrator.measures import MeasureContext, measure_snapshot
from orchestrator.study.measure_options.margins import MarginOptions
from orchestrator.training.process_guard import ProcessState
from tests.measures import meddling
from tests.measures.cases import CROSS_ENTROPY, case, random_dataset
from tests.measures.requested import run, untimed

MEDDLES = "tests.measures.meddling:meddles"
OTHERS = ("margin", "gradient_norm", "sam_sharpness", "norms")


def context() -> MeasureContext:
    model = case("mlp_batch_norm").model()
    with torch.no_grad():
        model[-1].bias.zero_()
    return MeasureContext(model, random_dataset((5,), 14, 3), CROSS_ENTROPY)


@pytest.fixture(scope="module")
def alone() -> list[dict[str, Any]]:
    return untimed(run(context(), *OTHERS))


@pytest.mark.parametrize("change", meddling.CHANGES)
def test_a_measure_that_changes_shared_state_is_an_error_that_names_it(
    change: str, alone: list[dict[str, Any]]
) -> None:
    process = ProcessState()
    first, *others = run(context(), {MEDDLES: {"change": change}}, *OTHERS)
    assert first["status"] == "error"
    assert change.rpartition(": ")[0] in first["error"]
    assert "restored" in first["error"]
    assert untimed(others) == alone
    assert process.restore() == []


@pytest.mark.parametrize("change", meddling.SILENT)
def test_a_measure_that_does_no_harm_is_accepted(change: str, alone: list[dict[str, Any]]) -> None:
    process = ProcessState()
    first, *others = run(context(), {MEDDLES: {"change": change}}, *OTHERS)
    assert first["status"] == "ok", first["error"]
    assert untimed(others) == alone
    assert process.restore() == []


@pytest.mark.parametrize("change", list(meddling.CHANGES)[::5])
def test_results_shared_before_a_change_remain_correct(
    change: str, alone: list[dict[str, Any]]
) -> None:
    first, *rows = untimed(run(context(), "gradient_norm", {MEDDLES: {"change": change}}, *OTHERS))
    others = [row for row in [first, *rows] if not row["request"].startswith(MEDDLES)]
    assert len(others) == len(alone)
    assert all(row in alone for row in others)


def test_results_computed_on_a_moved_network_are_not_shared(alone: list[dict[str, Any]]) -> None:
    moved = "tests.measures.meddling:moves_and_returns"
    first, *others = run(context(), moved, *OTHERS)
    # Adding one and taking it away again is not exact, so it may or may not be believed.
    assert first["status"] in {"ok", "error"}
    assert untimed(others) == alone


def test_random_numbers_do_not_depend_on_earlier_measures() -> None:
    draws = "tests.measures.meddling:draws"
    (one,) = run(context(), draws)
    torch.manual_seed(5)
    *_, other = run(context(), "margin", {MEDDLES: {"change": "seeds"}}, draws)
    assert one["value"] == other["value"]
    assert one["status"] == "ok"


def of(model: nn.Module) -> MeasureContext:
    return MeasureContext(model, random_dataset((5,), 14, 3), CROSS_ENTROPY)


def test_a_network_that_counts_its_calls_is_measured() -> None:
    process = ProcessState()
    model = of(meddling.ChangesByItself())
    rows = run(model, *OTHERS, {MEDDLES: {"change": "backward"}})
    assert "error" not in {row["status"] for row in rows}, [row["error"] for row in rows]
    assert model.model.seen == []
    assert model.model.calls == 0
    assert process.restore() == []


def test_a_network_that_moves_its_own_weights_has_no_value() -> None:
    for row in run(of(meddling.MovesItself()), "margin", "norms"):
        if row["request"].startswith("margin"):
            assert row["status"] == "error"
            assert "trust check repeatable failed" in row["error"]
    (row,) = measure_snapshot(
        of(meddling.MovesItself()), {"margin": MarginOptions(name="margin")}, findings={}
    )
    assert "the network's weights (linear.weight)" in row["error"]


class Tokens(nn.Module):
    """Token ids through a recurrent layer; it counts its calls."""

    def __init__(self, recurrent: type[nn.RNNBase]) -> None:
        super().__init__()
        self.embed, self.layer = nn.Embedding(4, 3), recurrent(3, 3, batch_first=True)
        self.head = nn.Linear(3, 3)
        self.register_buffer("calls", torch.zeros((), dtype=torch.int64))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        logits: torch.Tensor = self.head(self.layer(self.embed(x))[0][:, -1])
        return logits


@pytest.mark.parametrize("recurrent", [nn.LSTM, nn.GRU, nn.RNN])
def test_a_network_of_token_ids_with_caches_and_counters_is_measured(
    recurrent: type[nn.RNNBase],
) -> None:
    torch.manual_seed(0)
    x, y = torch.randint(0, 4, (12, 5)), torch.arange(12) % 3
    dataset = Dataset("ids", x[:8], y[:8], x[8:], y[8:], 3, "")
    subject = MeasureContext(Tokens(recurrent), dataset, CROSS_ENTROPY)
    rows = run(subject, "gradient_norm", "hessian_trace", "ggn_trace", "fisher", "sam_sharpness")
    assert {row["status"] for row in rows} == {"ok"}, [row["error"] for row in rows]
