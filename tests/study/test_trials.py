import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.study.columns import swept_columns
from orchestrator.study.plan import Probed, Stored, make_plan, most_snapshots, plan_text
from orchestrator.study.positions import planned_steps
from orchestrator.study.spec import CheckpointOptions, Every, LogSpaced, Study
from orchestrator.study.training_options import StopOptions
from orchestrator.study.trials import expand_trials, hyperparameters

BASE = {
    "study": "s",
    "data": "mnist1d",
    "model": {"name": "mlp"},
    "training": {"batch_size": 64, "stop": {"epochs": 3}},
}


def study(**changes):
    return Study.model_validate({**BASE, **changes})


def only_id(**changes):
    (trial,) = expand_trials(study(**changes))
    return trial.trial_id


def test_trial_ids_are_pinned():
    """A change of this number retrains every study there is."""
    assert only_id() == "4f1be5aa6c23"


def test_trial_ids_depend_only_on_what_affects_the_trained_network():
    same = [
        {"study": "another", "question": "why?"},
        {"data": {"name": "mnist1d", "data_dir": "/somewhere"}},
        {"model": {"name": "mlp", "width": 128, "depth": 2, "activation": "relu"}},
        {"measures": ["margin"], "checkpoints": {"epochs": [1]}},
        {"resources": {"trial": {"cpus": 2}}},
        {"seeds": [0]},
        {"sweep": {"training.batch_size": [64]}},
        {
            "training": {
                "batch_size": 64,
                "optimizer": {"name": "sgd", "learning_rate": 1e-1},
                "stop": {"epochs": 3},
            }
        },
    ]
    assert {only_id(**changes) for changes in same} == {only_id()}
    different = [
        {"data": {"name": "mnist1d", "seed": 1}},
        {"model": {"name": "mlp", "width": 127}},
        {"seeds": [1]},
        {"training": {"batch_size": 64, "stop": {"epochs": 4}}},
        {"training": {"batch_size": 64, "optimizer": "adamw", "stop": {"epochs": 3}}},
    ]
    assert len({only_id(**changes) for changes in different} | {only_id()}) == 6


def test_a_grid_is_axes_times_seeds_in_a_fixed_shuffled_order():
    sweep = {
        "training.batch_size": [16, 64],
        "model.width, model.depth": [[8, 1], [16, 2], [32, 3]],
    }
    asked = study(sweep=sweep, seeds=[3, 5])
    trials = expand_trials(asked)
    assert trials == expand_trials(asked)
    points = {
        (t.config.training.batch_size, t.config.model.width, t.config.model.depth, t.seed)
        for t in trials
    }
    shapes = [(8, 1), (16, 2), (32, 3)]
    assert points == {(b, w, d, s) for b in (16, 64) for w, d in shapes for s in (3, 5)}
    assert len({trial.trial_id for trial in trials}) == 12
    assert [trial.seed for trial in trials] != sorted(trial.seed for trial in trials)


def test_extending_a_grid_keeps_existing_trial_ids():
    small = {t.trial_id for t in expand_trials(study(sweep={"training.batch_size": [16]}))}
    large = expand_trials(study(sweep={"training.batch_size": [16, 32]}, seeds=2))
    assert small < {trial.trial_id for trial in large}


def test_a_whole_model_and_a_part_of_it_can_be_swept_together():
    sweep = {"model.width": [8, 9], "model": [{"name": "mlp", "depth": 1}, "mlp"]}
    found = {
        (t.config.model.width, t.config.model.depth) for t in expand_trials(study(sweep=sweep))
    }
    assert found == {(8, 1), (9, 1), (8, 2), (9, 2)}


def test_hyperparameters_contain_the_scaled_learning_rate():
    training = {
        "batch_size": 64,
        "optimizer": {"name": "sam", "learning_rate": 0.4, "rho": 0.1},
        "learning_rate_scaling": "sqrt",
        "stop": {"epochs": 3},
    }
    asked = study(training=training)
    columns = hyperparameters(asked, expand_trials(asked)[0])
    assert columns["learning_rate"] == 0.2
    assert (columns["optimizer"], columns["rho"], columns["width"]) == ("sam", 0.1, 128)
    assert columns["momentum"] == 0


def test_swept_paths_without_a_column_get_one():
    sweep = {"training.schedule.warmup_epochs": [0, 1], "data.seed": [0, 1]}
    asked = study(sweep=sweep)
    assert swept_columns(asked.sweep.paths) == {
        "training.schedule.warmup_epochs": "warmup_epochs",
        "data.seed": "data_seed",
    }
    found = {hyperparameters(asked, trial)["data_seed"] for trial in expand_trials(asked)}
    assert found == {0, 1}


def test_planned_steps_are_sorted_distinct_and_within_training():
    assert planned_steps((5, 0, 5, 9), 7) == (0, 5)
    assert tuple(planned_steps(Every(every=3), 10)) == (3, 6, 9)
    assert planned_steps(LogSpaced(log_spaced=1), 10) == (10,)
    assert planned_steps(LogSpaced(log_spaced=3), 0) == ()


