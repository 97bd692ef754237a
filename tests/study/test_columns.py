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
def test_paths_and_their_columns(paths, columns):
    assert path_columns(paths) == dict(zip(paths, columns, strict=True))


def test_all_at_once_stay_apart():
    paths = ["data.seed", "model.seed", "model.arguments.seed", "training.batch_size"]
    assert len(set(path_columns([*paths, "data.x", "model.x"]).values())) == 6
    assert path_columns(STANDARD_COLUMNS) == STANDARD_COLUMNS
