"""Hints are tried: whoever does what they say gets on."""

import numpy as np
import pytest

from orchestrator.data.found_files import SourceArrays, check_source
from orchestrator.errors import DataError, QueryError, StudyFileError
from orchestrator.results import sql_text
from orchestrator.study.study_file import load_study

X = np.arange(24.0).reshape(12, 2)
INTEGERS = np.arange(12) % 3


def checked(y):
    return check_source(SourceArrays(X, y, X, y), "npz")


@pytest.mark.parametrize(
    "y",
    [
        np.eye(3)[INTEGERS],
        np.eye(3, dtype=int)[INTEGERS],
        np.eye(3, dtype=bool)[INTEGERS],
        np.array(["cat", "dog", "cow"])[INTEGERS],
        np.array(["cat", "dog", "cow"], dtype=object)[INTEGERS],
        np.array([b"cat", b"dog", b"cow"])[INTEGERS],
        INTEGERS.astype(float),
        INTEGERS.astype(np.float32) - 1,
        INTEGERS == 0,
        np.linspace(-1.0, 2.5, 12),
        INTEGERS[:, None],
        INTEGERS[:, None].astype(float),
        INTEGERS + 1,
        2 * INTEGERS,
        INTEGERS - 1,
    ],
)
def test_following_the_hints_for_labels_makes_them_valid(y):
    for _ in range(4):
        try:
            classes = checked(y)
        except DataError as error:
            hint = error.hint.partition("use ")[2] or error.hint.rpartition(": ")[2]
            code = hint.partition(" if ")[0].rpartition("for example ")[2] or hint
            y = eval(code, {"np": np, "y": y, "y_train": y})
        else:
            assert classes >= 2
            return
    raise AssertionError("the hints lead nowhere")


def test_hints_for_schedules_do_not_suggest_import_paths(tmp_path):
    path = tmp_path / "study.yaml"
    path.write_text(
        "study: s\ndata: {name: digits}\nmodel: {name: mlp}\n"
        'training: {stop: {epochs: 1}, schedule: "mine:schedule"}\n'
    )
    with pytest.raises(StudyFileError, match=r"expected one of constant, cosine, step$"):
        load_study(path)
    path.write_text(path.read_text().replace("{name: mlp}", "{name: mpl}"))
    with pytest.raises(StudyFileError, match="mlp"):
        load_study(path)


def test_the_hint_for_a_results_folder_names_its_study(tmp_path):
    with pytest.raises(StudyFileError, match="is a folder, expected a study file"):
        load_study(tmp_path)
    text = "study: s\ndata: {name: digits}\nmodel: {name: mlp}\ntraining: {stop: {epochs: 1}}\n"
    (tmp_path / "study.yaml").write_text(text)
    (tmp_path / "study.resolved.json").write_text("{}")
    with pytest.raises(StudyFileError) as caught:
        load_study(tmp_path)
    said = caught.value.problems[0].hint
    assert load_study(said.partition("run ")[2].partition(" --results ")[0]).study == "s"


def test_the_hint_for_a_missing_query_contains_one(tmp_path):
    with pytest.raises(QueryError, match="no results folder"):
        sql_text("SELECT 1", [])
    with pytest.raises(QueryError, match=f"no SQL.*\n.*query {tmp_path} 'FROM final LIMIT 5'"):
        sql_text(str(tmp_path), [])
    assert sql_text("FROM final LIMIT 5", [str(tmp_path)]) == "FROM final LIMIT 5"
