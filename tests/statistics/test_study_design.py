import numpy as np
import pytest

from orchestrator.statistics.intervals.bootstrap import Groups
from orchestrator.statistics.study_design import Design


def of_grid(levels, drawn=()):
    """A design of one network for each cell, and the numbers of its conditions."""
    cells = np.meshgrid(*(np.arange(len(one)) for one in levels.values()), indexing="ij")
    columns = {
        name: [values[place] for place in cell.ravel()]
        for (name, values), cell in zip(levels.items(), cells, strict=True)
    }
    count = cells[0].size
    groups = Groups.of(range(count), range(count))
    return Design.of(columns, groups, drawn), np.arange(count)


BATCHES = [16, 32, 64, 128, 256, 512]
RATES = [0.01, 0.03, 0.1, 0.3, 1, 3]


@pytest.mark.parametrize(
    ("levels", "scope", "left_out", "note"),
    [
        (
            {"batch size": BATCHES[:5]},
            "in this grid",
            0,
            "has 5 conditions, and generalizing needs at least 6",
        ),
        ({"a": [0, 1], "b": [0, 1], "c": [0, 1]}, "in this grid", 0, "no axis has 3"),
        ({"batch size": BATCHES}, "within the range of this grid", 0, ""),
        ({"batch size": BATCHES, "rate": RATES}, "within the range of this grid", 0, ""),
        ({"dropout": [0, 0.1, 0.2, 0.3, 0.4, 0.5]}, "within the range of this grid", 0, ""),
        ({"batch size": [16, 17, 64, 128, 256, 512]}, "for conditions like these", 1, ""),
        ({"loss": list("abcdef")}, "for conditions like these", 1, ""),
        ({"batch size": BATCHES, "loss": list("abc")}, "for conditions like these", 2, ""),
        (
            {"batch size": BATCHES, "loss": ["ce", "mse"]},
            "for conditions like these",
            1,
            "For these axes the verdict covers only the two levels tested: loss.",
        ),
        ({}, "in this grid", 0, "has 0 conditions"),
    ],
)
def test_the_scope_follows_from_the_levels_of_the_grid(levels, scope, left_out, note):
    design, conditions = of_grid(levels) if levels else (Design(), np.arange(0))
    reach = design.reach(conditions)
    assert (reach.scope, len(reach.axes)) == (scope, left_out)
    assert note in reach.note
    assert bool(reach.note) == bool(note)


def test_levels_left_out_are_those_of_the_selected_conditions():
    design, conditions = of_grid({"batch size": BATCHES, "loss": list("abc")})
    kept = conditions[conditions % 3 != 0]  # Without the first loss: two of them are left.
    reach = design.reach(kept)
    (batch_size,) = reach.axes
    np.testing.assert_array_equal(batch_size, np.repeat(np.arange(6), 2))
    assert reach.note.endswith("tested: loss.")


def test_hyperparameters_drawn_together_are_one_axis_of_draws():
    draws = np.random.default_rng(0).uniform(size=(8, 2))
    groups = Groups.of(range(8), range(8))
    design = Design.of({"rate": draws[:, 0], "decay": draws[:, 1]}, groups, {"rate", "decay"})
    reach = design.reach(np.arange(8))
    assert (reach.scope, len(reach.axes)) == ("for conditions like these", 1)
    assert len(np.unique(reach.axes[0])) == 8
    assert Design.drawn_one_by_one(groups).reach(np.arange(8)).scope == reach.scope


def test_a_draw_used_in_two_conditions_is_left_out_as_one():
    rates = np.random.default_rng(0).uniform(size=6)
    design, conditions = of_grid({"rate": rates.tolist(), "model": ["mlp", "cnn"]}, {"rate"})
    reach = design.reach(conditions)
    np.testing.assert_array_equal(np.bincount(reach.axes[0]), np.full(6, 2))
    assert reach.note == "For these axes the verdict covers only the two levels tested: model."


def test_rows_assign_levels_to_their_conditions():
    groups = Groups.of(["t3", "t1", "t1", "t2"], ["b", "a", "a", "b"])
    design = Design.of({"x": [5, 7, 7, 5]}, groups)
    value = dict(zip(groups.condition[groups.trial], [5, 7, 7, 5], strict=True))
    assert [value[one] for one in range(2)] == design.axes[0].value.tolist()


def test_conditions_that_differ_only_in_the_treatment_share_a_setting():
    design, conditions = of_grid({"batch size": [16, 64], "loss": list("abc")})
    batch_size, loss = np.repeat([0, 1], 3), np.tile(np.arange(3), 2)
    np.testing.assert_array_equal(design.settings(batch_size, conditions), loss)
    np.testing.assert_array_equal(design.settings(loss, conditions), 3 * batch_size)
    kept = np.array([1, 2, 4])
    np.testing.assert_array_equal(design.settings(batch_size, kept), [0, 1, 2, 3, 1, 5])


def test_separate_draws_are_separate_settings():
    draws = np.random.default_rng(0).uniform(size=(2, 6))
    groups = Groups.of(range(6), range(6))
    design = Design.of({"rate": draws[0], "batch size": draws[1]}, groups, {"rate", "batch size"})
    settings = design.settings(np.arange(6), np.arange(6))
    np.testing.assert_array_equal(settings, np.arange(6))
