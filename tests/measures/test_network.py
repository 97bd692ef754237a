"""What a network may do to what it is given, and the precision it is measured in."""

from __future__ import annotations

import warnings
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from orchestrator.errors import MeasureError, ModelError
from orchestrator.measures import MeasureContext, measure_snapshot
from orchestrator.measures.network import in_precision, precision_problem
from orchestrator.study.measure_options.curvature import GradientNormOptions
from orchestrator.study.measure_options.margins import MarginOptions
from orchestrator.study.measure_options.norms import NormsOptions
from orchestrator.training import Loss
from tests.measures.cases import CROSS_ENTROPY, mlp, random_dataset
from tests.measures.odd_networks import DATA_WRITER, WRITERS, Pair, seeded

DATA = random_dataset((4, 3), 10, 3)


class Start(nn.Module):
    """A recurrent network that makes its first hidden state itself, in float32."""

    def __init__(self, like_inputs: bool = False) -> None:
        super().__init__()
        self.layer, self.head = nn.GRU(3, 4, batch_first=True), nn.Linear(4, 3)
        self.like_inputs = like_inputs

    def forward(self, x: Tensor) -> Tensor:
        dtype = x.dtype if self.like_inputs else torch.float32
        return self.head(self.layer(x, torch.zeros(1, len(x), 4, dtype=dtype))[0][:, -1])


