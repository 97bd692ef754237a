from __future__ import annotations

from math import isnan

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.func import functional_call, jacrev

from orchestrator.data import Dataset
from orchestrator.measures import measure_snapshot
from orchestrator.measures.context import MeasureContext
from orchestrator.measures.curvature.fisher_rao import FisherRaoNorm, radial_derivative
from orchestrator.study.measure_options.curvature import FisherRaoNormOptions
from tests.measures.cases import CASES, CROSS_ENTROPY, Case, case, mlp, random_dataset

MEASURE = FisherRaoNorm(FisherRaoNormOptions(name="fisher_rao_norm"))


def found(context: MeasureContext) -> float:
    (value,) = MEASURE.compute(context)
    assert (value.measure, value.split, value.variant) == ("fisher_rao_norm", "train", "")
    return value.value


def inputs(context: MeasureContext) -> Tensor:
    return torch.cat([x for x, _ in context.data.batches("train")])


def dense(context: MeasureContext) -> float:
    """θᵀFθ with the whole Fisher matrix."""
    theta = {name: p.detach() for name, p in context.parameters.items()}
    jacobians = jacrev(lambda values: functional_call(context.model, values, (inputs(context),)))
    j = torch.cat([part.flatten(2) for part in jacobians(theta).values()], dim=2)
    p = context.logits("train").softmax(1)
    fisher = torch.diag_embed(p) - p[:, :, None] * p[:, None, :]
    matrix = (j.mT @ fisher @ j).mean(0)
    vector = context.parameter_vector()
    return (vector @ matrix @ vector).item()


@pytest.mark.parametrize(
    "subject",
    [*CASES, Case("two_classes", lambda: mlp(5, 6, 2, activation=nn.Tanh), classes=2)],
    ids=lambda case: case.name,
)
def test_the_norm_agrees_with_the_dense_fisher_matrix(subject: Case) -> None:
    context = subject.context()
    rel = 1e-6 if subject.name == "saturated" else 1e-10
    assert found(context) == pytest.approx(dense(context), rel=rel, abs=1e-14)


def without_bias() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 3, 3, padding=1, bias=False),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(3, 4, 2, bias=False),
        nn.LeakyReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(4, 3, bias=False),
    )


@pytest.mark.parametrize(
    ("subject", "layers"),
    [
        (Case("linear", lambda: nn.Linear(5, 3, bias=False)), 1),
        (case("mlp_without_bias"), 3),
        (Case("cnn_without_bias", without_bias, (1, 6, 6)), 3),
    ],
    ids=["linear", "mlp", "cnn"],
)
def test_the_norm_of_homogeneous_networks_has_a_closed_form(subject: Case, layers: int) -> None:
    context = subject.context()
    z = context.logits("train")
    torch.testing.assert_close(
        radial_derivative(context, inputs(context)), layers * z, rtol=1e-12, atol=1e-13
    )
    p = z.softmax(1)
    variances = (p * z.square()).sum(1) - (p * z).sum(1).square()
    assert found(context) == pytest.approx(layers**2 * variances.mean().item(), rel=1e-11)


@settings(max_examples=20, deadline=None)
@given(
    factors=st.lists(st.floats(0.1, 10), min_size=6, max_size=6),
    seed=st.integers(0, 5),
)
def test_rescaling_nodes_does_not_change_the_norm(factors: list[float], seed: int) -> None:
    model = Case("mlp", lambda: mlp(5, 6, 3)).model(seed).double()
    data = random_dataset((5,), 7, 3, seed)
    before = found(MeasureContext(model, data, CROSS_ENTROPY))
    scale = torch.tensor(factors, dtype=torch.float64)
    first, last = model.get_submodule("0"), model.get_submodule("2")
    with torch.no_grad():
        first.get_parameter("weight").mul_(scale[:, None])
        first.get_parameter("bias").mul_(scale)
        last.get_parameter("weight").div_(scale)
    after = found(MeasureContext(model, data, CROSS_ENTROPY))
    assert after == pytest.approx(before, rel=1e-9)


@pytest.mark.parametrize("name", ["mlp", "tanh", "residual_batch_norm"])
def test_the_norm_does_not_depend_on_how_examples_are_divided(name: str) -> None:
    whole = found(case(name).context())
    assert found(case(name).context(examples_per_pass=3)) == pytest.approx(whole, rel=1e-12)
    assert found(case(name).context(dtype=torch.float32)) == pytest.approx(whole, rel=1e-4)


@pytest.mark.parametrize("margin", [1.0, 30.0, 60.0, 300.0])
def test_a_large_margin_loses_no_digits(margin: float) -> None:
    """Two classes: p (1 − p) u², with u the margin itself for one bias-free layer."""
    model = nn.Linear(1, 2, bias=False).double()
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[margin], [0.0]]))
    x, y = torch.ones(1, 1), torch.tensor([0])
    context = MeasureContext(model, Dataset("one", x, y, x, y, 2, "hash"), CROSS_ENTROPY)
    u = torch.tensor(margin, dtype=torch.float64)
    expected = (u.sigmoid() * (-u).sigmoid() * u.square()).item()
    assert found(context) == pytest.approx(expected, rel=1e-12)


def test_logits_that_do_not_depend_on_parameters_have_norm_zero() -> None:
    class Constant(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.unused = nn.Linear(3, 3)

        def forward(self, x: Tensor) -> Tensor:
            return x

    assert found(MeasureContext(Constant(), random_dataset((3,), 4, 3), CROSS_ENTROPY)) == 0


def test_a_network_that_diverged_gives_a_reason() -> None:
    model = case("mlp").model()
    with torch.no_grad():
        next(model.parameters())[0, 0] = float("nan")
    (value,) = MEASURE.compute(MeasureContext(model, random_dataset((5,), 4, 3), CROSS_ENTROPY))
    assert isnan(value.value)
    assert "not finite" in str(value.reason)


class Hidden(nn.Module):
    """Its first layer moves the logits, but autograd does not see it."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.head = nn.Linear(5, 4), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            x = self.first(x).tanh()
        logits: Tensor = self.head(x)
        return logits


def test_a_network_that_hides_its_gradients_has_no_norm() -> None:
    context = MeasureContext(Hidden(), random_dataset((5,), 8, 3), CROSS_ENTROPY)
    options = {"norm": FisherRaoNormOptions(name="fisher_rao_norm")}
    (row,) = measure_snapshot(context, options)
    assert row["status"] == "error"
    assert "parameter_gradients" in row["error"]
