"""The examples that are kept for the report."""

import numpy as np
import pytest

import orchestrator
from orchestrator.cluster.snapshots.kept_examples import MOST_NUMBERS, keep_examples, keep_subsets
from orchestrator.data import load_dataset
from orchestrator.measures import MeasureContext
from orchestrator.measures.robustness.inputs import chosen_inputs
from orchestrator.results import ResultsFolder, read_study
from orchestrator.study.data_options import BuiltinData
from tests.measures.cases import CROSS_ENTROPY, mlp, random_dataset

OPTIONS = BuiltinData(name="digits")
ROWS = [
    {"curve": "smallest_margins", "x": [2.0, 0.0]},
    {"curve": "smallest_margin_predictions", "x": [1.0, 1.0]},
    {"measure": "margin_iqr", "value": 1.0},
]


@pytest.fixture
def folder(tmp_path):
    return ResultsFolder.create(tmp_path / "r", '{"study": "s"}', "study: s\n", {}, "")


def stored(folder):
    with orchestrator.connect(folder.path) as database:
        sql = "SELECT example, label, shape, inputs FROM examples ORDER BY example"
        return database.sql(sql).fetchall()


def subsets(folder):
    with orchestrator.connect(folder.path) as database:
        columns = "split, measured_examples, n_examples, examples"
        sql = f"SELECT {columns} FROM parts.example_subsets ORDER BY ALL"
        return database.sql(sql).fetchall()


def test_named_examples_are_stored_once_as_the_network_sees_them(folder):
    dataset = random_dataset((2, 3), 6, 3)
    keep_examples(folder, OPTIONS, dataset, ROWS)
    written = sorted(folder.table("examples").glob("[0-9a-f]*.parquet"))
    times = [path.stat().st_mtime_ns for path in written]
    keep_examples(folder, OPTIONS, dataset, ROWS)
    assert [path.stat().st_mtime_ns for path in written] == times
    (zero, two) = stored(folder)
    assert zero[:3] == (0, dataset.train_y[0].item(), "2x3")
    assert two[:3] == (2, dataset.train_y[2].item(), "2x3")
    np.testing.assert_array_equal(two[3], dataset.train_x[2].flatten().numpy())


def test_other_data_options_have_their_own_examples(folder):
    keep_examples(folder, OPTIONS, random_dataset((4,), 6, 3), ROWS)
    subset = OPTIONS.model_copy(update={"train_size": 3})
    keep_examples(folder, subset, random_dataset((4,), 3, 3, seed=1), ROWS)
    assert [row[0] for row in stored(folder)] == [0, 0, 2, 2]


def test_large_examples_are_left_out(folder):
    keep_examples(folder, OPTIONS, random_dataset((1, MOST_NUMBERS + 1), 3, 3), ROWS)
    assert stored(folder) == []


def test_subsets_of_examples_are_stored_once_with_their_positions(folder):
    dataset = random_dataset((4,), 12, 3)
    context = MeasureContext(mlp(4, 5, 3), dataset, CROSS_ENTROPY, examples=8)
    inputs = chosen_inputs(context, "train", 3)
    for _ in range(2):
        keep_subsets(folder, OPTIONS, dataset, context)
    found = subsets(folder)
    assert [row[:3] for row in found] == [("train", 8, 3), ("train", 8, 8)]
    moved, train = ([int(place) for place in row[3]] for row in found)
    assert set(moved) < set(train)
    np.testing.assert_array_equal(dataset.train_x[moved], inputs.x.float())
    np.testing.assert_array_equal(dataset.train_x[train], context.data("train")[0])


def test_whole_splits_are_not_stored_as_subsets(folder):
    dataset = random_dataset((4,), 12, 3)
    context = MeasureContext(mlp(4, 5, 3), dataset, CROSS_ENTROPY)
    chosen_inputs(context, "train", 12)
    keep_subsets(folder, OPTIONS, dataset, context)
    assert context.data.subsets == {}
    assert subsets(folder) == []


def test_examples_of_final_networks_are_stored_as_trials_see_them(finished):
    measures = [{"margin_distribution": {"smallest": 3}}]
    data = {"name": "digits", "train_size": 200, "label_noise": 0.00001}
    results = finished(seeds=1, measures=measures, data=data)
    with orchestrator.connect(results) as database:
        named = database.sql(
            "SELECT DISTINCT x::BIGINT, params_json FROM curve_points "
            "JOIN final USING (checkpoint_id) WHERE curve = 'smallest_margins'"
        ).fetchall()
        kept = database.sql(
            "SELECT DISTINCT example, params_json, label, inputs FROM examples JOIN trials "
            "ON json_extract(params_json, '$.data') = json_extract(data, '$')"
        ).fetchall()
    assert {row[0] for row in named} == {row[0] for row in kept}
    dataset = load_dataset(read_study(ResultsFolder.open(results)).data)
    for example, _, label, inputs in kept:
        assert label == dataset.train_y[example].item()
        np.testing.assert_array_equal(inputs, dataset.train_x[example].flatten().numpy())
