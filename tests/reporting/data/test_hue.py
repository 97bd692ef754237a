from orchestrator.reporting.data.hue import choose_hue, level_text
from orchestrator.reporting.data.open_results import open_source
from tests.reporting.simulated import simulate, study_content


def hue_of(path, **study):
    simulate(path, study=study_content(**study), learning_rates=[0.05, 0.1], seeds=1)
    with open_source(path) as source:
        return choose_hue(source)


SWEEP = {
    "training.batch_size": [16, 64, 256, 1024],
    "training.optimizer.learning_rate": [0.05, 0.1],
}
STATED = {"name": "mine", "statement": "It falls", "x": "margin_mean", "below": 0}


def test_the_hyperparameter_with_most_levels_is_the_hue(tmp_path):
    hue = hue_of(tmp_path / "r", sweep=SWEEP, claims=[])
    assert (hue.column, hue.title) == ("batch_size", "batch size")
    assert hue.levels == ("16", "64", "256", "1024")


def test_a_hyperparameter_that_a_claim_names_comes_first(tmp_path):
    claim = STATED | {"y": "learning_rate"}
    hue = hue_of(tmp_path / "r", sweep=SWEEP, claims=[claim])
    assert (hue.column, hue.levels) == ("learning_rate", ("0.05", "0.1"))


def test_batch_size_is_what_large_batches_are_about(tmp_path):
    sweep = SWEEP | {"training.batch_size": [16]}
    simulate(
        tmp_path / "r",
        study=study_content(sweep=sweep, claims=["large_batch_needs_time"]),
        batch_sizes=[16, 64],
        learning_rates=[0.05, 0.1, 0.2],
        seeds=1,
    )
    with open_source(tmp_path / "r") as source:
        assert choose_hue(source).column == "batch_size"


def test_batch_size_comes_first_among_equals(tmp_path):
    simulate(
        tmp_path / "r",
        study=study_content(sweep=SWEEP, claims=[]),
        batch_sizes=[16, 64],
        learning_rates=[0.05, 0.1],
        seeds=1,
    )
    with open_source(tmp_path / "r") as source:
        assert choose_hue(source).column == "batch_size"


def test_a_batch_size_that_does_not_vary_is_no_hue(tmp_path):
    study = study_content(sweep={"training.optimizer.learning_rate": [0.05, 0.1]})
    path = simulate(
        tmp_path / "r", study=study, batch_sizes=[64], learning_rates=[0.05, 0.1], seeds=1
    )
    with open_source(path) as source:
        hue = choose_hue(source)
    assert (hue.column, hue.levels) == ("learning_rate", ("0.05", "0.1"))


def test_the_seed_of_the_data_can_be_the_hue(tmp_path):
    study = study_content(sweep={"data.seed": [0, 1]})

    def swept(rows):
        for number, trial in enumerate(rows["trials"]):
            trial["data_seed"] = number % 2

    path = simulate(
        tmp_path / "r", study=study, batch_sizes=[64], change=swept, swept={"data_seed": int}
    )
    with open_source(path) as source:
        hue = choose_hue(source)
    assert (hue.column, hue.levels) == ("data_seed", ("0", "1"))


def test_a_study_without_variation_has_no_hue(without_trace, empty):
    for path in (without_trace, empty):
        with open_source(path) as source:
            assert choose_hue(source) is None


def test_levels_are_formatted_as_text():
    assert [level_text(value) for value in (0.1, 64, "relu", None)] == ["0.1", "64", "relu", "none"]
    close = [0.1234567, 0.1234568, 1e6 + 0.5, 1e6]
    assert len(set(map(level_text, close))) == len(close)
