import pytest

from orchestrator.study.columns import STANDARD_COLUMNS, path_columns


@pytest.mark.parametrize(
    ("paths", "columns"),
    [
        (["training.optimizer.learning_rate"], ["learning_rate"]),
        (["data", "training.loss"], ["dataset", "loss"]),
        (["data.seed"], ["data_seed"]),
        (["model.arguments.beta"], ["beta"]),
        (["model.arguments.n", "data.arguments.n"], ["model_arguments_n", "data_arguments_n"]),
        (["model.arguments.width"], ["model_arguments_width"]),
    ],
)
def test_each_path_gets_its_column(paths, columns):
    assert path_columns(paths) == dict(zip(paths, columns, strict=True))


def test_paths_with_equal_last_parts_get_distinct_columns():
    paths = ["data.seed", "model.seed", "model.arguments.seed", "training.batch_size"]
    assert len(set(path_columns([*paths, "data.x", "model.x"]).values())) == 6
    assert path_columns(STANDARD_COLUMNS) == STANDARD_COLUMNS
