"""Conditions drawn at random: exact values, what they depend on, and their distribution."""

import hashlib
import json
import math
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.study.columns import swept_columns
from orchestrator.study.design import design_axes
from orchestrator.study.spec import Study
from orchestrator.study.study_file import resolved_yaml
from orchestrator.study.sweep_options import RandomSearch
from orchestrator.study.trials import expand_trials, hyperparameters
from tests.binomial import assert_at_least, assert_at_most

RATE, BATCH, WIDTH = "training.optimizer.learning_rate", "training.batch_size", "model.width"
OF = {
    RATE: {"log": [0.001, 1]},
    BATCH: {"log_integer": [16, 512]},
    "model.dropout": {"uniform": [0, 0.5]},
    "model.depth": {"integer": [1, 4]},
    "training.loss": {"choice": ["cross_entropy", {"name": "mse"}]},
    "model.width, model.activation": {"choice": [[8, "relu"], [16, "tanh"], [32, "relu"]]},
}
BASE = {
    "study": "s",
    "data": "mnist1d",
    "model": {"name": "mlp"},
    "training": {"batch_size": 64, "stop": {"epochs": 3}},
}
SIMULATIONS = 2000
PINNED = {
    RATE: 0.0266584,
    BATCH: 307,
    "model.dropout": 0.155241,
    "model.depth": 1,
    "training.loss": "cross_entropy",
    WIDTH: 16,
    "model.activation": "tanh",
}
PINNED_ID = "65437a9f6077"


def search(of=OF, conditions=12, **more):
    return RandomSearch.model_validate({"conditions": conditions, "of": of, **more})


def study(conditions=12, of=OF, more=None, **changes):
    sweep = {"random": {"conditions": conditions, "of": of}, **(more or {})}
    return Study.model_validate({**BASE, "sweep": sweep, **changes})


def test_draws_are_pinned():
    """A change of these numbers retrains every random search there is."""
    assert search().condition(0) == PINNED
    assert {t.condition_id for t in expand_trials(study(1, {RATE: OF[RATE]}))} == {PINNED_ID}


def test_a_draw_is_the_hash_of_seed_index_and_path():
    for seed, index in ((0, 0), (3, 11)):
        text = f"{seed}\x1frandom search\x1f{index}\x1f{RATE}"
        bits = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1
        drawn = search(seed=seed).condition(index)[RATE]
        assert drawn == float(f"{0.001 * 1000 ** ((bits + 0.5) / 2**63):.6g}")


@settings(max_examples=20)
@given(st.permutations(sorted(OF)), st.integers(0, 5), st.integers(0, 1000))
def test_a_draw_depends_on_neither_path_order_nor_other_paths(keys, left_out, index):
    whole = search().condition(index)
    assert search({key: OF[key] for key in keys}).condition(index) == whole
    fewer = search({key: OF[key] for key in keys[:left_out] or keys}).condition(index)
    assert fewer.items() <= whole.items()


@settings(max_examples=10)
@given(st.integers(1, 20), st.integers(1, 20))
def test_drawing_more_conditions_keeps_the_earlier_ones(one, other):
    few, many = sorted((one, other))
    ids = [{t.trial_id for t in expand_trials(study(count, seeds=2))} for count in (few, many)]
    assert ids[0] <= ids[1]
    assert len(ids[1]) == 2 * many


def test_different_seeds_give_different_draws():
    draws = {json.dumps(search(seed=seed).condition(0)) for seed in range(20)}
    assert len(draws) == 20


def test_paths_are_drawn_jointly_and_crossed_with_listed_axes_and_seeds():
    asked = study(5, {RATE: OF[RATE], BATCH: OF[BATCH]}, {WIDTH: [8, 16]}, seeds=[3, 4, 5])
    trials = expand_trials(asked)
    assert len(trials) == 5 * 2 * 3
    pairs = {(t.swept[RATE], t.swept[BATCH]) for t in trials}
    drawn = [search().condition(index) for index in range(5)]
    assert pairs == {(values[RATE], values[BATCH]) for values in drawn}
    assert {(t.swept[RATE], t.swept[WIDTH], t.seed) for t in trials} == {
        (values[RATE], width, seed) for values in drawn for width in (8, 16) for seed in (3, 4, 5)
    }
    for trial in trials:
        assert trial.config.training.optimizer.learning_rate == trial.swept[RATE]
        assert isinstance(trial.config.training.batch_size, int)


