"""A random search from its file to its report, and more conditions of it later."""

import pytest

import orchestrator
from orchestrator.study.sweep_options import RandomSearch
from tests.cluster.comparison import rows
from tests.cluster.in_process import run_in_process

OF = {
    "training.optimizer.learning_rate": {"log": [0.01, 0.3]},
    "training.batch_size": {"log_integer": [20, 100]},
    "training.optimizer.weight_decay": {"uniform": [0, 0.001]},
}


@pytest.mark.slow
def test_drawing_more_conditions_keeps_finished_trials(small_study, tmp_path):
    results = tmp_path / "results"

    def run(conditions):
        study = small_study(
            sweep={"random": {"conditions": conditions, "of": OF}, "model.depth": [1, 2]},
            training={"optimizer": {"name": "sgd"}, "stop": {"epochs": 1}},
            checkpoints={},
            measures=["margin"],
            claims=[],
        )
        return run_in_process(study, results)

    first = run(2)
    assert (first.trials, first.trained, first.complete) == (8, 8, True)
    stored = "SELECT trial_id, learning_rate, batch_size, weight_decay, written_at FROM trials"
    before = rows(results, f"{stored} ORDER BY ALL")
    second = run(3)
    assert (second.trials, second.trained, second.complete) == (12, 4, True)
    assert set(before) < set(rows(results, stored))

    search = RandomSearch.model_validate({"conditions": 3, "of": OF})
    drawn = {tuple(search.condition(index).values()) for index in range(3)}
    found = rows(
        results, "SELECT DISTINCT learning_rate, batch_size, weight_decay FROM by_condition"
    )
    assert set(found) == drawn
    ((conditions,),) = rows(results, "SELECT count(DISTINCT condition_id) FROM by_condition")
    assert conditions == 6

    page = orchestrator.report(results).read_text(encoding="utf-8")
    assert "3 conditions drawn at random (seed 0), independently" in page
    assert "log-uniform from 0.01 to 0.3" in page
