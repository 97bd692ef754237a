"""Wrong random searches, each refused with its place; what ``--set`` reaches; what is printed."""

import pytest
from typer.testing import CliRunner

from orchestrator.cli import app
from orchestrator.errors import StudyFileError
from orchestrator.study.study_file import load_study

GOOD = """\
study: good
data: {name: mnist1d}
model: {name: mlp, width: 8}
training:
  batch_size: 32
  stop: {epochs: 3}
sweep:
  random:
    conditions: 12
    of:
      training.optimizer.learning_rate: {log: [0.001, 1]}
      training.batch_size: {log_integer: [16, 512]}
  model.depth: [1, 2]
seeds: 2
"""
RATE, BATCH = "{log: [0.001, 1]}", "{log_integer: [16, 512]}"
AT_RATE, AT_BATCH = "of.training.optimizer.learning_rate", "of.training.batch_size"

# What is replaced, by what, and the line:column, path, message and hint that must come.
WRONG = [
    (RATE, "{log: [1, 0.001]}", "11:47", f"{AT_RATE}.log", "numbers, got [1.0", "smaller"),
    (RATE, "{log: [1, 1]}", "11:47", f"{AT_RATE}.log", "increasing", "smaller first"),
    (RATE, "{log: [0, 1]}", "11:47", f"{AT_RATE}.log", "needs numbers above 0", "above 0"),
    (RATE, "{log: [-1, 1]}", "11:47", f"{AT_RATE}.log", "numbers above 0", "uniform"),
    (RATE, "{log: [.nan, 1]}", "11:48", f"{AT_RATE}.log.0", "finite number, got nan", ""),
    (RATE, "{log: [1, .inf]}", "11:51", f"{AT_RATE}.log.1", "finite number, got inf", ""),
    (RATE, "{log: [1]}", "11:47", f"{AT_RATE}.log", "list of two numbers, got [1]", "[0.001, 1]"),
    (RATE, "{log: [1, 2, 3]}", "11:47", f"{AT_RATE}.log", "list of two numbers", "[0.001, 1]"),
    (RATE, "{log: 1}", "11:47", f"{AT_RATE}.log", "list of two numbers, got 1", "[0.001, 1]"),
    (RATE, "{log: ~}", "11:47", f"{AT_RATE}.log", "two numbers, got nothing", "[0.001, 1]"),
    (RATE, "{log: [a, 1]}", "11:48", f"{AT_RATE}.log.0", "expected a number, got 'a'", ""),
    (RATE, "{log: [true, 1]}", "11:47", f"{AT_RATE}.log", "not be a boolean", ""),
    (RATE, "{integer: [1.5, 3]}", "11:52", f"{AT_RATE}.integer.0", "whole number, got 1.5", ""),
    (RATE, "{uniform: [2, 1]}", "11:51", f"{AT_RATE}.uniform", "increasing numbers", ""),
    (RATE, "{uniform: [-1, 1]}", "11:52", f"{AT_RATE}.uniform.0", "greater than 0, got -1", ""),
    (RATE, "{choice: [0.1, -1]}", "11:56", f"{AT_RATE}.choice.1", "greater than 0, got -1", ""),
    (RATE, "{choice: []}", "11:50", f"{AT_RATE}.choice", "empty list", "at least one value"),
    (RATE, "{choice: 3}", "11:50", f"{AT_RATE}.choice", "expected a list", ""),
    (RATE, "{choice: [1, 1.0]}", "11:50", f"{AT_RATE}.choice", "1.0 twice", "remove one"),
    (RATE, "{}", "11:7", AT_RATE, "one of {log: [a, b]}, {uniform", ""),
    (RATE, "~", "11:41", AT_RATE, "got nothing", ""),
    (RATE, "[0.1, 1]", "11:41", AT_RATE, "one of {log: [a, b]}", ""),
    (RATE, "{lgo: [0.1, 1]}", "11:7", AT_RATE, "got {'lgo': [0.1, 1]}", ""),
    (RATE, "{log: [0.1, 1], uniform: [0, 1]}", "11:7", AT_RATE, "one of", ""),
    (RATE, "{log: [0.1, 1], digits: 3}", "11:57", AT_RATE, "no key 'digits'", ""),
    (BATCH, "{log: [16, 512]}", "12:34", f"{AT_BATCH}.log", "drew 308.246: ", "log_integer"),
    (BATCH, "{uniform: [16, 512]}", "12:38", f"{AT_BATCH}.uniform", "whole number", "integer:"),
    (BATCH, "{integer: [0, 512]}", "12:39", f"{AT_BATCH}.integer.0", "greater than 0", ""),
    (BATCH, "{log_integer: [0, 9]}", "12:42", f"{AT_BATCH}.log_integer", "numbers above 0", ""),
    (BATCH, "{choice: [16, x]}", "12:42", f"{AT_BATCH}.choice.1", "whole number, got 'x'", ""),
    ("conditions: 12", "conditions: 0", "9:17", "conditions", "greater than 0", ""),
    ("conditions: 12", "conditions: x", "9:17", "conditions", "whole number", ""),
    ("conditions: 12", "conditions: 50001", "9:17", "conditions", "200,004 trials", "draw fewer"),
    ("conditions: 12", "conditions: 1000000000000", "9:17", "conditions", "trials, exp", "fewer"),
    ("conditions: 12", "condition: 12", "8:3", "random.conditions", "is missing", ""),
    ("conditions: 12", "seed: -1\n    conditions: 2", "9:11", "seed", "equal to 0", ""),
    ("learning_rate:", "learningrate:", "11:26", AT_RATE[:30], "no key", "'learning_rate'"),
    (
        "training.batch_size: {",
        "training.batchsize: {",
        "12:16",
        "of",
        "unknown path",
        "batch_size",
    ),
    ("training.batch_size: {", "seed: {", "12:7", "of", "seeds cannot be swept", "seeds:"),
    ("model.depth: [", "training.batch_size: [", "12:7", AT_BATCH, "is swept twice", ""),
    ("model.depth: [1, 2]", "model.depth: {log: [1, 2]}", "13:3", "model.depth", "list", "random:"),
    ("random:", "randm:", "8:3", "randm", "expected a list of values", "did you mean 'random'?"),
    ("training.batch_size: {", "'model.width, model.bias': {", "12:7", "of", "couples", "choice"),
    (
        f"training.batch_size: {BATCH}",
        "'model.width, model.dropout': {choice: [[8, 0.1], [16]]}",
        "12:57",
        "choice.1",
        "list of 2 values, got [16]",
        "",
    ),
    (
        f"training.batch_size: {BATCH}",
        "'model.width, model.dropout': {choice: [[8, 0.1], [16, 7]]}",
        "12:62",
        "choice.1.1",
        "less than 1, got 7",
        "",
    ),
]