@pytest.mark.parametrize("key", OF)
def test_half_of_the_draws_lie_in_each_half(key):
    draws = [search({key: OF[key]}).condition(index) for index in range(SIMULATIONS)]
    values = [next(iter(values.values())) for values in draws]
    share, below = {
        RATE: (0.5, lambda v: v < 0.001**0.5),
        BATCH: (math.log(90.5 / 15.5) / math.log(512.5 / 15.5), lambda v: v <= 90),
        "model.dropout": (0.5, lambda v: v < 0.25),
        "model.depth": (0.5, lambda v: v <= 2),
        "training.loss": (0.5, lambda v: v == "cross_entropy"),
        "model.width, model.activation": (1 / 3, lambda v: v == 16),
    }[key]
    hits = sum(map(below, values))
    assert_at_least(share, hits, SIMULATIONS)
    assert_at_most(share, hits, SIMULATIONS)


def test_paths_are_drawn_independently():
    draws = [search().condition(index) for index in range(SIMULATIONS)]
    hits = sum(one[RATE] < 0.001**0.5 and one["model.dropout"] < 0.25 for one in draws)
    successive = sum(
        one[RATE] < 0.001**0.5 and other[RATE] < 0.001**0.5 for one, other in pairwise(draws)
    )
    for count in (hits, successive):
        assert_at_least(0.25, count, SIMULATIONS)
        assert_at_most(0.25, count, SIMULATIONS)


def test_drawn_paths_become_columns():
    of = {RATE: OF[RATE], "training.schedule.warmup_epochs": {"uniform": [0, 2]}}
    asked = study(3, of)
    assert swept_columns(asked.sweep.paths) == {"training.schedule.warmup_epochs": "warmup_epochs"}
    rows = [hyperparameters(asked, trial) for trial in expand_trials(asked)]
    assert len({(row["learning_rate"], row["warmup_epochs"]) for row in rows}) == 3


def test_a_stored_study_expands_to_the_same_trials():
    asked = study(4, OF, {"training.optimizer.momentum": [0, 0.9]}, seeds=2)
    stored = Study.model_validate_json(asked.model_dump_json())
    assert stored == asked
    assert expand_trials(stored) == expand_trials(asked)
    plain = Study.model_validate({**BASE, "sweep": {WIDTH: [8]}})
    assert plain.model_dump(mode="json")["sweep"] == {WIDTH: [8]}
    assert "random" not in resolved_yaml(plain)


def test_infinite_values_stay_infinite_in_a_stored_study():
    own = {"model": {"name": "no_such_package.m:Net"}}
    values = [math.inf, 1]
    for asked in (
        study(4, {RATE: OF[RATE], "model.x": {"choice": values}}, **own),
        Study.model_validate({**BASE, **own, "sweep": {"model.x": values}}),
    ):
        stored = Study.model_validate_json(asked.model_dump_json())
        assert {t.trial_id for t in expand_trials(stored)} == {
            t.trial_id for t in expand_trials(asked)
        }


def test_design_axes_are_drawn_or_listed():
    content = study(7, OF, {"model.normalization": ["none", "batch"]}).model_dump(mode="json")
    drawn, listed = design_axes(content)
    assert (drawn.drawn, drawn.levels) == (True, 7)
    assert drawn.paths[-2:] == ("model.width", "model.activation")
    assert drawn.title.startswith("learning rate, batch size, dropout")
    assert (listed.drawn, listed.levels, listed.paths) == (False, 2, ("model.normalization",))
    assert design_axes({}) == ()
