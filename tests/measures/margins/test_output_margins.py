from __future__ import annotations

from copy import deepcopy
from math import inf, isnan, nan

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from orchestrator.data import Dataset
from orchestrator.errors import MeasureError
from orchestrator.measures import probability_margins, spectral_complexity
from orchestrator.measures.context import MeasureContext
from orchestrator.measures.margins.output_margins import (
    Margin,
    logit_norms,
    margins,
    negative_share,
    summarize,
    total_variation,
)
from orchestrator.study.measure_options.margins import MarginOptions, Normalizer
from tests.measures.cases import CASES, CROSS_ENTROPY, Case, case, mlp, random_dataset

QUOTIENTS: tuple[Normalizer, ...] = (
    *("raw", "spectral", "frobenius", "logit_norm", "total_variation"),
)
ALL = Margin(MarginOptions(name="margin", normalizations=QUOTIENTS))


def found(context: MeasureContext) -> dict[tuple[str, str, str | None], float]:
    values = list(ALL.compute(context))
    by_key = {(v.measure, v.variant, v.split): v.value for v in values}
    assert len(by_key) == len(values)
    return by_key


def of_model(model: nn.Module, data: Dataset | None = None) -> MeasureContext:
    return MeasureContext(model, data or random_dataset((5,), 14, 3), CROSS_ENTROPY)


@st.composite
def logits_and_labels(draw: st.DrawFn) -> tuple[torch.Tensor, torch.Tensor]:
    n, classes = draw(st.integers(1, 8)), draw(st.integers(2, 5))
    number = st.floats(-1e6, 1e6, allow_nan=False, width=32)
    rows = st.lists(number, min_size=classes, max_size=classes)
    logits = draw(st.lists(rows, min_size=n, max_size=n))
    labels = draw(st.lists(st.integers(0, classes - 1), min_size=n, max_size=n))
    return torch.tensor(logits, dtype=torch.float64), torch.tensor(labels)


@settings(deadline=None, max_examples=40)
@given(logits_and_labels())
def test_a_margin_is_the_true_logit_minus_the_largest_other(
    drawn: tuple[torch.Tensor, torch.Tensor],
) -> None:
    logits, labels = drawn
    expected = [
        row[label] - max(z for j, z in enumerate(row) if j != label)
        for row, label in zip(logits.tolist(), labels.tolist(), strict=True)
    ]
    assert margins(logits, labels).tolist() == expected


@settings(deadline=None, max_examples=40)
@given(logits_and_labels(), st.integers(-1000, 1000), st.integers(-8, 8))
def test_margins_are_invariant_to_shifts_and_scale_with_the_logits(
    drawn: tuple[torch.Tensor, torch.Tensor], shift: int, power: int
) -> None:
    logits, labels = drawn
    logits = logits.round()  # integers, so that shifting is exact
    gamma = margins(logits, labels)
    assert torch.equal(margins(logits + shift, labels), gamma)
    scale = 2.0**power
    assert torch.equal(margins(logits * scale, labels), gamma * scale)
    torch.testing.assert_close(
        margins(logits * scale, labels) / logit_norms(logits * scale),
        gamma / logit_norms(logits),
        rtol=1e-12,
        atol=0,
    )
    assert total_variation(logits * scale) == pytest.approx(scale * total_variation(logits))


def test_margins_of_a_confident_network_do_not_saturate() -> None:
    logits = torch.tensor([[60.0, 0.0], [0.0, 1e5]])
    assert torch.softmax(logits, 1)[0, 0] == 1.0
    assert margins(logits, torch.tensor([0, 0])).tolist() == [60.0, -1e5]


@pytest.mark.parametrize("n", [1, 2, 7, 100])
def test_summaries_equal_numpy(n: int) -> None:
    values = torch.randn(n, dtype=torch.float64, generator=torch.Generator().manual_seed(n))
    array = values.numpy()
    assert summarize(values) == pytest.approx(
        {
            "mean": array.mean(),
            "median": np.median(array),
            "p10": np.percentile(array, 10),
            "p25": np.percentile(array, 25),
            "min": array.min(),
        }
    )
    assert negative_share(values) == (array < 0).mean()


