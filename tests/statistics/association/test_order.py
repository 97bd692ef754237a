"""Equal rows have equal intervals, whatever order they come in."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from orchestrator import statistics as st
from orchestrator.statistics.association.order import in_order, ordered_codes, row_order
from orchestrator.statistics.matched.times import at_last_common_time, compare_matched_times

SEEDS, SNAPSHOTS = 3, 4


def study() -> dict[str, np.ndarray]:
    """Four conditions of a 2 × 2 grid, three seeds, four snapshots each."""
    generator = np.random.default_rng(7)
    rows = [
        (width, batch, seed, step)
        for width in (8, 16)
        for batch in (32, 128)
        for seed in range(SEEDS)
        for step in range(1, SNAPSHOTS + 1)
    ]
    width, batch, seed, step = map(np.array, zip(*rows, strict=True))
    n = len(rows)
    x = generator.normal(size=n) + 0.2 * step + 0.01 * batch
    return {
        "width": width,
        "batch": batch,
        "seed": seed,
        "step": step.astype(float),
        "epoch": step * batch / 64,
        "x": x,
        "y": -0.5 * x + generator.normal(size=n),
        "z": generator.normal(size=n),
        "trial": np.array([f"t{(7 * w + 13 * b + 5 * s) % 101}" for w, b, s, _ in rows]),
        "condition": np.array([f"c{w}{b}" for w, b, _, _ in rows]),
        "loss": np.round(1 / step, 3),
        "error": np.full(n, 0.05) + 0.001 * step,
    }


def groups(d: dict[str, np.ndarray]) -> st.Groups:
    return st.Groups.of(d["trial"].tolist(), d["condition"].tolist())


def final(d: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name: column[d["step"] == SNAPSHOTS] for name, column in d.items()}


def grid(d: dict[str, np.ndarray]) -> st.Grid:
    return st.Grid.of({"width": d["width"].tolist(), "batch": d["batch"].tolist()})


def batch_design(d: dict[str, np.ndarray]) -> st.Design:
    return st.Design.of({"batch": d["batch"].tolist()}, groups(d))


def matched(found: Any) -> Any:
    return st.stratified_correlation(
        found.columns["x"], found.columns["y"], found.stratum, found.groups, "kendall"
    )


def of_trained(function: Callable[..., Any]) -> Callable[[dict[str, np.ndarray]], Any]:
    return lambda d: function(final(d))


STATISTICS: dict[str, Callable[[dict[str, np.ndarray]], Any]] = {
    "pearson": lambda d: st.pearson(d["x"], d["y"], groups(d)),
    "partial_pearson": lambda d: st.partial_pearson(d["x"], d["y"], [d["z"]], groups(d)),
    "partial_correlation": lambda d: st.partial_correlation(
        d["x"], d["y"], {"z": d["z"]}, groups(d)
    ),
    "within_pearson": lambda d: st.within_pearson(d["x"], d["y"], groups(d)),
    "spearman": lambda d: st.spearman(d["x"], d["y"], groups(d)),
    "kendall": lambda d: st.kendall(d["x"], d["y"], groups(d)),
    "mean": lambda d: st.mean(d["x"], groups(d)),
    "median": lambda d: st.median(d["x"], groups(d)),
    "matched_stages": lambda d: matched(
        st.at_matched_stages({"x": d["x"], "y": d["y"]}, d["loss"], groups(d))
    ),
    "matched_times": lambda d: matched(
        st.at_matched_times({"x": d["x"], "y": d["y"]}, d["step"], groups(d))
    ),
    "compare_matched_times": lambda d: compare_matched_times(
        d["x"], d["step"], d["epoch"], d["batch"].tolist(), groups(d)
    ),
    "at_last_common_time": lambda d: at_last_common_time(
        d["x"], d["step"], d["batch"].tolist(), groups(d), np.zeros(groups(d).trials, dtype=int)
    ).value.tolist(),
    "compare_interventions": lambda d: st.compare_interventions(
        d["x"], d["y"], ["sam" if b > 64 else "sgd" for b in d["batch"]], "sgd", groups(d)
    ),
    "intervention_effects": lambda d: st.intervention_effects(
        d["x"], d["y"], ["sam" if b > 64 else "sgd" for b in d["batch"]], "sgd", groups(d)
    ),
    "factor_share": of_trained(lambda d: st.factor_share(d["x"], d["batch"].tolist(), groups(d))),
    "compare_predictors": of_trained(
        lambda d: st.compare_predictors(d["x"], d["z"], d["y"], groups(d))
    ),
    "granulated": of_trained(
        lambda d: st.granulated_kendall(d["x"], d["y"], grid(d), d["seed"].tolist())
    ),
    "granulated_by_seed": of_trained(
        lambda d: st.granulated_kendall(d["x"], d["y"], grid(d), d["seed"].tolist(), "axis")
    ),
    "compare_granulated": of_trained(
        lambda d: st.compare_granulated(d["x"], d["z"], d["y"], grid(d), d["seed"].tolist())
    ),
    "within_kendall": of_trained(lambda d: st.within_kendall(d["x"], d["y"], groups(d))),
    "sign_error": of_trained(
        lambda d: st.sign_error(d["x"], d["y"], grid(d), None, fewest_effective=1)
    ),
    "conditional_information": of_trained(
        lambda d: st.conditional_information(d["x"], d["y"], grid(d), permutations=50)
    ),
    "noise_ceiling": of_trained(lambda d: st.noise_ceiling(d["x"], d["condition"].tolist())),
    "flatness_tracks_margin": lambda d: st.flatness_tracks_margin(
        np.exp(d["y"]), d["x"], d["loss"], d["error"], groups(d), design=batch_design(d)
    ),
    "margin_is_cheaper": lambda d: st.margin_is_cheaper(
        np.exp(d["y"]), np.exp(d["z"]), groups(d), ["exact"] * len(d["x"])
    ),
    "flatness_depends_on_parametrization": of_trained(
        lambda d: st.flatness_depends_on_parametrization(
            np.exp(d["y"]), np.exp(d["z"]), groups(d), {}
        )
    ),
    "margin_predicts_gap": of_trained(
        lambda d: st.margin_predicts_gap_at_least_as_well(
            d["x"], np.exp(d["z"]), {"loss gap": d["y"]}, groups(d)
        )
    ),
    "flatness_is_an_epiphenomenon": lambda d: st.flatness_is_an_epiphenomenon(
        np.exp(d["y"]),
        d["x"],
        d["error"],
        ["sam" if b > 64 else "sgd" for b in d["batch"]],
        "sgd",
        groups(d),
    ),
    "large_batch_needs_time": lambda d: st.large_batch_needs_time(
        d["x"],
        {"loss gap": d["y"]},
        d["step"],
        d["epoch"],
        d["batch"].astype(float).tolist(),
        groups(d),
    ),
}


def leaves(found: Any) -> list[Any]:
    """All that an answer says, number by number."""
    if dataclasses.is_dataclass(found):
        return [leaf for f in dataclasses.fields(found) for leaf in leaves(getattr(found, f.name))]
    if isinstance(found, np.ndarray):
        return leaves(found.tolist())
    if isinstance(found, dict):
        return [leaf for item in sorted(found.items(), key=repr) for leaf in leaves(item)]
    if isinstance(found, list | tuple):
        return [leaf for one in found for leaf in leaves(one)]
    return [found]


@pytest.mark.parametrize("name", STATISTICS)
def test_shuffled_rows_give_the_same_result(name: str) -> None:
    rows = study()
    expected = leaves(STATISTICS[name](rows))
    assert any(isinstance(leaf, float) for leaf in expected)
    for seed in range(3):
        order = np.random.default_rng(seed).permutation(len(rows["x"]))
        found = leaves(STATISTICS[name]({key: column[order] for key, column in rows.items()}))
        for one, other in zip(found, expected, strict=True):
            if isinstance(other, float) and not math.isnan(other):
                assert one == pytest.approx(other, rel=1e-9, abs=1e-12)
            elif not isinstance(other, float):
                assert one == other


def test_labels_have_a_canonical_order() -> None:
    assert in_order(["b", "a", "b"]) == ["a", "b"]
    assert in_order([10, 2, 1.5]) == [1.5, 2, 10]
    assert in_order([None, "a", 3]) == in_order([3, "a", None])
    count, codes = ordered_codes(["b", "a", "b"])
    assert (count, codes.tolist()) == (2, [1, 0, 1])
    assert row_order([2, 1, 1], ["x", "z", "y"]).tolist() == [2, 1, 0]
