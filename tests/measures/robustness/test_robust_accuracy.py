from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.data.dataset import Split
from orchestrator.measures import MeasureContext
from orchestrator.measures.robustness.attack import Settings, attacked, flip
from orchestrator.measures.robustness.ball import Norm, lengths
from orchestrator.measures.robustness.inputs import chosen_inputs, logits_of
from orchestrator.measures.robustness.robust_accuracy import Robustness
from orchestrator.study.measure_options.robustness import RobustnessOptions
from tests.measures.cases import case
from tests.measures.robustness.cases import exact_distances, half_dead, random_linear

NORMS: tuple[Norm, ...] = ("l2", "linf")


def measured(context: MeasureContext, split: Split = "test", **options: object) -> dict[str, float]:
    asked = RobustnessOptions.model_validate({"name": "robustness", **options})
    rows = Robustness(asked).compute(context)
    return {row.measure: row.value for row in rows if row.split == split}


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("radius", [0.05, 0.3, 1.0])
def test_linear_classifiers_are_robust_up_to_their_distance(norm: Norm, radius: float) -> None:
    context = random_linear()
    exact = exact_distances(context, norm)
    found = measured(context, norm=norm, radius=radius)
    assert found["natural_accuracy"] == (exact > 0).double().mean().item()
    # Points that lie just inside of the ball may be missed.
    assert (exact > radius).double().mean() <= found["robust_accuracy"]
    assert found["robust_accuracy"] <= (exact > 0.97 * radius).double().mean()


@given(st.floats(1e-3, 3.0), st.sampled_from(NORMS), st.integers(1, 3))
@settings(max_examples=25)
def test_robust_accuracy_is_bounded_by_accuracy_and_stability(
    radius: float, norm: Norm, restarts: int
) -> None:
    found = measured(case("tanh").context(), norm=norm, radius=radius, restarts=restarts, steps=5)
    natural, stable, robust = (
        found[name] for name in ("natural_accuracy", "perturbation_stability", "robust_accuracy")
    )
    assert natural + stable - 1 <= robust + 1e-12
    assert robust <= min(natural, stable)


@pytest.mark.parametrize(("norm", "radius"), [("l2", 2.0), ("linf", 0.5)])
def test_an_example_is_robust_exactly_if_correct_and_stable(norm: Norm, radius: float) -> None:
    """Against an attack on the true labels, which misclassified examples have lost already."""
    context, settings = case("cnn").context(), Settings(norm, 10, 2)
    inputs = chosen_inputs(context, "train", 100)
    radii = inputs.x.new_full((len(inputs),), radius)
    found = attacked(context, "train", 100, settings, radius)
    lost, _ = flip(context, inputs.x, inputs.y, radii, settings)
    robust = found.correct & ~lost
    assert torch.equal(robust, found.correct & ~found.flipped)
    assert 0 < robust.sum() < found.correct.sum()
    shares = measured(context, "train", norm=norm, radius=radius, restarts=2, steps=10)
    assert shares["robust_accuracy"] == robust.double().mean().item()


@pytest.mark.parametrize("norm", NORMS)
def test_adversarial_examples_lie_in_the_ball_and_flip_the_class(norm: Norm) -> None:
    context = case("cnn").context()
    radius = 0.5 if norm == "linf" else 2.0
    found = attacked(context, "train", 100, Settings(norm, 10, 3), radius)
    x, _ = context.data("train")
    moved = logits_of(context, x.double() + found.displacements).argmax(dim=1)
    assert found.flipped.any()
    assert (moved[found.flipped] != found.predictions[found.flipped]).all()
    assert (lengths(found.displacements, norm) <= radius * (1 + 1e-12)).all()
    assert (lengths(found.displacements, norm)[~found.flipped] == 0).all()


def test_a_tiny_ball_flips_nothing_and_a_huge_one_everything() -> None:
    context = random_linear()
    assert measured(context, radius=1e-9)["perturbation_stability"] == 1
    assert measured(context, radius=1e3)["perturbation_stability"] == 0


def test_the_attack_is_shared_and_does_not_depend_on_passes() -> None:
    context = case("mlp").context()
    wanted = ("train", 14, Settings("linf", 5, 2), 0.3)
    assert attacked(context, *wanted) is attacked(context, *wanted)  # type: ignore[arg-type]
    small = case("mlp").context(examples_per_pass=4)
    one, other = attacked(context, *wanted), attacked(small, *wanted)  # type: ignore[arg-type]
    assert torch.equal(one.flipped, other.flipped)
    assert torch.allclose(one.displacements, other.displacements)


def test_examples_without_a_gradient_are_counted() -> None:
    """Where every hidden unit is off: those examples cannot be attacked by gradients."""
    context = half_dead()
    (share,) = (
        value.value
        for value in Robustness(RobustnessOptions(name="robustness")).compute(context)
        if value.measure == "robustness_zero_gradients" and value.split == "train"
    )
    assert share == 0.5
