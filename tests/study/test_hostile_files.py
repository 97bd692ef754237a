"""Study files that nobody wrote in good faith: a valid study or a located error, nothing else.

Ten thousand cases: ``HYPOTHESIS_PROFILE=thorough pytest tests/study/test_hostile_files.py``.
"""

import copy
import math
import os
import re

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestrator.errors import StudyFileError
from orchestrator.study.columns import swept_columns
from orchestrator.study.spec import Study
from orchestrator.study.study_file import load_study, resolved_yaml
from orchestrator.study.trials import expand_trials, hyperparameters

RICH = {
    "study": "rich",
    "question": "Is it so?",
    "data": {"name": "mnist1d", "train_size": 500, "label_noise": 0.1, "standardize": True},
    "model": {"name": "mlp", "width": 8, "depth": 2, "activation": "relu", "dropout": 0.1},
    "training": {
        "loss": {"name": "cross_entropy", "label_smoothing": 0.1},
        "batch_size": 32,
        "optimizer": {"name": "sgd", "learning_rate": 0.1, "momentum": 0.9, "nesterov": True},
        "schedule": {"name": "step", "epochs": [1, 2], "factor": 0.5},
        "augmentation": ["flip"],
        "stop": {"epochs": 3, "train_loss": 0.01},
    },
    "sweep": {
        "training.batch_size": [16, 64],
        "model.width, model.depth": [[8, 1], [16, 2]],
        "training.optimizer": ["sam", {"name": "no_such_package.m:Sgd", "x": [1, {"y": None}]}],
        "random": {
            "conditions": 2,
            "of": {
                "training.schedule.factor": {"log": [0.1, 0.9]},
                "data.seed, data.label_noise": {"choice": [[0, 0.1], [1, 0.2]]},
            },
        },
    },
    "seeds": [0, 7],
    "checkpoints": {"train_loss": [1.0, 0.1], "epochs": {"log_spaced": 3}, "updates": [1, 5]},
    "measures": ["margin", {"hessian_trace": {"probes": 32}}, {"no_such_package.m:f": {"k": 1}}],
    "measuring": {"dtype": "float32", "timeout": 60},
    "claims": [
        {"flatness_tracks_margin": {"threshold": -0.9}},
        {"own": {"statement": "s", "x": "a", "y": "b", "below": -0.3, "log": ["a"]}},
    ],
    "resources": {"trial": {"cpus": 1}, "measurer": {"gpus": 0.5, "count": 2}},
}


class Raw(str):
    """Text that goes into the file as it is."""


RAW = (
    *(
        "",
        "~",
        "yes",
        "NO",
        "true",
        ".nan",
        "-.inf",
        ".INF",
        "1e400",
        "-0",
        "0x1F",
        "0o17",
        "1_000",
    ),
    *("99999999999999999999", "-1", "1e3", "1.0", "2026-11-01", "2001-99-99", "12:30", "9" * 5000),
    *(
        "!!python/object/apply:os.system ['touch intruder']",
        "!!int 3",
        "!x y",
        "!!binary aGk=",
        "!",
    ),
    *("&a 1", "*a", "<<", "? [a]", "{<<: {name: sgd}}", "[[[]]]", "[", "}", "'", '"', ":", "- -"),
    *("\t", "\x00", "\ufeff", "\x85", "# ", "\n", "---\n", "...\n", "%YAML 1.1\n", "|\n", ">+\n"),
    *("@", "`", "%", "=", '"\\e[2J"', '"\\0"', '"\\ud800"', "'é😀'"),
)
NUMBERS = st.one_of(
    st.integers(),
    st.sampled_from([0, 1, -1, 2**31, 2**63 - 1, -(2**63), 2**63, 10**18, 10**40]),
    st.floats(),
)
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    NUMBERS,
    st.text(max_size=8),
    st.sampled_from(RAW).map(Raw),
    st.sampled_from(["mlp", "sgd", "margin", "a.b:c", "no_such_package.m:f", "name", "npz"]),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["name", "x", "epochs", "é", ""]) | SCALARS, inner)
    ),
    max_leaves=6,
)


def written(value):
    """YAML in flow style; whatever is wrong with it is meant to be."""
    match value:
        case Raw():
            return str(value)
        case dict():
            return "{" + ", ".join(f"{written(k)}: {written(v)}" for k, v in value.items()) + "}"
        case list():
            return "[" + ", ".join(map(written, value)) + "]"
        case None | bool():
            return {None: "null", True: "true", False: "false"}[value]
        case float() if not math.isfinite(value):
            return ".nan" if math.isnan(value) else f"{'-' * (value < 0)}.inf"
        case int() | float():
            return str(value)
        case _:
            return "'" + value.replace("'", "''") + "'"


