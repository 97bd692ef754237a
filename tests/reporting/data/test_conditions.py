import numpy as np

from orchestrator.reporting.data.conditions import Conditions, read_conditions, swept_keys
from orchestrator.reporting.data.open_results import Rows

RANDOM = {
    "conditions": 6,
    "seed": 0,
    "of": {
        "training.optimizer.learning_rate": {"log": [0.01, 1]},
        "training.batch_size": {"log_integer": [16, 256]},
    },
}


def test_listed_and_drawn_paths_are_told_apart():
    study = {"sweep": {"random": RANDOM, "model.width": [8, 16]}}
    assert swept_keys(study) == (("model.width",), tuple(RANDOM["of"]))
    assert swept_keys({"sweep": {"training.batch_size": [1, 2]}}) == (("training.batch_size",), ())
    assert swept_keys({}) == ((), ())


def test_conditions_of_a_grid_have_their_levels(source):
    found = read_conditions(source)
    assert found.levels == {
        "batch size": {f"b{size}-l0.05": str(size) for size in (16, 64, 256, 1024)}
    }
    assert found.drawn == frozenset()


def test_the_design_of_selected_rows_follows_their_conditions():
    conditions = Conditions({"rate": {"c": "0.5", "a": "0.1", "b": "0.3"}}, frozenset({"rate"}))
    rows = Rows({"trial_id": ["x", "y", "z"], "condition_id": ["b", "c", "b"]})
    design = conditions.design(rows)
    (axis,) = design.axes
    assert axis.drawn
    np.testing.assert_array_equal(axis.value, [0.3, 0.5])
