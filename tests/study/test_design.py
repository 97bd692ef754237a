"""Which columns hold values that are drawn from a range."""

import pytest

from orchestrator.study.design import ranged_columns


@pytest.mark.parametrize(
    ("sweep", "columns"),
    [
        pytest.param({}, set(), id="no sweep"),
        pytest.param({"training.optimizer.weight_decay": [0, 0.1]}, set(), id="listed"),
        pytest.param(
            {
                "random": {
                    "conditions": 3,
                    "seed": 0,
                    "of": {
                        "training.optimizer.weight_decay": {"log": [1e-5, 1e-3]},
                        "training.batch_size": {"log_integer": [16, 64]},
                        "training.loss": {"choice": ["mse", "cross_entropy"]},
                    },
                },
                "model.width": [8, 16],
            },
            {"weight_decay", "batch_size"},
            id="drawn",
        ),
    ],
)
def test_columns_drawn_from_a_range_are_found(sweep, columns):
    assert ranged_columns({"sweep": sweep}) == columns
