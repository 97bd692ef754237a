from __future__ import annotations

from math import isnan

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.func import functional_call, jacrev

from orchestrator.data import Dataset
from orchestrator.errors import MeasureError
from orchestrator.measures.base import Value
from orchestrator.measures.context import MeasureContext
from orchestrator.measures.curvature.exact_trace import exact_trace
from orchestrator.measures.curvature.fisher import (
    Fisher,
    empirical_fisher_trace,
    fisher_trace,
)
from orchestrator.study.measure_options.curvature import FisherOptions
from tests.measures.cases import CASES, CROSS_ENTROPY, Case, case, mlp, random_dataset
from tests.measures.references import dense_hessian

MEASURE = Fisher(FisherOptions(name="fisher"))


def found(context: MeasureContext) -> dict[str, Value]:
    return {value.measure: value for value in MEASURE.compute(context)}


def numbers(context: MeasureContext) -> dict[str, float]:
    return {name: value.value for name, value in found(context).items()}


def dense_parts(context: MeasureContext) -> tuple[Tensor, Tensor]:
    """Diagonal of each example's own Fisher matrix, and its gradient, shapes ``(n, P)``."""
    x = torch.cat([x for x, _ in context.data.batches("train")])
    theta = {name: p.detach() for name, p in context.parameters.items()}

    def jacobian(one: Tensor) -> Tensor:
        parts = jacrev(lambda values: functional_call(context.model, values, (one[None],))[0])
        return torch.cat([part.flatten(1) for part in parts(theta).values()], dim=1)

    gradients, diagonals = [], []
    for one, label in zip(x, context.data.labels("train"), strict=True):
        j = jacobian(one)
        logits = functional_call(context.model, theta, (one[None],))[0].detach().requires_grad_()
        p = logits.detach().softmax(0)
        diagonals.append((j.T @ (p.diag() - p.outer(p)) @ j).diagonal())
        loss = context.loss.per_example(logits[None], label[None]).sum()
        gradients.append(j.T @ torch.autograd.grad(loss, logits)[0])
    return torch.stack(diagonals), torch.stack(gradients)


def dense(context: MeasureContext) -> dict[str, float]:
    """The same from the dense Fisher matrix and the gradients of all examples."""
    diagonals, g = dense_parts(context)
    square = g.mean(0).square().sum().item()
    noise = (g - g.mean(0)).square().sum(1).mean().item()
    return {
        "fisher_trace": diagonals.sum(1).mean().item(),
        "empirical_fisher_trace": g.square().sum(1).mean().item(),
        "gradient_noise": noise,
        "gradient_noise_scale": noise / square if square else float("nan"),
    }


@pytest.mark.parametrize("name", ["tanh", "cnn", "mse", "tied", "residual_batch_norm"])
def test_traces_have_the_parts_of_each_parameter_and_example(name: str) -> None:
    context = case(name).context()
    diagonals, gradients = dense_parts(context)
    sizes = [parameter.numel() for parameter in context.parameters.values()]
    for trace, entries in (
        (fisher_trace(context), diagonals),
        (empirical_fisher_trace(context), gradients.square()),
    ):
        blocks = [part.sum(1).mean().item() for part in entries.split(sizes, dim=1)]
        assert list(trace.per_parameter) == list(context.parameters)
        assert list(trace.per_parameter.values()) == pytest.approx(blocks, rel=1e-9, abs=1e-14)
        assert trace.per_example.tolist() == pytest.approx(entries.sum(1).tolist(), rel=1e-9)
        assert trace.total == pytest.approx(trace.per_example.mean().item(), rel=1e-12)


class Gain(nn.Module):
    """A plain parameter, a layer used twice and one on rearranged rows."""

    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.randn(4))
        self.twice = nn.Linear(4, 4)
        self.rows = nn.Linear(2, 2)
        self.head = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.twice(self.twice(x * self.gain).tanh()).tanh()
        return self.head(self.rows(x.reshape(-1, 2)).reshape(-1, 4))


