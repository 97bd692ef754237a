from orchestrator.reporting.data.open_results import open_source
from orchestrator.reporting.figures import FIGURES
from orchestrator.reporting.text.methods import describe_methods
from tests.reporting.simulated import simulate, study_content


def paragraphs(source, figures=()):
    return dict(describe_methods(source, figures).paragraphs)


def test_methods_are_described_from_the_study(source):
    told = paragraphs(source)
    assert told["Data"] == "mnist1d: seed 0."
    assert told["Network"] == "mlp: width 128, depth 2."
    assert (
        "loss cross_entropy; optimizer sgd: learning_rate 0.05, momentum 0.9; " in told["Training"]
    )
    assert (
        "Training ends at whichever comes first: epochs 60, train_loss 0.001." in told["Training"]
    )
    assert told["Grid"] == (
        "All combinations of training.batch_size: 16, 64, 256, 1024; 3 seeds (0, 1, 2): 12 trials."
    )
    assert "first falls to 0.5, 0.1, located within epochs" in told["Snapshots"]
    assert "at 8 epochs spaced evenly in logarithm; of the final" in told["Snapshots"]
    assert "hessian_spectrum: top 1" in told["Measures"]
    assert "train: 4,096 examples, float64, batch norm in eval mode" in told["Measures"]
    assert "γ = z_y − max_{j≠y} z_j" in told["Notation"]
    assert "Rao, Wu and Yue 1992" in told["Intervals"]
    assert "holds if its whole interval" in told["Claims"]
    assert "Fieller" in told["Matched time"]


def test_only_statistics_of_drawn_figures_are_described(source):
    every = paragraphs(source, FIGURES)
    assert "(1 − sign Δμ · sign Δg) / 2" in every["Sign error"]
    assert "arXiv:1912.02178" in every["One hyperparameter at a time"]
    assert "Holm" in every["Many measures"]
    assert not {"Sign error", "Many measures", "Ways of training"} & paragraphs(source).keys()


def test_swept_options_are_not_described_as_fixed(tmp_path):
    sweep = {
        "model": [{"name": "mlp"}, {"name": "cnn"}],
        "training.batch_size, training.optimizer.learning_rate": [[16, 0.1], [64, 0.2]],
    }
    study = study_content(sweep=sweep)
    with open_source(simulate(tmp_path / "r", study=study, batch_sizes=[])) as source:
        told = paragraphs(source)
        assert source.study["model"] != told["Network"]
    assert told["Network"] == "varied (see Grid)."
    assert "sgd: learning_rate varied (see Grid), momentum 0.9" in told["Training"]
    assert "batch_size varied (see Grid)" in told["Training"]
    assert "{" not in told["Training"]


def test_randomly_drawn_conditions_are_described_as_such(tmp_path):
    sweep = {
        "random": {
            "conditions": 5,
            "seed": 3,
            "of": {"training.optimizer.learning_rate": {"log": [0.001, 1.0]}},
        },
        "training.batch_size": [16, 64],
    }
    study = study_content(sweep=sweep)
    with open_source(simulate(tmp_path / "r", study=study, batch_sizes=[])) as source:
        told = paragraphs(source)
    assert told["Grid"] == (
        "5 conditions drawn at random (seed 3), independently: training.optimizer.learning_rate: "
        "log-uniform from 0.001 to 1; each with all combinations of training.batch_size: 16, 64; "
        "3 seeds (0, 1, 2): 30 trials."
    )
    assert "sgd: learning_rate varied (see Grid), momentum 0.9" in told["Training"]


def test_measures_are_listed_with_their_citations(source):
    measures = describe_methods(source, ()).measures
    rows = {row[0]: row for row in measures.rows}
    assert rows["hessian_trace"][-1] == "Hutchinson 1990"
    assert set(rows) == {"margin_mean", "hessian_trace", "hessian_eigenvalue_1", "weight_norm"}


def test_a_single_condition_without_measurements_is_described(tmp_path):
    study = study_content(
        sweep={},
        seeds=[7],
        measures=[],
        checkpoints={"updates": [10, 20]},
        data={"name": "npz", "path": "my.npz", "train_size": None, "standardize": True},
    )
    path = simulate(tmp_path / "r", study=study, batch_sizes=[])
    with open_source(path) as source:
        told = paragraphs(source)
    assert told["Data"] == "npz: path my.npz, standardize yes."
    assert told["Grid"] == "A single condition; 1 seed (7): 1 trial."
    assert told["Snapshots"] == "Taken at updates 10, 20; of the final network."
    assert told["Measures"] == "No measures were requested."