class Cast(nn.Module):
    """Logits in float32 whatever comes in."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(12, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x.flatten(1)).float()


def rows(model: nn.Module, *options, dataset=DATA, loss=CROSS_ENTROPY, **settings):
    context = MeasureContext(model, dataset, loss, **settings)
    return list(measure_snapshot(context, {str(i): one for i, one in enumerate(options)}))


@pytest.mark.parametrize("pair", [*WRITERS, DATA_WRITER], ids=lambda pair: pair.name)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_networks_cannot_write_into_the_data(pair: Pair, dtype: torch.dtype) -> None:
    dataset = pair.dataset()
    kept = dataset.train_x.clone()
    context = MeasureContext(pair.models()[0], dataset, CROSS_ENTROPY, dtype=dtype)
    (inputs, _), x = next(context.data.batches("train")), in_precision(dataset.train_x, dtype)
    moved = x.clone().requires_grad_()
    first, second = context.forward(x), context.forward(moved)
    first.sum().backward()
    context.forward(inputs[:1].expand(3, *inputs.shape[1:]))
    assert torch.equal(first, second)
    assert torch.equal(x, kept.to(dtype))
    assert torch.equal(inputs, kept.to(dtype))
    inputs.zero_()  # handed out as a copy
    assert torch.equal(dataset.train_x, kept)


def _assign(x: Tensor) -> Tensor:
    x[:, 1:] = 0.5
    return x


STEPS = {  # how it is written in place, and how not
    "sub": (lambda x: x.sub_(0.2), lambda x: x - 0.2),
    "mul": (lambda x: x.mul_(-1.5), lambda x: x * -1.5),
    "clamp": (lambda x: x.clamp_(-1, 0.7), lambda x: x.clamp(-1, 0.7)),
    "relu": (lambda x: F.leaky_relu(x, 0.3, inplace=True), lambda x: F.leaky_relu(x, 0.3)),
    "tanh": (lambda x: x.tanh_(), torch.tanh),
    "view": (lambda x: x.view(len(x), -1).add_(0.1).view_as(x), lambda x: x + 0.1),
    "assign": (
        _assign, lambda x: torch.cat([x[:, :1], torch.full_like(x[:, 1:], 0.5)], dim=1)
    ),
    "out": (lambda x: torch.add(x, 0.3, out=x) if not x.requires_grad else x.add_(0.3),
            lambda x: x + 0.3),
    "fill": (lambda x: x.masked_fill_(x > 1, 0.9), lambda x: x.masked_fill(x > 1, 0.9)),
    "plain": (lambda x: x * 1.25, lambda x: x * 1.25),
}  # fmt: skip


NEED_THEIR_OUTPUT = {"relu", "tanh"}
"""PyTorch differentiates these in place only if nothing is written over what they return."""


class Steps(nn.Module):
    def __init__(self, names: list[str], in_place: bool) -> None:
        super().__init__()
        self.steps = [STEPS[name][0 if in_place else 1] for name in names]
        self.layer = nn.Linear(12, 3)

    def forward(self, x: Tensor) -> Tensor:
        for step in self.steps:
            x = step(x)
        return self.layer(x.flatten(1))


@settings(max_examples=30)
@given(
    names=st.lists(st.sampled_from(sorted(STEPS.keys() - NEED_THEIR_OUTPUT)), max_size=4),
    last=st.sampled_from(sorted(STEPS)),
    dtype=st.sampled_from([torch.float32, torch.float64]),
)
def test_any_sequence_of_writes_equals_the_same_operations_out_of_place(names, last, dtype) -> None:
    kept = DATA.train_x.clone()
    found = []
    for in_place in (True, False):
        model = seeded(lambda in_place=in_place: Steps([*names, last], in_place))
        context = MeasureContext(model, DATA, CROSS_ENTROPY, dtype=dtype)
        context.shared("layer_network", lambda: None)  # Rules of layers agree up to rounding only.
        x = in_precision(DATA.train_x, dtype).requires_grad_()
        first = torch.autograd.grad(context.forward(x).square().sum(), x, materialize_grads=True)
        again = torch.autograd.grad(context.forward(x).square().sum(), x, materialize_grads=True)
        assert torch.equal(*first, *again)
        found.append((*first, context.gradient("train"), context.logits("test")))
    for one, other in zip(*found, strict=True):
        assert torch.equal(one, other)
    assert torch.equal(DATA.train_x, kept)


def writes(logits: Tensor, labels: Tensor) -> Tensor:
    logits -= 2.0 * F.one_hot(labels, logits.shape[1])
    return F.cross_entropy(logits, labels, reduction="none")


def writes_not(logits: Tensor, labels: Tensor) -> Tensor:
    return writes(logits.clone(), labels)


class Bare:
    """A loss that is no ``Loss``."""

    per_example = staticmethod(writes)


@pytest.mark.parametrize("loss", [Loss(writes), Bare()], ids=["Loss", "custom class"])
def test_a_loss_may_write_into_logits(loss) -> None:
    options = (GradientNormOptions(name="gradient_norm"), MarginOptions(name="margin"))
    model = seeded(Cast)
    found, expected = (
        [(row["measure"], row["split"], row["value"]) for row in rows(model, *options, loss=one)]
        for one in (loss, Loss(writes_not))
    )
    assert found == expected
    context = MeasureContext(model, DATA, loss)
    logits = context.logits("train").clone()
    context.loss_value("train")
    context.gradient("train")
    assert torch.equal(context.logits("train"), logits)


def test_a_network_that_runs_only_in_float32_gets_a_hint() -> None:
    (row,) = rows(Start(), GradientNormOptions(name="gradient_norm"))
    assert row["status"] == "error"
    assert "runs in float32, but not in float64" in row["error"]
    assert "measuring: {dtype: float32}" in row["error"]
    found = rows(Start(), GradientNormOptions(name="gradient_norm"), dtype=torch.float32)
    assert {row["status"] for row in found} == {"ok"}
    assert precision_problem(Start(like_inputs=True), DATA.train_x[:2], torch.float64) is None
    assert precision_problem(Start(), DATA.train_x[:2], torch.float32) is None


def test_a_precision_problem_is_found_even_with_a_stale_weight() -> None:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*weight_norm. is deprecated", FutureWarning)
        model = nn.utils.weight_norm(nn.Linear(3, 3))
    network = nn.Sequential(model, Start()).eval()
    network(DATA.train_x[:2])
    found = precision_problem(network, DATA.train_x[:2], torch.float64)
    assert found is not None
    assert "runs in float32, but not in float64" in found[0]


def test_other_errors_of_the_network_are_raised_unchanged() -> None:
    context = MeasureContext(mlp(5, 3), DATA, CROSS_ENTROPY)
    with pytest.raises(RuntimeError, match="cannot be multiplied"):
        context.logits("train")


def test_rows_state_the_precision_of_the_logits() -> None:
    options = NormsOptions(name="norms"), GradientNormOptions(name="gradient_norm")
    for model, dtype in ((Cast(), "float32"), (Start(like_inputs=True), "float64")):
        assert {row["dtype"] for row in rows(model, *options)} == {dtype}
        assert {row["dtype"] for row in rows(model, *options[::-1])} == {dtype}
    assert {row["dtype"] for row in rows(Start(), *options)} == {"float64"}


def test_integer_inputs_stay_integers() -> None:
    tokens = torch.randint(0, 7, (9, 4))
    assert in_precision(tokens, torch.float64).dtype == torch.int64
    x = DATA.train_x
    assert in_precision(x, torch.float32).data_ptr() != x.data_ptr()
    assert in_precision(x > 0, torch.float64).dtype == torch.float64
    assert in_precision(x * 1j, torch.float64).dtype == torch.complex128
    model = nn.Sequential(nn.Embedding(7, 3), nn.Flatten(), nn.Linear(12, 3))
    dataset = replace(
        DATA, train_x=tokens, train_y=DATA.train_y[:9], test_x=tokens[:5], test_y=DATA.test_y[:5]
    )
    context = MeasureContext(model, dataset, CROSS_ENTROPY)
    assert torch.equal(context.logits("train"), model.double()(tokens))
    assert next(context.data.batches("train"))[0].dtype == torch.int64


def test_overlapping_tensors_are_refused() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 12), nn.Linear(12, 12), nn.Linear(12, 3))
    model[2].weight = nn.Parameter(model[1].weight.detach().t())
    with pytest.raises(ModelError, match=r"1\.weight and 2\.weight are different tensors"):
        MeasureContext(model, DATA, CROSS_ENTROPY)


def test_a_precision_problem_raises_from_forward() -> None:
    context = MeasureContext(Start(), DATA, CROSS_ENTROPY)
    with pytest.raises(MeasureError, match=r"hint: give tensors made in forward\(\)"):
        context.forward(context.data("train")[0].double())
