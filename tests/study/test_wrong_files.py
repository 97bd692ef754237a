"""Wrong study files: each is refused with its place, and never with a traceback."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from orchestrator.cli import app
from orchestrator.errors import StudyFileError, UserError
from orchestrator.study.study_file import load_study

GOOD = """\
study: good
data: {name: mnist1d}
model: {name: mlp, width: 8}
training:
  batch_size: 32
  optimizer: {name: sgd, learning_rate: 0.1}
  stop: {epochs: 3}
sweep:
  training.batch_size: [16, 64]
  "model.width, model.depth": [[8, 1], [16, 2]]
seeds: 2
checkpoints:
  epochs: {log_spaced: 3}
measures: [margin, {hessian_trace: {probes: 32}}]
"""

# What is replaced, by what, and the line:column, path, message and hint that must come.
WRONG = [
    ("study: good", "study: good\nsweeep: {}", "2:1", "sweeep", "a study has no key", "'sweep'"),
    ("study: good\n", "", "1:1", "study", "is missing", ""),
    ("study: good", "study: 'a b'", "1:8", "study", "letters, digits", ""),
    ("mnist1d", "mnst1d", "2:14", "data.name", "no data set 'mnst1d'", "'mnist1d'"),
    ("name: mnist1d", "name: npz", "2:1", "data.path", "is missing", ""),
    ("name: mlp", "name: mpl", "3:15", "model.name", "no model 'mpl'", "'mlp'"),
    ("width: 8}", "widht: 8}", "3:20", "model.widht", "no key", "'width'"),
    ("width: 8}", "width: -8}", "3:27", "model.width", "greater than 0, got -8", ""),
    ("width: 8}", "width: wide}", "3:27", "model.width", "whole number, got 'wide'", ""),
    ("width: 8}", "activation: rleu}", "3:32", "model.activation", "expected 'relu'", "'relu'"),
    ("{epochs: 3}", "{seconds: 9}", "13:3", "checkpoints.epochs", "stop.epochs or", "list the"),
    ("batch_size: 32", "batch_size: 1.5", "5:15", "training.batch_size", "whole number", ""),
    ("batch_size: 32", "bach_size: 32", "5:3", "training.bach_size", "no key", "'batch_size'"),
    ("name: sgd", "name: sdg", "6:21", "training.optimizer", "no optimizer 'sdg'", "'sgd'"),
    ("learning_rate: 0.1", "lr: 0.1", "6:26", "training.optimizer.lr", "no key 'lr'", ""),
    ("learning_rate: 0.1", "nesterov: true", "6:3", "training.optimizer", "momentum", ""),
    ("{epochs: 3}", "{epoch: 3}", "7:10", "training.stop.epoch", "no key", "'epochs'"),
    ("{epochs: 3}", "{train_loss: 0.1}", "7:3", "training.stop", "may never be reached", ""),
    ("{epochs: 3}", "{epochs: .inf}", "7:18", "training.stop.epochs", "finite number", ""),
    ("[16, 64]", "[16, x]", "9:29", "sweep.training.batch_size.1", "whole number", ""),
    ("[16, 64]", "[]", "9:24", "sweep.training.batch_size", "empty list", ""),
    ("[16, 64]", "[16, 16]", "8:1", "sweep", "occurs twice", ""),
    ("training.batch_size: [", "training.batchsize: [", "9:12", "", "unknown path", "'batch_size'"),
    ("training.batch_size: [", "seed: [", "9:3", "", "seeds cannot be swept", "seeds:"),
    ("[16, 2]]", "[16]]", "10:40", "", "list of 2 values", ""),
    ("[16, 2]]", "[16, -2]]", "10:45", "", "greater than or equal to 0", ""),
    ("seeds: 2", "seeds: many", "11:8", "seeds", "whole number of at least 1", ""),
    ("seeds: 2", "seeds: [1, 1]", "11:8", "seeds", "each only once", ""),
    ("log_spaced: 3", "logspaced: 3", "13:3", "checkpoints.epochs", "{log_spaced: n}", ""),
    ("[margin", "[margn", "14:12", "measures.0", "no measure 'margn'", "'margin'"),
    ("probes: 32", "probs: 32", "14:37", "probs", "no key", "'probes'"),
    ("seeds: 2", "seeds: 2\nseeds: 3", "12:1", "", "duplicate key", ""),
    ("seeds: 2", "seeds: &a 2", "11:8", "", "anchors", ""),
    ("seeds: 2", "seeds: [2", "12:12", "", "expected", ""),
    ("seeds: 2", "seeds: *a", "11:8", "", "anchors and aliases", "write it out"),
    ("seeds: 2", "seeds: !!int 2", "11:8", "", "tags (!)", ""),
    ("seeds: 2", "seeds: !!python/name:os.system ''", "11:8", "", "tags (!)", ""),
    ("study: good", "%YAML 1.1\n---\nstudy: good", "2:1", "", "directives", ""),
    ("seeds: 2", "seeds: 2\n7: 3", "12:1", "", "keys must be text, got '7'", "quote it"),
    ("seeds: 2", "seeds: 2\n<<: {seeds: 3}", "12:1", "", "keys must be text", ""),
    ("seeds: 2", "seeds: " + "[" * 60, "11:57", "", "more than 50 levels", ""),
    ("seeds: 2", "seeds: 99999999999999999999", "11:8", "", "64 bits", ""),
    ("seeds: 2", "seeds: " + "9" * 5000, "11:8", "", "cannot be read", ""),
    ("study: good", "study: go\0od", "1:10", "", "character 0x00", ""),
    ("batch_size: 32", "batch_size: true", "5:15", "training.batch_size", "not be a boolean", ""),
    ("{epochs: 3}", "{train_loss: true, epochs: 3}", "7:22", "train_loss", "not be a boolean", ""),
    ("[16, 64]", "[16, true]", "9:29", "sweep.training.batch_size.1", "not be a boolean", ""),
    ("seeds: 2", "seeds: [0, false]", "11:8", "seeds", "not be a boolean", ""),
    ("seeds: 2", "seeds: 1000000000000", "11:1", "seeds", "4,000,000,000,000 trials", ""),
    ("log_spaced: 3", "log_spaced: 1000000000000", "13:3", "checkpoints.epochs", "whole", ""),
    ("width: 8}", "depth: 1000000000}", "3:27", "model.depth", "less than or equal", ""),
]


@pytest.fixture
def write(tmp_path):
    def write_text(text):
        path = tmp_path / "study.yaml"
        path.write_text(text, encoding="utf-8")
        return path

    return write_text


def test_the_valid_file_is_accepted(write):
    study = load_study(write(GOOD))
    assert study.training.optimizer.learning_rate == 0.1


@pytest.mark.parametrize(("old", "new", "place", "path", "what", "hint"), WRONG)
def test_wrong_files_exit_with_code_2_and_name_the_line(write, old, new, place, path, what, hint):
    assert GOOD.count(old) >= 1
    file = write(GOOD.replace(old, new, 1))
    with pytest.raises(StudyFileError) as caught:
        load_study(file)
    first = caught.value.problems[0]
    assert first.where == f"{file}:{place}", str(caught.value)
    assert path in first.path
    assert what in first.what
    assert hint in (first.hint or "")

    result = CliRunner().invoke(app, ["validate", str(file)])
    assert result.exit_code == 2
    assert f"error[{first.code}]: " in result.stdout


def test_all_errors_are_reported_together(write):
    text = GOOD.replace("width: 8}", "widht: 8}").replace("batch_size: 32", "batch_size: x")
    with pytest.raises(StudyFileError) as caught:
        load_study(write(text))
    assert len(caught.value.problems) == 2


@pytest.mark.parametrize(
    ("override", "what"),
    [
        ("training.epohcs=5", "no key"),
        ("training.batch_size=x", "whole number"),
        ("training.batch_size", "expected path=value"),
        ("=5", "expected path=value"),
        ("measures.7=margin", "no item 7"),
        ("study.name=x", "should be a valid string"),
        ("seeds.first=x", "which has no keys"),
        ("seeds=[1", "not valid YAML"),
    ],
)
def test_wrong_overrides_name_the_option(write, override, what):
    with pytest.raises(StudyFileError) as caught:
        load_study(write(GOOD), [override])
    assert what in str(caught.value)
    assert f"--set {override}" in str(caught.value) or "study" in override


def test_overrides_reach_every_part_of_a_study(write):
    overrides = [
        "training.batch_size=1e1",
        "model=cnn",
        "sweep.training.batch_size=[8]",
        "sweep={}",
        "seeds=[5, 6]",
        "training.loss.label_smoothing=0.1",
        "training.loss.name=cross_entropy",
    ]
    study = load_study(write(GOOD), overrides)
    assert study.training.batch_size == 10
    assert study.model.name == "cnn"
    assert study.seed_list == (5, 6)
    assert study.training.loss.label_smoothing == 0.1


@pytest.mark.parametrize("content", [b"", b"- 1\n- 2\n", b"3\n", b"\xff\xfe\x00", b"a: [\n", b"\t"])
def test_files_that_contain_no_study_are_refused(tmp_path, content):
    path = tmp_path / "study.yaml"
    path.write_bytes(content)
    with pytest.raises(StudyFileError, match=r"study\.yaml:"):
        load_study(path)


def test_an_oversized_grid_is_refused_before_expansion(write):
    axes = [f"  model.x{axis}: [{', '.join(map(str, range(10)))}]" for axis in range(12)]
    text = GOOD.replace("{name: mlp, width: 8}", "{name: 'no_such_package.m:Net'}")
    head, _, tail = text.partition("sweep:\n")
    tail = tail[tail.index("seeds") :]
    with pytest.raises(
        StudyFileError, match=r"sweep: 1,000,000,000,000 conditions × 2 seeds[^\n]*\n.*8:1\n"
    ):
        load_study(write(head + "\n".join(["sweep:", *axes, tail])))


def test_oversized_files_are_refused_unread(tmp_path):
    path = tmp_path / "study.yaml"
    with path.open("wb") as file:
        file.truncate(100 << 20)  # Sparse: it takes no room.
    with pytest.raises(StudyFileError, match=r"is larger than .*\n.*study\.yaml:1:1$"):
        load_study(path)


def test_a_byte_order_mark_is_accepted(write):
    assert load_study(write("\ufeff" + GOOD)) == load_study(write(GOOD))


@pytest.mark.parametrize(
    "command",
    [["validate"], ["plan", "--resolved"], ["plan", "--no-probe", "--set", "model=mlp"]],
)
def test_validate_and_an_unprobed_plan_import_no_custom_code(write, tmp_path, monkeypatch, command):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "intruder.py").write_text("raise SystemExit('imported')")
    name, *options = command
    text = GOOD.replace("{name: mlp, width: 8}", "{name: 'intruder:Net', width: 8}")
    text = text.replace("[margin,", "['intruder:measure', margin,")
    result = CliRunner().invoke(app, [name, str(write(text)), *options])
    assert result.exit_code == 0, result.output


def test_a_missing_file_or_a_folder_is_refused(tmp_path):
    with pytest.raises(StudyFileError, match="no such file"):
        load_study(tmp_path / "nowhere.yaml")
    with pytest.raises(StudyFileError, match="is a folder"):
        load_study(tmp_path)


@given(st.integers(0, len(GOOD) - 1), st.text(max_size=6), st.integers(0, 8))
def test_random_edits_raise_only_user_errors(tmp_path_factory, at, text, cut):
    path = tmp_path_factory.mktemp("fuzz") / "study.yaml"
    path.write_text(GOOD[:at] + text + GOOD[at + cut :], encoding="utf-8")
    with contextlib.suppress(UserError):  # Anything else escapes and fails the test.
        load_study(path)
