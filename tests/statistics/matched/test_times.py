import copy
from functools import cache

import numpy as np
import pytest

from orchestrator.statistics.intervals.bootstrap import Groups
from orchestrator.statistics.matched.times import (
    at_last_common_time,
    compare_matched_times,
)
from tests.binomial import assert_covers, with_simulations

EPOCHS = np.array([1.0, 2, 4, 8, 16, 32])


def study(margin, batch_sizes=(16, 64, 256), seeds=3, examples=1024, noise=0.05):
    """Snapshots at fixed epochs; ``margin(updates, epochs, batch_size)`` plus noise."""
    generator = np.random.default_rng(0)
    rows = [
        (size, seed, epoch, epoch * examples / size)
        for size in batch_sizes
        for seed in range(seeds)
        for epoch in EPOCHS
    ]
    size, seed, epochs, updates = np.array(rows).T
    values = margin(updates, epochs, size) + generator.normal(size=len(rows)) * noise
    groups = Groups.of(list(zip(size, seed, strict=True)), size.tolist())
    return {
        "value": values,
        "updates": updates,
        "epochs": epochs,
        "level": size.tolist(),
        "groups": groups,
    }


def test_margins_that_grow_with_updates_differ_at_matched_epochs_only():
    matched = compare_matched_times(**study(lambda updates, epochs, size: np.log(updates)))
    assert matched.at_updates < 0.02
    assert matched.at_epochs > 0.3
    assert matched.difference.low > 0
    assert matched.difference.value == pytest.approx(matched.at_epochs - matched.at_updates)


def test_margins_that_grow_with_epochs_differ_at_matched_updates_only():
    matched = compare_matched_times(**study(lambda updates, epochs, size: np.log(epochs)))
    assert matched.at_epochs < 0.02
    assert matched.difference.high < 0


def test_pairs_without_common_updates_are_reported_and_excluded():
    far = study(lambda updates, epochs, size: np.log(updates), batch_sizes=(16, 64, 4096))
    matched = compare_matched_times(**far)
    comparable = {pair.levels: pair.comparable for pair in matched.pairs}
    assert comparable == {(16, 64): True, (16, 4096): False, (64, 4096): False}
    (pair,) = (pair for pair in matched.pairs if pair.comparable)
    assert pair.updates == (64, 512)
    assert pair.epochs == (1, 32)


def test_without_a_common_range_nothing_is_compared():
    far = study(lambda updates, epochs, size: np.log(updates), batch_sizes=(16, 4096))
    matched = compare_matched_times(**far)
    assert matched.at_epochs is None
    assert "common range of updates" in matched.difference.reason
    alone = study(lambda updates, epochs, size: np.log(updates), batch_sizes=(16,))
    assert "fewer than two batch sizes" in compare_matched_times(**alone).difference.reason


def test_trials_with_a_single_finite_snapshot_are_left_out_and_counted():
    broken = study(lambda updates, epochs, size: np.log(updates))
    broken["value"][1:6] = np.nan
    matched = compare_matched_times(**broken)
    assert matched.difference.n_excluded == 6
    assert matched.difference.n_groups == 8
    assert matched.difference.low > 0


def test_snapshots_before_the_first_update_are_excluded():
    early = study(lambda updates, epochs, size: np.log(updates))
    early["updates"][::6] = 0
    matched = compare_matched_times(**early)
    assert matched.difference.n_excluded == 0
    assert matched.difference.n == 9 * 5


def simulated_difference(generator, by_updates, seeds):
    """Networks differ in where they start and in how fast their margin grows."""
    sizes = (16, 64, 256, 1024)
    rows = np.array([(n, s, e) for n in sizes for s in range(seeds) for e in EPOCHS])
    size, seed, epochs = rows.T
    updates = epochs * 4096 / size
    start, growth = generator.normal(size=(2, len(sizes), seeds))
    of = np.searchsorted(sizes, size), seed.astype(int)
    grown = by_updates * np.log(updates) + (1 - by_updates) * np.log(epochs)
    value = 0.3 * start[of] + (1 + 0.1 * growth[of]) * grown
    value += 0.05 * generator.normal(size=len(value))
    groups = Groups.of(list(zip(size, seed, strict=True)), size.tolist())
    return compare_matched_times(value, updates, epochs, size.tolist(), groups).difference


@cache
def true_difference(by_updates):
    """That of many networks, and the generator that drew them."""
    generator = np.random.default_rng(2)
    return np.mean(
        [simulated_difference(generator, by_updates, 200).value for _ in range(5)]
    ), generator


@with_simulations(40, 2000)
@pytest.mark.parametrize("seeds", [2, 3, 5])
@pytest.mark.parametrize("by_updates", [0.5, 1.0])
def test_the_interval_covers_the_difference(by_updates, seeds, simulations):
    truth, generator = true_difference(by_updates)
    generator = copy.deepcopy(generator)
    found = [simulated_difference(generator, by_updates, seeds) for _ in range(simulations)]
    covered = sum(one.low <= truth <= one.high for one in found)
    assert_covers(covered, simulations, widest=0.985)


def test_a_single_seed_gives_a_difference_without_an_interval():
    matched = compare_matched_times(**study(lambda updates, epochs, size: np.log(updates), seeds=1))
    assert matched.difference.value is not None
    assert matched.difference.low is None
    assert "single trial" in matched.difference.reason


def test_single_trials_are_pooled_within_their_level():
    content = study(lambda updates, epochs, size: np.log(updates), seeds=3)
    trials = content["groups"].trials
    content["groups"] = Groups(content["groups"].trial, np.arange(trials))
    assert compare_matched_times(**content).difference.low > 0


def at_equal_updates(content, setting=None):
    groups = content["groups"]
    return at_last_common_time(
        content["value"],
        content["updates"],
        content["level"],
        groups,
        np.zeros(groups.trials, dtype=int) if setting is None else setting,
    )


def test_large_batches_catch_up_when_given_the_same_updates():
    found = at_equal_updates(study(lambda updates, epochs, size: np.log(updates)))
    assert found.levels == (16, 256)
    assert found.times == (32 * 1024 / 256,)  # The last that batch size 256 made.
    compared = np.isfinite(found.value)
    assert compared.sum() == 6  # Of three batch sizes the smallest and the largest.
    np.testing.assert_allclose(found.value[compared], np.log(found.times[0]), atol=0.2)


def test_large_batches_that_stay_behind_show_a_difference():
    found = at_equal_updates(study(lambda updates, epochs, size: np.log(updates) - size / 256))
    small = np.nanmean(found.value[~found.large])
    assert np.nanmean(found.value[found.large]) - small == pytest.approx(16 / 256 - 1, abs=0.15)


def test_each_setting_has_its_own_last_common_time():
    content = study(lambda updates, epochs, size: np.log(updates))
    groups = content["groups"]
    setting = np.arange(groups.trials) % 3
    content["updates"] = content["updates"] * (1 + setting[groups.trial])
    assert at_equal_updates(content, setting).times == (128.0, 256.0, 384.0)


def test_without_common_updates_or_levels_nothing_is_compared():
    grow = lambda updates, epochs, size: np.log(updates)  # noqa: E731
    apart = at_equal_updates(study(grow, batch_sizes=(16, 4096)))
    assert apart.times == ()
    assert not np.isfinite(apart.value).any()
    assert at_equal_updates(study(grow, batch_sizes=(16,))) is None
    nothing = study(grow)
    nothing["value"][:] = np.nan
    assert at_equal_updates(nothing) is None
