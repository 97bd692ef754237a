"""A network written oddly is measured as the same network written plainly."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.func import functional_call

from orchestrator.measures import MeasureContext, measure_snapshot
from orchestrator.measures.curvature.gauss_newton import gauss_newton
from orchestrator.study.measure_options.curvature import HessianTraceOptions
from orchestrator.study.spec import Study
from orchestrator.training import Loss
from tests.measures.cases import CROSS_ENTROPY
from tests.measures.odd_networks import DATA_WRITER, PAIRS, SHARERS, Pair, some

# One of each way of using a network: passes, graphs, vmap, moved parameters, moved inputs.
MEASURES: list[Any] = [
    {"sam_sharpness": {"rho": 0.3}},
    {"margin": {"normalizations": ["raw", "logit_norm"]}},
    "gradient_norm",
    "fisher_rao_norm",
    "ggn_trace",
    "fisher",
    {"hessian_trace": {"method": "hutchinson", "probes": 4}},
    {"average_sharpness": {"draws": 4}},
    {"input_margin": {"examples": 4, "norms": ["l2"]}},
    {"local_lipschitz": {"examples": 4, "steps": 1}},
    {"robustness": {"examples": 4, "steps": 1, "restarts": 2}},
    {"separation": {"examples": 4}},
    "confidence",
    "gradient_norm",
]
PER_EXAMPLE = ("ggn_trace", "fisher")
OF_INPUTS = ("input_margin", "local_lipschitz", "robust", "separation")


def values(model: nn.Module, pair: Pair) -> dict[Any, tuple[str, float | None, str | None]]:
    study = Study.model_validate(
        {
            "study": "odd",
            "data": "digits",
            "model": "mlp",
            "training": {
                "loss": "cross_entropy",
                "batch_size": 8,
                "optimizer": {"name": "sgd", "learning_rate": 0.1},
                "stop": {"epochs": 1},
            },
            "measures": MEASURES,
        }
    )
    context = MeasureContext(model, pair.dataset(8), CROSS_ENTROPY)
    return {
        (row["request"], row["measure"], row["variant"], row["split"]): (
            row["status"],
            row["value"],
            row["error"],
        )
        for row in measure_snapshot(context, study.requests)
        if "measure" in row
    }


@pytest.mark.parametrize("pair", some([*PAIRS, DATA_WRITER]))
def test_values_equal_those_of_the_same_network_written_plainly(pair: Pair) -> None:
    odd, plain = (values(model, pair) for model in pair.models())
    assert odd.keys() == plain.keys()
    for key, (status, value, error) in odd.items():
        assert (status, error) == (plain[key][0], plain[key][2]), key
        if value is not None:
            assert value == pytest.approx(plain[key][1], rel=1e-8, abs=1e-12, nan_ok=True), key
        if not (pair.vocabulary and key[1].startswith((*OF_INPUTS, *PER_EXAMPLE))):
            assert status == "ok" or (value is not None and not math.isfinite(value)), (key, error)


@pytest.mark.parametrize("pair", some([pair for pair in SHARERS if not pair.vocabulary]))
def test_products_equal_those_over_shared_parameters(pair: Pair) -> None:
    odd, plain = pair.models()
    context = MeasureContext(odd, pair.dataset(), CROSS_ENTROPY)
    found = context.hessian @ torch.eye(context.n_parameters, dtype=torch.float64)
    x, y = pair.dataset().split("train")
    plain = plain.double().eval()
    shapes = [p.shape for p in plain.parameters()]
    names = [name for name, _ in plain.named_parameters()]

    def loss(flat: Tensor) -> Tensor:
        parts = flat.split([shape.numel() for shape in shapes])
        values = {n: p.view(s) for n, p, s in zip(names, parts, shapes, strict=True)}
        return F.cross_entropy(functional_call(plain, values, (x.double(),)), y)

    flat = torch.cat([p.detach().flatten() for p in plain.parameters()])
    expected = torch.autograd.functional.hessian(loss, flat)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("pair", SHARERS, ids=lambda pair: pair.name)
def test_moving_parameters_leaves_the_network_unchanged(pair: Pair) -> None:
    context = MeasureContext(pair.models()[0], pair.dataset(), CROSS_ENTROPY)
    before = context.loss_at(torch.zeros(context.n_parameters, dtype=torch.float64))
    moved = context.loss_at(context.probe(0))
    assert moved != before
    assert context.loss_at(torch.zeros(context.n_parameters, dtype=torch.float64)) == before
    assert context.loss_value("train") == pytest.approx(before, rel=1e-12)
    for name, parameter in context.model.named_parameters():
        assert parameter is context.parameters[name]


def test_compiled_functions_have_correct_second_derivatives() -> None:
    class Decorated(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer, self.head = nn.Linear(5, 4), nn.Linear(4, 3)

        @torch.compile(backend="aot_eager")
        def forward(self, x: Tensor) -> Tensor:
            return self.head(torch.tanh(self.layer(x)))

    @torch.compile(backend="aot_eager")
    def loss(logits: Tensor, labels: Tensor) -> Tensor:
        return F.cross_entropy(logits, labels, reduction="none")

    dataset = SHARERS[0].dataset()
    plain = nn.Sequential(nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 3))
    model = Decorated()
    model.load_state_dict(dict(zip(model.state_dict(), plain.state_dict().values(), strict=True)))
    contexts = [
        MeasureContext(model, dataset, Loss(loss)),
        MeasureContext(plain, dataset, CROSS_ENTROPY),
    ]
    request = {"trace": HessianTraceOptions(name="hessian_trace", method="hutchinson", probes=4)}
    found, expected = (list(measure_snapshot(context, request)) for context in contexts)
    assert [row["value"] for row in found] == pytest.approx([row["value"] for row in expected])


class OnlyBias(nn.Module):
    """A linear layer with the weight of another, which it does not register."""

    def __init__(self, owner: nn.Linear) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.linspace(-1, 1, 5))
        self.owner = (owner,)

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.owner[0].weight, self.bias)


class Calls(nn.Module):
    """Modules that are registered once and called in some order."""

    def __init__(self, modules: list[nn.Module]) -> None:
        super().__init__()
        self.order = [list(dict.fromkeys(modules)).index(module) for module in modules]
        self.parts = nn.ModuleList(dict.fromkeys(modules))

    def forward(self, x: Tensor) -> Tensor:
        for index in self.order:
            x = self.parts[index](x)
        return x


def _parts(tied: bool, plain: bool) -> list[nn.Module]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        first, head, norm = nn.Linear(5, 5), nn.Linear(5, 3), nn.LayerNorm(5)
        second = nn.Linear(5, 5)
    if tied and plain:
        return [first, OnlyBias(first), nn.PReLU(), norm, nn.Tanh(), head]
    if tied:
        second.weight = first.weight
    with torch.no_grad():
        second.bias.copy_(torch.linspace(-1, 1, 5))
    return [first, second, nn.PReLU(), norm, nn.Tanh(), head]


@settings(max_examples=15)
@given(order=st.lists(st.integers(0, 4), min_size=1, max_size=6), tied=st.booleans())
def test_shared_layers_in_any_order_have_correct_derivatives(order: list[int], tied: bool) -> None:
    order = [0, *order, 5]
    odd, plain = (_parts(tied, plain) for plain in (False, True))
    dataset = SHARERS[0].dataset(6)
    found = []
    for model in (nn.Sequential(*[odd[i] for i in order]), Calls([plain[i] for i in order])):
        context = MeasureContext(model, dataset, CROSS_ENTROPY)
        probe = context.probe(0, "gaussian")
        found.append(
            [
                torch.tensor(context.loss_at(0.3 * probe)),
                context.hessian_vector_product(probe),
                gauss_newton(context) @ probe,
                context.gradient("test"),
                context.logits("train"),
            ]
        )
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-12)