def test_percentiles_interpolate_and_keep_their_sign() -> None:
    summary = summarize(torch.tensor([-4.0, -2.0, 0.0, 6.0], dtype=torch.float64))
    assert summary == pytest.approx({"mean": 0, "median": -1, "p10": -3.4, "p25": -2.5, "min": -4})


def test_nonfinite_margins_show_in_every_summary_they_enter() -> None:
    with_nan = torch.tensor([1.0, nan, 2.0], dtype=torch.float64)
    assert all(map(isnan, summarize(with_nan).values()))
    assert isnan(negative_share(with_nan))
    with_inf = torch.tensor([1.0, 2.0, 3.0, 4.0, inf], dtype=torch.float64)
    summary = summarize(with_inf)
    assert summary["mean"] == inf
    assert summary["median"] == 3
    assert summary["min"] == 1


def test_a_single_class_has_no_margin() -> None:
    with pytest.raises(MeasureError, match="the network has 1 output"):
        margins(torch.zeros(2, 1), torch.zeros(2, dtype=torch.int64))


@pytest.mark.parametrize("subject", [c for c in CASES if c.classes > 1], ids=lambda case: case.name)
def test_every_normalization_has_every_summary(subject: Case) -> None:
    values = found(subject.context())
    assert len(values) == 2 * (5 * 5 + 1)
    for split in ("train", "test"):
        raw = margins(subject.context().logits(split), subject.context().data.labels(split))
        assert values["margin_mean", "raw", split] == pytest.approx(raw.mean().item())
        assert values["margin_negative_share", "raw", split] == pytest.approx(
            (raw < 0).double().mean().item()
        )
        for variant in ("spectral", "frobenius", "total_variation"):
            # One positive divisor for all examples: all summaries shrink alike.
            scale = values["margin_mean", variant, split] / values["margin_mean", "raw", split]
            if subject.name == "one_example" and variant == "total_variation":
                assert abs(scale) == inf
                continue
            assert scale > 0
            for name in ("median", "p10", "p25", "min"):
                assert values[f"margin_{name}", variant, split] == pytest.approx(
                    scale * values[f"margin_{name}", "raw", split]
                )


def test_a_single_example_has_no_variation_and_gives_a_reason() -> None:
    values = [v for v in ALL.compute(case("one_example").context()) if v.split == "train"]
    reasons = {v.variant: v.reason for v in values if v.measure == "margin_mean"}
    assert reasons.pop("total_variation") == "the logits are the same for all examples"
    assert set(reasons.values()) == {None}


def test_norms_of_logits_equal_values_worked_out_by_hand() -> None:
    logits = torch.tensor([[1.0, 2.0, 6.0], [4.0, 4.0, 4.0]])
    assert logit_norms(logits).tolist() == pytest.approx([14**0.5, 1e-10])
    torch.testing.assert_close(logit_norms(logits + 100), logit_norms(logits))
    assert total_variation(logits) == pytest.approx((1.5**2 + 1**2 + 1**2) ** 0.5)


def test_equal_logits_have_margin_0_under_the_logit_norm() -> None:
    model = nn.Linear(5, 3)
    nn.init.zeros_(model.weight)
    nn.init.constant_(model.bias, 0.1)
    values = found(of_model(model))
    assert values["margin_mean", "logit_norm", "train"] == 0
    assert isnan(values["margin_mean", "total_variation", "train"])
    assert isnan(values["margin_mean", "spectral", "train"])


