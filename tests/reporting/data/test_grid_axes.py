import json

from orchestrator.reporting.data.grid_axes import grid_axes


def network(batch_size=32, loss="cross_entropy", optimizer=None, **model):
    return json.dumps(
        {
            "model": {"name": "mlp", **model},
            "training": {
                "batch_size": batch_size,
                "loss": {"name": loss},
                "optimizer": {"name": "sgd", "learning_rate": 0.1, **(optimizer or {})},
            },
        }
    )


def test_coupled_hyperparameters_and_whole_parts_form_one_axis():
    sweep = ("training.loss, training.optimizer", "training.batch_size", "model.dropout")
    study = {"sweep": {key: [] for key in sweep}}
    params = [
        network(),
        network(64),
        network(optimizer={"weight_decay": 0.001}),
        network(optimizer={"name": "sam", "rho": 0.1}),
        network(loss="mse"),
    ]
    assert grid_axes(study, params) == {
        "loss, optimizer": (
            "cross_entropy, sgd",
            "cross_entropy, sgd",
            "cross_entropy, sgd, weight decay 0.001",
            "cross_entropy, sam, rho 0.1",
            "mse, sgd",
        ),
        "batch size": ("32", "64", "32", "32", "32"),
    }


def test_networks_of_one_kind_are_distinguished_by_their_options():
    study = {"sweep": {"model": [{"name": "mlp", "width": 64}, {"name": "mlp", "width": 256}]}}
    params = [network(width=64), network(width=256)]
    assert grid_axes(study, params) == {"model": ("64", "256")}


def test_axes_whose_paths_end_alike_get_distinct_names():
    study = {"sweep": {"model.seed": [0, 1], "data.seed": [0, 1]}}
    params = [
        json.dumps({"model": {"seed": a}, "data": {"seed": b}}) for a in (0, 1) for b in (0, 1)
    ]
    assert grid_axes(study, params) == {
        "model seed": ("0", "0", "1", "1"),
        "data seed": ("0", "1", "0", "1"),
    }


def test_constant_hyperparameters_form_no_axis():
    study = {"sweep": {"training.batch_size": [32, 64]}}
    assert grid_axes(study, [network(), network()]) == {}
    assert grid_axes(study, []) == {}
    assert grid_axes({}, [network()]) == {}


def test_a_randomly_drawn_condition_is_one_level():
    sweep = {
        "random": {
            "conditions": 2,
            "seed": 0,
            "of": {
                "training.optimizer.learning_rate": {"log": [0.01, 1]},
                "training.batch_size": {"integer": [2, 99]},
            },
        },
        "model.dropout": [0, 0.5],
    }
    params = [
        network(batch, optimizer={"learning_rate": rate}, dropout=dropout)
        for batch, rate in ((32, 0.123456), (32, 0.123457))
        for dropout in (0, 0.5)
    ]
    first, second = "0.123456", "0.123457"
    assert grid_axes({"sweep": sweep}, params) == {
        "learning rate, batch size": (first, first, second, second),
        "dropout": ("0", "0.5", "0", "0.5"),
    }
    params[2] = network(64, optimizer={"learning_rate": 0.123456}, dropout=0)
    axis = grid_axes({"sweep": sweep}, params)["learning rate, batch size"]
    assert axis[2] == "learning rate 0.123456, batch size 64"
