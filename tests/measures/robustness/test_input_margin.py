from __future__ import annotations

from math import inf, isnan

import pytest
import torch
from torch import nn

from orchestrator.errors import MeasureError
from orchestrator.measures import MeasureContext, chosen_inputs, first_order_distances
from orchestrator.measures.reparametrization import rescaled, with_scaled_logits
from orchestrator.measures.robustness.ball import Norm
from orchestrator.measures.robustness.input_margin import InputMargin
from orchestrator.study.measure_options.robustness import InputMarginOptions
from tests.measures.cases import case
from tests.measures.robustness.cases import (
    RUNNER_UP_BIAS,
    RUNNER_UP_WEIGHT,
    context_of,
    exact_distances,
    half_dead,
    linear,
    random_linear,
)

NORMS: tuple[Norm, ...] = ("l2", "linf")


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("passes", [1000, 7])
def test_the_first_order_distance_is_exact_for_linear_classifiers(norm: Norm, passes: int) -> None:
    context = random_linear(examples_per_pass=passes)
    found = first_order_distances(context, chosen_inputs(context, "train", 100), norm)
    assert torch.allclose(found, exact_distances(context, norm), rtol=1e-12)
    assert (found < 0).any()
    assert (found > 0).any()


def test_the_nearest_class_need_not_be_the_runner_up() -> None:
    model = linear(RUNNER_UP_WEIGHT, RUNNER_UP_BIAS)
    context = context_of(model, torch.zeros(1, 2), torch.tensor([0]))
    (found,) = first_order_distances(context, chosen_inputs(context, "train", 1), "l2").tolist()
    # Class 1 is the runner-up, 0.5 / 0.2 away; class 2 is at 1 / 10.
    assert found == pytest.approx(0.1)


@pytest.mark.parametrize("name", ["tanh", "cnn", "residual_batch_norm"])
@pytest.mark.parametrize("norm", NORMS)
def test_distances_equal_gradients_of_single_examples(name: str, norm: Norm) -> None:
    context = case(name).context()
    found = first_order_distances(context, chosen_inputs(context, "train", 5), norm)
    inputs = chosen_inputs(context, "train", 5)
    for i in range(5):
        x, y = inputs.x[i : i + 1], int(inputs.y[i])
        jacobian = torch.func.jacrev(context.forward)(x)[0].flatten(1).detach()
        z = context.forward(x)[0].detach()
        ratios = [
            float((z[y] - z[j]) / (jacobian[y] - jacobian[j]).norm(p=2 if norm == "l2" else 1))
            for j in range(3)
            if j != y
        ]
        assert found[i].item() == pytest.approx(min(ratios))


def test_rescaled_layers_and_scaled_logits_do_not_change_distances() -> None:
    subject = case("mlp")
    model, data = subject.model().double(), subject.dataset()
    other, layers = rescaled(model, data.train_x, 3.0)
    scaled = with_scaled_logits(model, data.train_x, 2.0)
    assert layers > 0
    assert scaled is not None
    found = []
    for network in (model, other, scaled):
        context = MeasureContext(network, data, subject.loss)
        found.append(first_order_distances(context, chosen_inputs(context, "train", 50), "l2"))
    assert torch.allclose(found[0], found[1], rtol=1e-9)
    assert torch.allclose(found[0], found[2], rtol=1e-9)


def test_dead_regions_are_counted_and_never_averaged() -> None:
    context = half_dead()
    options = InputMarginOptions(name="input_margin", norms=("l2",))
    rows = {v.measure: v for v in InputMargin(options).compute(context) if v.split == "train"}
    value = {name.removeprefix("input_margin_"): row.value for name, row in rows.items()}
    assert value["infinite_share"] == 0.5
    assert value["p10"] == pytest.approx(0.2)
    assert value["p25"] == pytest.approx(0.2)
    assert value["median"] == pytest.approx(0.4)
    assert value["min"] == pytest.approx(0.2)
    assert isnan(value["mean"])
    assert rows["input_margin_mean"].reason == "2 of 4 correctly classified examples have no bound"
    assert value["misclassified_share"] == 0


def test_a_constant_network_is_infinitely_far_or_on_the_boundary() -> None:
    x, y = torch.randn(3, 2, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 1, 2])
    model = linear(torch.zeros(3, 2), torch.tensor([1.0, 1.0, 0.0]))
    context = context_of(model, x, y)
    found = first_order_distances(context, chosen_inputs(context, "train", 3), "l2")
    assert found.tolist() == [0, 0, -inf]


def test_data_of_one_class_are_refused() -> None:
    with pytest.raises(MeasureError, match="the data have 1 class, expected at least 2"):
        context_of(nn.Linear(2, 1), torch.ones(2, 2), torch.zeros(2, dtype=torch.int64))


def test_the_subset_is_fixed_and_stratified() -> None:
    context = random_linear(n=90)
    few = chosen_inputs(context, "train", 30)
    assert len(few) == 30
    again = chosen_inputs(random_linear(n=90, examples_per_pass=3), "train", 30)
    assert torch.equal(few.x, again.x)
    shares = torch.bincount(context.data.labels("train")) / 3
    assert (torch.bincount(few.y) - shares).abs().max() < 1
