"""No measure forms what grows with the square of the classes; few are dear with a thousand."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from orchestrator.measures import MeasureContext, measure_snapshot
from orchestrator.measures.robustness.attack import Settings, flip
from orchestrator.measures.robustness.deepfool import deepfool
from orchestrator.measures.robustness.input_margin import first_order_distances
from orchestrator.measures.robustness.inputs import chosen_inputs
from orchestrator.measures.robustness.linearized import Boundaries
from tests.measures.cases import CROSS_ENTROPY, case, mlp, random_dataset
from tests.measures.requested import light_requests, requests

CURVATURE = ("ggn_trace", "fisher", "relative_flatness", {"hessian_trace": {"method": "exact"}})
LIGHTER: dict[str, dict[str, Any]] = {
    "deepfool_margin": {"iterations": 1},
    "pgd_margin": {"bisections": 1, "steps": 2, "restarts": 1},
    "robustness": {"steps": 2, "restarts": 1},
    "hessian_trace": {"probes": 16},
    "relative_flatness": {"layers": "all", "probes": 16},
    "hessian_frobenius_norm": {"probes": 16},
    "local_entropy": {"burn_in": 10, "samples": 40},
    "flatness_profile": {"draws": 2, "sigmas": [0.1]},
    "pac_bayes_sigma": {"draws": 2},
    "worst_case_radius": {"steps": 2},
    "hessian_spectral_density": {"probes": 2, "iterations": 10},
}


class Largest(TorchDispatchMode):
    """The most numbers that any tensor has which an operation returns."""

    def __init__(self) -> None:
        super().__init__()
        self.numbers = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(found):
            if isinstance(leaf, Tensor) and leaf.layout == torch.strided:
                held = leaf.untyped_storage().nbytes() // leaf.element_size()
                self.numbers = max(self.numbers, held)
        return found


def many(classes: int, examples: int = 6, loss: Any = CROSS_ENTROPY) -> MeasureContext:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        network = mlp(3, 3, classes)
    return MeasureContext(
        network,
        random_dataset((3,), examples, classes),
        loss,
        initial_state=network.state_dict(),
    )


def lighter() -> dict[str, Any]:
    found = light_requests()
    for name, options in LIGHTER.items():
        found |= {name: next(iter(requests({name: options}).values()))}
    return found


def largest_of(context: MeasureContext, asked: dict[str, Any]) -> int:
    with Largest() as seen:
        for row in measure_snapshot(context, asked):
            assert row["status"] == "ok" or row["error"]
            assert row["status"] != "error", row
    return seen.numbers


@pytest.mark.parametrize("name", ["cross_entropy", "mse"])
def test_curvature_forms_no_matrix_of_classes(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orchestrator.measures.curvature.loss_hessian.NUMBERS_AT_ONCE", 2**15)
    loss = CROSS_ENTROPY if name == "cross_entropy" else case(name).loss
    assert largest_of(many(260, 3, loss), requests(*CURVATURE)) <= 2**15 < 260**2


@pytest.mark.slow
@pytest.mark.parametrize("name", ["cross_entropy", "mse"])
def test_no_measure_of_a_thousand_classes_forms_a_matrix_of_classes(name: str) -> None:
    loss = CROSS_ENTROPY if name == "cross_entropy" else case(name).loss
    assert largest_of(many(1000, loss=loss), lighter()) <= 2**19 < 1000**2


def test_boundaries_computed_one_class_at_a_time_are_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def found(context: MeasureContext) -> list[Tensor]:
        inputs = chosen_inputs(context, "train", 6)
        boundaries = Boundaries(context, inputs.x, inputs.y, "l2")
        nearest = boundaries.distances.argmin(dim=1)
        answers = [boundaries.distances, boundaries.steepness, boundaries.slope(nearest)]
        settings = Settings("l2", steps=3, restarts=1)
        radii = torch.full((6,), 2.0).double()
        answers += flip(context, inputs.x, inputs.y, radii, settings)
        for norm in ("l2", "linf"):
            answers.append(first_order_distances(context, inputs, norm))
            answers.append(deepfool(context, inputs, norm, iterations=3).distances)
        return [answer.double() for answer in answers]

    together = found(many(30))
    monkeypatch.setattr("orchestrator.measures.robustness.linearized.GRADIENT_NUMBERS", 100)
    with Largest() as seen:
        one_by_one = found(many(30))
    assert seen.numbers <= 6 * 30 < 6 * 30 * 3
    for one, other in zip(one_by_one, together, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-12)


def test_dead_units_are_infinitely_far_even_one_class_at_a_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    context = many(12)
    first = context.model[0]
    assert isinstance(first, nn.Linear)
    nn.init.constant_(first.bias, -100.0)
    inputs = chosen_inputs(context, "train", 6)
    monkeypatch.setattr("orchestrator.measures.robustness.linearized.GRADIENT_NUMBERS", 1)
    found = Boundaries(context, inputs.x, inputs.y, "l2")
    assert found.steepness.abs().max() == 0
    assert found.distances.isinf().all()