@given(st.integers(1, 40), st.integers(1, 10**6))
def test_log_spaced_steps_reach_from_one_to_the_end(count, end):
    found = planned_steps(LogSpaced(log_spaced=count), end)
    assert found[-1] == end
    assert count == 1 or found[0] == 1
    assert list(found) == sorted(set(found))
    assert len(found) <= count


def test_a_plan_counts_the_remaining_work():
    asked = study(
        sweep={"training.batch_size": [10, 50]},
        seeds=2,
        checkpoints={"epochs": [1, 2], "train_loss": [0.5]},
    )
    trials = expand_trials(asked)
    plan = make_plan(
        asked,
        trials,
        Stored(done={trials[0].trial_id}, partial={trials[1].trial_id}),
        {trial.condition_id: Probed(100, 1000, 0.5, 2.0, 0.0) for trial in trials},
        slots=2,
        audits=3,
        measurings_per_audit=9,
    )
    assert (plan.trials, plan.done, plan.partial, plan.new) == (4, 1, 1, 2)
    # Epochs 1, 2 and the end, and one milestone: four snapshots a trial.
    assert (plan.snapshots, plan.snapshots_to_measure, plan.disk_bytes) == (16, 12, 16000)
    updates = {10: 30, 50: 6}
    left = [updates[t.config.training.batch_size] for t in trials[1:]]
    assert plan.train_seconds == 0.5 * sum(left)
    assert plan.audit_seconds == 3 * 9 * 2.0
    assert plan.wall_seconds == (plan.train_seconds + 24 + 54) / 2
    assert "4 trials (2 new, 1 partial, 1 done)" in plan_text(plan)
    assert "24 s of measuring and 54 s of auditing 3 snapshots;" in plan_text(plan)
    assert "s/final" not in plan_text(plan)


def test_a_plan_counts_final_measures_for_final_networks_only():
    asked = study(seeds=4, checkpoints={"epochs": [1, 2]})
    trials = expand_trials(asked)
    done, lacks_final, begun, _ = (trial.trial_id for trial in trials)
    stored = Stored(
        done={done, lacks_final},
        partial={begun},
        measured={done: 3, lacks_final: 2, begun: 1},
        unmeasured={lacks_final: 1},
        unmeasured_final={lacks_final},
    )
    probed = {trials[0].condition_id: Probed(100, 1000, 0.5, 2.0, 30.0)}
    plan = make_plan(asked, trials, stored, probed, slots=1, audits=1, measurings_per_audit=9)
    # Three snapshots a trial; what was begun lacks two of them.
    assert plan.snapshots == 12
    assert plan.snapshots_to_measure == 0 + 1 + 2 + 3
    assert plan.measure_seconds == 6 * 2.0 + 3 * 30.0
    assert plan.audit_seconds == 9 * (2.0 + 30.0)
    assert "s/snapshot  s/final" in plan_text(plan)
    assert "102 s of measuring" in plan_text(plan)


def test_a_plan_counts_booked_hours_and_their_price():
    resources = {
        "trial": {"cpus": 2, "overrides": [{"where": {"training.batch_size": 50}, "gpus": 0.5}]},
        "measurer": {"gpus": 0.25},
    }
    asked = study(
        sweep={"training.batch_size": [10, 50]},
        checkpoints={"epochs": [1]},
        resources=resources,
    )
    trials = expand_trials(asked)

    def plan(times=(360.0, 900.0, 0.0), **prices):
        probed = Probed(100, 1000, *times)
        of_each = {trial.condition_id: probed for trial in trials}
        return make_plan(asked, trials, Stored(), of_each, slots=2, **prices)

    # 30 and 6 updates of a tenth of an hour on two cores; four snapshots of a quarter on one.
    found = plan()
    assert found.cpu_hours == pytest.approx(2 * 3.6 + 1)
    assert found.gpu_hours == pytest.approx(0.5 * 0.6 + 0.25)
    assert found.cost is None
    assert "reserved: 8.2 CPU hours, 0.55 GPU hours" in plan_text(found)
    assert plan(price_per_gpu_hour=2.0).cost == pytest.approx(1.1)
    priced = plan(price_per_gpu_hour=2.0, price_per_cpu_hour=0.1)
    assert priced.cost == pytest.approx(1.92)
    assert plan_text(priced).endswith("; price 1.92")
    unknown = plan(times=(), price_per_gpu_hour=2.0)
    assert (unknown.cpu_hours, unknown.gpu_hours, unknown.cost) == (None, None, None)


def test_coinciding_checkpoints_count_once():
    checkpoints = CheckpointOptions(epochs=(1, 3), updates=(10, 20))
    assert most_snapshots(checkpoints, StopOptions(epochs=3), 100, 10) == 3
