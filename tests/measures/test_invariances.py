"""What the catalog says of each measure's invariances, tried on a network of two hidden layers."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import pytest
from torch import nn

from orchestrator.measures import catalog, measure_snapshot
from orchestrator.measures.reparametrization import rescaled, with_scaled_logits
from orchestrator.training import UpdateRule
from tests.measures.cases import case
from tests.measures.requested import light_requests, name_in, numbers_in
from tests.measures.sharpness.accurate import accurate_context

# Values that this network doesn't have, or that are the same for it whatever is changed: no
# convolution, no tail of margins, no example misclassified or near the boundary, a valley wider
# than is looked at, chains too short to converge; and one that is of the training alone.
SAME_HERE = {
    *("convolution_norm", "margin_negative_share", "near_boundary_share", "loss_slice_width"),
    *("local_entropy", "stability_threshold"),
    *(f"margin_population_minimum{end}" for end in ("", "_low", "_high")),
}

Found = dict[str, dict[tuple[Any, ...], list[float]]]


def measured(model: nn.Module) -> Found:
    """The numbers of every measure and curve, by variant and split."""
    context = accurate_context(
        model,
        initial_state=case("mlp_without_bias").model(7).state_dict(),
        update_rule=UpdateRule(0.1),
    )
    found: Found = defaultdict(dict)
    for row in measure_snapshot(context, light_requests()):
        found[name_in(row)][row["variant"], row["split"]] = numbers_in(row)
    return found


@pytest.fixture(scope="module")
def changes() -> dict[str, tuple[Found, Found]]:
    """Everything before and after each change."""
    model = case("mlp_without_bias").model().double()
    inputs = case("mlp_without_bias").dataset().train_x
    other, layers = rescaled(model, inputs, 4.0)  # Of powers of two products are exact.
    scaled = with_scaled_logits(model, inputs, 2.0)
    assert layers == 2
    assert scaled is not None
    before = measured(model)
    return {
        "layer rescaling": (before, measured(other)),
        "logit scale": (before, measured(scaled)),
    }


@pytest.mark.parametrize("change", ["layer rescaling", "logit scale"])
@pytest.mark.parametrize("entry", catalog(), ids=lambda entry: entry.measure)
def test_the_catalog_states_which_measures_change(
    entry: Any, change: str, changes: dict[str, tuple[Found, Found]]
) -> None:
    before, after = (found[entry.measure] for found in changes[change])
    assert set(before) == set(after)
    moved = {
        key
        for key, numbers in before.items()
        if after[key] != pytest.approx(numbers, rel=1e-6, abs=1e-9, nan_ok=True)
    }
    if change not in entry.invariances:
        assert moved or entry.measure in SAME_HERE
    elif f"{change} (" not in entry.invariances:  # otherwise on a condition
        assert not moved