def test_a_product_that_overflows_is_not_a_margin_of_0() -> None:
    context = MeasureContext(
        nn.Sequential(*[nn.Linear(1, 1) for _ in range(16)], nn.Linear(1, 2)),
        random_dataset((1,), 4, 2),
        CROSS_ENTROPY,
    )
    with torch.no_grad():
        for parameter in context.parameters.values():
            parameter.fill_(1e20)
    margin = Margin(MarginOptions(name="margin", normalizations=("spectral",)))
    context.shared(("logits", "train"), lambda: torch.tensor([[1.0, 0.0]] * 4))
    context.shared(("logits", "test"), lambda: torch.tensor([[1.0, 0.0]] * 2))
    first = next(iter(margin.compute(context)))
    assert isnan(first.value)
    assert first.reason == "the product of spectral norms is inf"


def test_a_layer_without_a_norm_affects_only_margins_that_need_it() -> None:
    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Linear(5, 3)
            self.gain = nn.Parameter(torch.full((3,), 2.0))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.inner(x) * self.gain

    values = list(ALL.compute(of_model(Scaled())))
    for value in values:
        if value.variant in ("spectral", "frobenius"):
            assert isnan(value.value)
            assert value.reason is not None
            assert "parameter 'gain' of Scaled" in value.reason
        else:
            assert value.reason is None
            assert not isnan(value.value)


# Invariances (science: R is rescaling of layers, S the scale of logits, B batch normalization)


@settings(deadline=None, max_examples=40)
@given(st.randoms(use_true_random=False))
def test_permuting_hidden_units_does_not_change_margins(random: object) -> None:
    model = case("mlp").model()
    before = found(of_model(model))
    order = list(range(6))
    random.shuffle(order)
    with torch.no_grad():
        model[0].weight.copy_(model[0].weight[order].clone())
        model[0].bias.copy_(model[0].bias[order].clone())
        model[2].weight.copy_(model[2].weight[:, order].clone())
    assert found(of_model(model)) == pytest.approx(before, rel=1e-9)


@settings(deadline=None, max_examples=40)
@given(st.floats(0.1, 10))
def test_rescaling_relu_layers_does_not_change_margins(alpha: float) -> None:
    model = case("mlp_without_bias").model().double()
    before = found(of_model(model))
    with torch.no_grad():
        model[0].weight.mul_(alpha)
        model[2].weight.div_(alpha)
    assert found(of_model(model)) == pytest.approx(before, rel=1e-9)


@settings(deadline=None, max_examples=40)
@given(st.floats(0.1, 10))
def test_scaling_the_logits_changes_only_unnormalized_margins(scale: float) -> None:
    model = case("mlp_without_bias").model().double()
    before = found(of_model(model))
    with torch.no_grad():
        model[-1].weight.mul_(scale)
    for (name, variant, split), value in found(of_model(model)).items():
        moves = variant == "raw" and name != "margin_negative_share"
        expected = before[name, variant, split] * (scale if moves else 1)
        assert value == pytest.approx(expected, rel=1e-9), (name, variant)


@pytest.mark.parametrize("alpha", [0.25, 3.0])
def test_scaling_weights_before_batch_normalization_does_not_change_margins(alpha: float) -> None:
    model = case("mlp_batch_norm").model().double()
    model[1].eps = 0.0  # the invariance holds up to this constant
    before = found(of_model(model))
    with torch.no_grad():
        for tensor in (model[0].weight, model[0].bias, model[1].running_mean):
            tensor.mul_(alpha)
        model[1].running_var.mul_(alpha**2)
    assert found(of_model(model)) == pytest.approx(before, rel=1e-9)


def test_neither_duplicated_data_nor_passes_change_margins() -> None:
    data = random_dataset((5,), 7, 3)
    twice = Dataset(
        "twice", data.train_x.repeat(2, 1), data.train_y.repeat(2), data.test_x, data.test_y, 3, "h"
    )
    model = mlp(5, 6, 3)
    once, doubled = found(of_model(model, data)), found(of_model(model, twice))
    for key, value in once.items():
        if key[0] in ("margin_mean", "margin_min", "margin_negative_share"):
            assert doubled[key] == pytest.approx(value, rel=1e-12)
    divided = MeasureContext(model, data, CROSS_ENTROPY, examples_per_pass=3)
    assert found(divided) == pytest.approx(once, rel=1e-12)