def places(value, path=()):
    """The path of every node below ``value``."""
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, item in list(items):
        yield (*path, key)
        if isinstance(item, dict | list):
            yield from places(item, (*path, key))


PLACES = tuple(places(RICH))


@st.composite
def edited_trees(draw):
    """The rich study after some edits, each at a random place."""
    tree = copy.deepcopy(RICH)
    for path in draw(st.lists(st.sampled_from(PLACES), min_size=1, max_size=4)):
        node = tree
        try:
            for key in path[:-1]:
                node = node[key]
            old = node[path[-1]]
        except (KeyError, IndexError, TypeError):
            continue  # An earlier edit took it away …
        if not isinstance(node, dict | list):
            continue  # … or put a text there, whose letters have places too.
        edit = draw(
            st.sampled_from(["value", "value", "delete", "rename", "move", "wrap", "repeat"])
        )
        if edit == "delete":
            del node[path[-1]]
        elif edit == "rename" and isinstance(node, dict):
            new = draw(st.sampled_from(["nmae", "name", "epochs", "a.b", ""]) | SCALARS)
            node[new] = node.pop(path[-1])
        elif edit == "move":
            place = draw(st.sampled_from(PLACES))
            found = RICH
            for key in place:
                found = found[key]
            node[path[-1]] = copy.deepcopy(found)
        elif edit == "wrap":
            for _ in range(draw(st.sampled_from([1, 2, 60]))):
                old = [old]
            node[path[-1]] = old
        elif edit == "repeat":
            node[path[-1]] = [old, old]
        else:
            node[path[-1]] = draw(VALUES)
    return tree


def check(path, overrides=()):
    """A study that is valid all the way, or an error with a place."""
    try:
        study = load_study(path, overrides)
    except StudyFileError as error:
        assert error.problems
        for problem in error.problems:
            where = re.escape(str(path)) + r":\d+:\d+"
            assert re.fullmatch(where, problem.where) or problem.where.startswith("--set ")
            assert problem.what
        assert str(error)
        return False
    trials = expand_trials(study)
    assert len({trial.trial_id for trial in trials}) == len(trials)
    swept_columns(study.sweep.paths)
    for trial in trials[:3]:
        hyperparameters(study, trial)
    stored = Study.model_validate_json(study.model_dump_json())
    assert [trial.trial_id for trial in expand_trials(stored)] == [t.trial_id for t in trials]
    resolved_yaml(study)
    return True


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    """A path to write to, in an empty working directory."""
    folder = tmp_path_factory.mktemp("hostile")
    before = os.getcwd()
    os.chdir(folder)
    yield folder / "study.yaml"
    os.chdir(before)
    left = {path.name for path in folder.iterdir()}
    assert left <= {"study.yaml"}, "something in a study file was executed"


def test_the_rich_study_is_valid(file):
    file.write_text(written(RICH))
    assert check(file)


# Many draws are refused for their size, which is no flaw of the draws.
EASY = settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])


@EASY
@given(edited_trees())
def test_random_edits_of_a_valid_study_give_a_study_or_a_located_error(file, tree):
    file.write_text(written(tree), encoding="utf-8", errors="surrogatepass")
    check(file)


@EASY
@given(st.dictionaries(st.sampled_from([*RICH, "x"]) | SCALARS, VALUES))
def test_random_yaml_gives_a_study_or_a_located_error(file, tree):
    file.write_text(written(tree), encoding="utf-8", errors="surrogatepass")
    check(file)


@EASY
@given(st.data())
def test_random_bytes_in_a_valid_study_give_a_study_or_a_located_error(file, data):
    content = bytearray(written(RICH).encode())
    for at in data.draw(st.lists(st.integers(0, len(content) - 1), min_size=1, max_size=4)):
        content[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
    file.write_bytes(content)
    check(file)


@EASY
@given(
    st.lists(
        st.tuples(
            st.sampled_from([".".join(map(str, path)) for path in PLACES]) | st.text(max_size=6),
            st.sampled_from(["=", "=", "=", "", "=="]),
            VALUES.map(written),
        ).map("".join),
        min_size=1,
        max_size=3,
    )
)
def test_random_overrides_give_a_study_or_a_located_error(file, overrides):
    file.write_text(written(RICH))
    check(file, overrides)
