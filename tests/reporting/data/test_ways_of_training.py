from orchestrator.reporting.data.open_results import Rows
from orchestrator.reporting.data.ways_of_training import ways_of_training


def test_ways_of_training_name_their_differences_and_the_plainest_is_first():
    columns = {
        "loss": ["mse", "cross_entropy", "cross_entropy"],
        "label_smoothing": [None, 0.1, 0.0],
        "optimizer": ["sgd"] * 3,
        "rho": [None] * 3,
        "weight_decay": [0.0] * 3,
    }
    ways, plainest = ways_of_training(Rows(columns))
    assert ways == [
        "mse",
        "cross_entropy, label smoothing 0.1",
        "cross_entropy",
    ]
    assert plainest == ways[2]
    same = Rows({name: values[:1] * 2 for name, values in columns.items()})
    assert ways_of_training(same) == (["the usual training"] * 2, "the usual training")
    assert ways_of_training(Rows({name: [] for name in columns}))[0] == []
    ways, _ = ways_of_training(Rows(columns), ranged=["label_smoothing"])
    assert ways == ["mse", "cross_entropy", "cross_entropy"]