class Across(nn.Module):
    """A layer whose input has the examples on its second axis."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(2, 2)
        self.head = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.layer(x.transpose(0, 1)).transpose(0, 1).flatten(1))


OTHERS = (
    Case("gain", Gain, (4,), piecewise_linear=False),
    Case("across", Across, (3, 2), examples=3),
    Case("layer_norm", lambda: nn.Sequential(nn.Linear(5, 4), nn.LayerNorm(4), nn.Linear(4, 3))),
    Case(
        "frozen_layer",
        lambda: nn.Sequential(nn.Linear(5, 4).requires_grad_(False), nn.Tanh(), nn.Linear(4, 3)),
    ),
    Case("two_classes", lambda: mlp(5, 6, 2, activation=nn.SiLU), classes=2),
    Case(
        "smooth_cnn",
        lambda: nn.Sequential(
            nn.Conv2d(1, 2, 3), nn.GELU(), nn.Conv2d(2, 2, 2), nn.Tanh(), nn.Flatten(),
            nn.Linear(18, 3),
        ),
        (1, 6, 6),
    ),
)  # fmt: skip


@pytest.mark.parametrize("subject", [*CASES, *OTHERS], ids=lambda case: case.name)
def test_values_agree_with_the_dense_fisher_matrix(subject: Case) -> None:
    context = subject.context()
    values = numbers(context)
    assert list(values) == [entry.measure for entry in MEASURE.entries]
    expected = dense(context)
    scale = expected["empirical_fisher_trace"]
    # The dense matrix loses digits of probabilities near 1 that the factors keep.
    rel = 1e-6 if subject.name == "saturated" else 1e-9
    assert values["fisher_trace"] == pytest.approx(expected["fisher_trace"], rel=rel, abs=1e-12)
    assert values["empirical_fisher_trace"] == pytest.approx(scale, rel=1e-9)
    assert values["gradient_noise"] == pytest.approx(
        expected["gradient_noise"], rel=1e-9, abs=1e-12 * scale
    )
    assert values["gradient_noise_scale"] == pytest.approx(
        expected["gradient_noise_scale"], rel=1e-8, abs=1e-12, nan_ok=True
    )


def linear_case(bias: bool, classes: int, examples: int) -> MeasureContext:
    data = random_dataset((4,), examples, classes)
    torch.manual_seed(1)
    return MeasureContext(nn.Linear(4, classes, bias=bias), data, CROSS_ENTROPY)


@settings(max_examples=20, deadline=None)
@given(bias=st.booleans(), classes=st.integers(2, 5), examples=st.integers(1, 9))
def test_values_of_linear_softmax_have_closed_forms(
    bias: bool, classes: int, examples: int
) -> None:
    context = linear_case(bias, classes, examples)
    x = torch.cat([x for x, _ in context.data.batches("train")])
    p = context.logits("train").softmax(1)
    sizes = x.square().sum(1) + bias
    expected = ((1 - p.square().sum(1)) * sizes).mean().item()
    values = numbers(context)
    assert values["fisher_trace"] == pytest.approx(expected, rel=1e-12)
    errors = p - nn.functional.one_hot(context.data.labels("train"), classes)
    expected = (errors.square().sum(1) * sizes).mean().item()
    assert values["empirical_fisher_trace"] == pytest.approx(expected, rel=1e-12)
    assert 0 <= values["gradient_noise"] <= values["empirical_fisher_trace"]


@pytest.mark.parametrize("name", ["mlp", "cnn", "label_smoothing"])
def test_the_fisher_trace_of_piecewise_linear_networks_is_the_hessian_trace(name: str) -> None:
    context = case(name).context()
    assert numbers(context)["fisher_trace"] == exact_trace(context).total


@pytest.mark.parametrize("name", ["tanh", "gelu", "tied"])
def test_the_fisher_trace_of_other_networks_is_not_the_hessian_trace(name: str) -> None:
    context = case(name).context()
    hessian = dense_hessian(context).trace().item()
    assert abs(numbers(context)["fisher_trace"] / hessian - 1) > 1e-4


def test_a_single_example_has_no_gradient_noise() -> None:
    values = numbers(Case("one", lambda: mlp(5, 6, 3, activation=nn.Tanh), examples=1).context())
    assert values["gradient_noise"] == values["gradient_noise_scale"] == 0
    assert values["empirical_fisher_trace"] > 0


@pytest.mark.parametrize("name", ["mlp", "tanh", "group_norm", "residual_batch_norm"])
def test_fisher_values_do_not_depend_on_how_examples_are_divided(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = numbers(case(name).context())
    assert numbers(case(name).context(examples_per_pass=3)) == pytest.approx(whole, rel=1e-11)
    monkeypatch.setattr("orchestrator.measures.curvature.example_gradients.NUMBERS_ON_CPU", 1)
    assert numbers(case(name).context()) == pytest.approx(whole, rel=1e-11)


def test_fisher_values_in_single_precision_agree_with_double() -> None:
    whole = numbers(case("tanh").context())
    single = numbers(case("tanh").context(dtype=torch.float32))
    assert single == pytest.approx(whole, rel=1e-4)


def test_the_fisher_trace_needs_no_labels() -> None:
    data = random_dataset((5,), 10, 3)
    other = Dataset(
        "other", data.train_x, (data.train_y + 1) % 3, data.test_x, data.test_y, 3, "hash"
    )
    model = case("tanh").model()
    first, second = (numbers(MeasureContext(model, d, CROSS_ENTROPY)) for d in (data, other))
    assert first["fisher_trace"] == pytest.approx(second["fisher_trace"], rel=1e-12)
    assert first["empirical_fisher_trace"] != pytest.approx(second["empirical_fisher_trace"])


def test_the_noise_scale_is_undefined_without_a_mean_gradient() -> None:
    """Two equal examples with different labels, at a network that tells nothing apart."""
    x, y = torch.ones(2, 3), torch.tensor([0, 1])
    model = nn.Linear(3, 2)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    values = found(MeasureContext(model, Dataset("two", x, y, x, y, 2, "hash"), CROSS_ENTROPY))
    assert values["gradient_noise"].value == pytest.approx(2.0)  # ‖p − e‖² (‖x‖² + 1)
    assert isnan(values["gradient_noise_scale"].value)
    assert "mean gradient is zero" in str(values["gradient_noise_scale"].reason)


def test_a_network_that_diverged_gives_a_reason() -> None:
    for name in ("tanh", "tied"):
        model = case(name).model()
        with torch.no_grad():
            next(model.parameters())[0, 0] = float("nan")
        values = found(MeasureContext(model, random_dataset((5,), 4, 3), CROSS_ENTROPY))
        assert all(isnan(value.value) for value in values.values())
        assert all("not finite" in str(value.reason) for value in values.values())


class CenteredByBatch(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x - x.mean(0))


def test_networks_that_mix_examples_are_refused() -> None:
    by_batch = nn.Sequential(
        nn.Linear(5, 4), nn.BatchNorm1d(4, track_running_stats=False), nn.Linear(4, 3)
    )
    for model in (CenteredByBatch(), by_batch):
        context = MeasureContext(model, random_dataset((5,), 6, 3), CROSS_ENTROPY)
        with pytest.raises(MeasureError, match="depend on the other examples"):
            found(context)


class Branching(nn.Module):
    """Decides by the value of an example, which vmap cannot follow."""

    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(5))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gain if x.sum().item() > 0 else x * self.gain.square()


def test_networks_that_branch_on_the_value_of_an_example_are_measured() -> None:
    context = MeasureContext(Branching(), random_dataset((5,), 6, 5), CROSS_ENTROPY)
    x, y = next(context.data.batches("train"))
    squares = [
        torch.autograd.grad(
            context.loss.per_example(context.forward(one[None]), label[None]).sum(),
            context.parameters["gain"],
        )[0]
        .square()
        .sum()
        for one, label in zip(x, y, strict=True)
    ]
    expected = torch.stack(squares).mean().item()
    assert numbers(context)["empirical_fisher_trace"] == pytest.approx(expected)


def test_measuring_fisher_leaves_the_network_unchanged() -> None:
    context = case("group_norm").context()
    found(context)
    assert all(p.grad is None for p in context.parameters.values())
    assert not any(layer._forward_hooks for layer in context.model.modules())