@pytest.fixture
def write(tmp_path):
    def write_text(text):
        path = tmp_path / "study.yaml"
        path.write_text(text, encoding="utf-8")
        return path

    return write_text


def test_the_valid_search_is_accepted(write):
    assert load_study(write(GOOD)).sweep.random.conditions == 12


@pytest.mark.parametrize(("old", "new", "place", "path", "what", "hint"), WRONG)
def test_wrong_searches_are_refused_with_their_place(write, old, new, place, path, what, hint):
    assert old in GOOD
    file = write(GOOD.replace(old, new, 1))
    with pytest.raises(StudyFileError) as caught:
        load_study(file)
    first = caught.value.problems[0]
    assert first.where == f"{file}:{place}", str(caught.value)
    assert path in first.path
    assert what in first.what
    assert hint in (first.hint or "")


def test_an_empty_search_is_refused(write):
    file = write(GOOD)
    for override, what in (
        ("sweep.random.of={}", "of: is empty: nothing to draw"),
        ("sweep.random=~", "random: is empty: nothing to draw"),
        ("sweep.random={conditions: 3}", "of: is missing"),
    ):
        with pytest.raises(StudyFileError, match=what):
            load_study(file, [override])


def test_a_search_that_draws_a_condition_twice_is_refused(write):
    """Twelve draws of two values: they would be the same trials, counted twice."""
    with pytest.raises(StudyFileError, match="occurs twice") as caught:
        load_study(write(GOOD), ["sweep.random.of={training.batch_size: {choice: [16, 32]}}"])
    assert "draw fewer" in caught.value.problems[0].hint


@pytest.mark.parametrize(
    ("override", "found"),
    [
        ("sweep.random.conditions=5", {}),
        ("sweep.random.seed=7", {}),
        (f"sweep.random.{AT_RATE}.log=[0.5, 1]", {"log": (0.5, 1)}),
        (f"sweep.random.{AT_RATE}={{uniform: [0.5, 1]}}", {"uniform": (0.5, 1)}),
        ("sweep.random.of.model.width={integer: [4, 9]}", {}),
    ],
)
def test_overrides_reach_a_random_search(write, override, found):
    before, after = load_study(write(GOOD)), load_study(write(GOOD), [override])
    assert after != before
    if found:
        rate = after.sweep.random.of["training.optimizer.learning_rate"]
        assert rate.model_dump() == found


def test_wrong_overrides_name_the_option(write):
    for value in ("[2, 1]", "[-1, 1]"):
        override = f"sweep.random.{AT_RATE}.log={value}"
        with pytest.raises(StudyFileError, match=r"--set sweep\.random\.of\.training"):
            load_study(write(GOOD), [override])


@pytest.mark.parametrize("command", [["validate"], ["plan", "--no-probe"]])
def test_validate_and_plan_print_the_design(write, tmp_path, monkeypatch, command):
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, [command[0], str(write(GOOD)), *command[1:]])
    assert result.exit_code == 0, result.output
    assert (
        "design: 12 conditions drawn at random (seed 0) × 2 values of depth × 2 seeds\n"
        "  training.optimizer.learning_rate: log-uniform from 0.001 to 1\n"
        "  training.batch_size: log-uniform integer from 16 to 512\n"
    ) in result.output