def test_the_margin_of_a_linear_classifier_is_its_distance_to_the_boundary() -> None:
    """Two classes: γ / ‖w_y − w_j‖ = |wᵀx + b| / ‖w‖, and ‖w_1 − w_2‖ = √2 ‖W‖₂ for w_1 = −w_2."""
    w = torch.tensor([3.0, 4.0])
    model = nn.Linear(2, 2)
    with torch.no_grad():
        model.weight.copy_(torch.stack([w, -w]))
        model.bias.copy_(torch.tensor([1.0, -1.0]))
    x = torch.tensor([[1.0, 1.0], [0.0, -2.0]])
    data = Dataset("plane", x, torch.tensor([0, 1]), x, torch.tensor([0, 1]), 2, "hash")
    context = of_model(model, data)
    gamma = margins(context.logits("train"), context.data.labels("train"))
    distance = (x @ w + 1).abs() / 5
    torch.testing.assert_close((gamma / 10).float(), distance)
    spectral = found(context)["margin_mean", "spectral", "train"]
    assert spectral == pytest.approx(gamma.mean().item() / (5 * 2**0.5))


@pytest.mark.parametrize("scale", [0.1, 1.0, 30.0])
def test_probability_margins_equal_those_of_the_softmax(scale: float) -> None:
    z = scale * torch.randn(50, 4, generator=torch.Generator().manual_seed(0)).double()
    y = torch.randint(0, 4, (50,), generator=torch.Generator().manual_seed(1))
    p = z.softmax(dim=1)
    own = p.gather(1, y[:, None])[:, 0]
    other = p.scatter(1, y[:, None], -1).amax(dim=1)
    assert torch.allclose(probability_margins(z, y), own - other, atol=1e-12)


def test_nearly_equal_probabilities_keep_their_difference() -> None:
    z = torch.tensor([[1.0, 1.0 + 1e-13, -800.0]], dtype=torch.float64)
    gap = (z[0, 1] - z[0, 0]).item()
    (found,) = probability_margins(z, torch.tensor([0])).tolist()
    assert found == pytest.approx(-gap / 2, rel=1e-9)


def test_margins_over_the_spectral_complexity_are_divided_by_it() -> None:
    subject = case("mlp")
    context = subject.context(initial_state=subject.model(1).state_dict())
    asked = MarginOptions(name="margin", normalizations=("raw", "spectral_complexity"))
    rows = {(r.measure, r.variant, r.split): r.value for r in Margin(asked).compute(context)}
    raw = rows["margin_mean", "raw", "train"]
    found = rows["margin_mean", "spectral_complexity", "train"]
    assert found == pytest.approx(raw / spectral_complexity(context))
    for row in Margin(asked).compute(subject.context()):
        if row.variant == "spectral_complexity":
            assert "before training" in str(row.reason)


def test_margins_over_the_homogeneous_norm_ignore_the_scale_of_parameters() -> None:
    """Scaling all parameters changes nothing; biases leave it undefined, and say so."""
    asked = MarginOptions(name="margin", normalizations=("raw", "homogeneous"))
    model = mlp(5, 6, 4, 3, bias=False)
    scaled = deepcopy(model)
    norm = sum(p.square().sum() for p in model.parameters()).sqrt().item()
    with torch.no_grad():
        for parameter in scaled.parameters():
            parameter.mul_(3)
    first, second = (
        {(r.measure, r.variant, r.split): r.value for r in Margin(asked).compute(of_model(m))}
        for m in (model, scaled)
    )
    raw, normalized = (first["margin_mean", variant, "test"] for variant in asked.normalizations)
    assert normalized == pytest.approx(raw / norm**3, rel=1e-6)
    assert second["margin_mean", "homogeneous", "test"] == pytest.approx(normalized, rel=1e-6)
    for row in Margin(asked).compute(of_model(mlp(5, 6, 3))):
        if row.variant == "homogeneous":
            assert isnan(row.value)
            assert "not homogeneous" in str(row.reason)
