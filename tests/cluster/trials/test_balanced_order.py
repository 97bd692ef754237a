"""The order of trials in a run that the clock may stop."""

from collections import Counter
from itertools import groupby

from hypothesis import given
from hypothesis import strategies as st

from orchestrator.cluster.trials.balanced_order import balanced_order
from orchestrator.study.spec import Study
from orchestrator.study.trials import expand_trials


@st.composite
def studies(draw):
    widths = draw(st.lists(st.integers(1, 9), min_size=1, max_size=4, unique=True))
    rates = draw(st.sampled_from([[0.1], [0.1, 0.2], [0.1, 0.2, 0.4]]))
    seeds = draw(st.lists(st.integers(0, 99), min_size=1, max_size=4, unique=True))
    return Study.model_validate(
        {
            "study": "grid",
            "data": "digits",
            "model": {"name": "mlp", "width": 4},
            "training": {"optimizer": {"name": "sgd", "learning_rate": 1}, "stop": {"epochs": 1}},
            "sweep": {"model.width": widths, "training.optimizer.learning_rate": rates},
            "seeds": seeds,
            "measures": ["norms"],
        }
    )


@given(studies())
def test_wherever_the_clock_stops_a_grid_it_is_balanced_over_conditions_and_seeds(study):
    trials = expand_trials(study)
    ordered = balanced_order(trials, study.seed_list)
    assert sorted(map(id, ordered)) == sorted(map(id, trials))
    seeds_of = dict.fromkeys((trial.condition_id for trial in trials), 0)
    for trial in ordered:
        assert trial.seed == study.seed_list[seeds_of[trial.condition_id]]
        seeds_of[trial.condition_id] += 1
        assert max(seeds_of.values()) - min(seeds_of.values()) <= 1


@given(studies())
def test_conditions_of_one_seed_keep_the_shuffled_order_of_the_study(study):
    trials = expand_trials(study)
    ordered = balanced_order(trials, study.seed_list)
    for seed, same in groupby(ordered, key=lambda trial: trial.seed):
        assert list(same) == [trial for trial in trials if trial.seed == seed]


@given(studies(), st.data())
def test_a_resumed_run_continues_in_the_same_order(study, data):
    ordered = balanced_order(expand_trials(study), study.seed_list)
    done = data.draw(st.sets(st.sampled_from([trial.trial_id for trial in ordered])))
    left = [trial for trial in expand_trials(study) if trial.trial_id not in done]
    expected = [trial for trial in ordered if trial.trial_id not in done]
    assert balanced_order(left, study.seed_list) == expected
    assert Counter(trial.seed for trial in left) == Counter(trial.seed for trial in expected)
