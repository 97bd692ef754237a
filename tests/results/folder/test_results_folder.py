from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from orchestrator.errors import ResultsError
from orchestrator.results import ResultsFolder, read_runs
from orchestrator.results.table_schemas import SCHEMA_VERSION, TABLES, table_schema
from tests.results.conftest import study_json

Make = Callable[..., ResultsFolder]


def test_a_new_folder_has_the_documented_layout(tmp_path: Path) -> None:
    folder = ResultsFolder.create(
        tmp_path / "results" / "small", study_json(), "study: small\n", {"command": ["a"]}, "diff"
    )
    assert folder.study_file.read_text() == "study: small\n"
    assert folder.study_name == "small"
    assert json.loads(folder.provenance.read_text())["runs"] == [{"command": ["a"]}]
    assert read_runs(folder.provenance) == {"runs": [{"command": ["a"]}]}
    assert folder.diff.read_text() == "diff"
    for table in TABLES:
        assert folder.schema(table).equals(table_schema(table), check_metadata=True)
        assert pq.read_table(folder.table(table) / "_schema.parquet").num_rows == 0
    names = {path.name for path in folder.path.iterdir() if not path.name.startswith(".")}
    assert names == {
        *("study.yaml", "study.resolved.json", "provenance.json", "code.diff"),
        *(
            "trials",
            "epochs",
            "checkpoints",
            "measures",
            "measure_catalog",
            "audit",
            "trust_checks",
            "curves",
            "connectivity",
            "example_subsets",
            "examples",
        ),
        *("snapshots", "resume", "tune"),
    }


def test_paths_follow_from_trial_and_step(folder: ResultsFolder) -> None:
    assert folder.snapshot("a0", 7) == folder.path / "snapshots" / "a0" / "7.safetensors"
    assert folder.resume_state("a0") == folder.path / "resume" / "a0.safetensors"
    assert folder.report == folder.path / "report.html"


def test_relative_paths_and_links_become_absolute(
    folder: ResultsFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "link").symlink_to(folder.path)
    monkeypatch.chdir(tmp_path)
    assert ResultsFolder.open("link").path == folder.path.resolve()


def test_the_same_study_may_be_created_again(make_folder: Make) -> None:
    make_folder()
    folder = make_folder(study=study_json(seeds=5))
    assert json.loads(folder.resolved.read_text())["seeds"] == 5
    assert len(json.loads(folder.provenance.read_text())["runs"]) == 2


def test_swept_columns_only_grow(make_folder: Make) -> None:
    make_folder(swept={"beta1": int})
    folder = make_folder(swept={"kind": str, "beta1": float})
    make_folder(swept={})
    assert folder.schema("trials").field("beta1").type == pa.float64()
    assert folder.schema("trials").field("kind").type == pa.string()
    assert ResultsFolder.open(folder.path).schema("trials").equals(folder.schema("trials"))


def test_an_open_folder_sees_columns_that_another_process_added(make_folder: Make) -> None:
    folder = make_folder()
    assert "beta1" not in folder.schema("trials").names
    make_folder(swept={"beta1": float})
    assert "beta1" in folder.schema("trials").names


def test_a_folder_of_another_study_is_refused(make_folder: Make) -> None:
    make_folder()
    with pytest.raises(ResultsError, match="contains the results of study 'small', not 'large'"):
        make_folder(study=study_json(study="large"))
    assert make_folder().study_name == "small"


def test_a_newer_schema_is_refused(make_folder: Make) -> None:
    folder = make_folder()
    schema = table_schema("trials").with_metadata({"schema_version": str(SCHEMA_VERSION + 1)})
    pq.write_table(schema.empty_table(), folder.table("trials") / "_schema.parquet")
    for enter in (make_folder, lambda: ResultsFolder.open(folder.path)):
        with pytest.raises(ResultsError, match=f"schema version {SCHEMA_VERSION + 1}"):
            enter()


def test_folders_and_files_without_results_are_refused(tmp_path: Path) -> None:
    def create(path: Path) -> ResultsFolder:
        return ResultsFolder.create(path, study_json(), "", {}, "")

    (tmp_path / "documents").mkdir()
    (tmp_path / "documents" / "letter.txt").write_text("dear")
    for path in (tmp_path / "documents", tmp_path / "documents" / "letter.txt"):
        with pytest.raises(ResultsError, match="exists, but is not a results folder"):
            create(path)
    assert (tmp_path / "documents" / "letter.txt").read_text() == "dear"
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / ".nothing").touch()
    assert create(tmp_path / "empty").study_name == "small"


def test_an_interrupted_creation_can_be_completed(make_folder: Make) -> None:
    folder = make_folder()
    (folder.table("measures") / "_schema.parquet").unlink()
    with pytest.raises(ResultsError, match=r"incomplete, measures/_schema.parquet is missing"):
        ResultsFolder.open(folder.path)
    make_folder()
    assert ResultsFolder.open(folder.path).study_name == "small"


def test_a_folder_in_use_cannot_be_created_again(make_folder: Make) -> None:
    folder = make_folder()
    with folder.lock(), pytest.raises(ResultsError, match="in use by process"):
        make_folder(study=study_json(seeds=9))
    assert json.loads(folder.resolved.read_text())["seeds"] == 2


def test_missing_results_are_reported_with_nearby_ones(make_folder: Make, tmp_path: Path) -> None:
    with pytest.raises(ResultsError, match="none found nearby"):
        ResultsFolder.open(tmp_path / "smal")
    for name in ("other", "small"):
        make_folder(name)
    with pytest.raises(ResultsError) as caught:
        ResultsFolder.open(tmp_path / "smal")
    assert "does not exist" in caught.value.message
    assert caught.value.hint == (
        f"results folders nearby: {tmp_path / 'small'}, {tmp_path / 'other'}"
    )
    with pytest.raises(ResultsError, match="is not a results folder"):
        ResultsFolder.open(tmp_path)


def test_wildcards_in_the_path_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ResultsError, match="can't contain"):
        ResultsFolder(tmp_path / "a*b")


def test_an_unknown_table_is_refused(folder: ResultsFolder) -> None:
    with pytest.raises(ResultsError, match="unknown table 'trails'"):
        folder.schema("trails")


def test_resume_states_are_discarded_with_their_companions(folder: ResultsFolder) -> None:
    for name in ("a0.safetensors", "a0.1.safetensors", "a0.safetensors.invalid", "a1.safetensors"):
        (folder.resume / name).touch()
    folder.discard_resume_states({"a0"})
    folder.discard_resume_states({"b0"})
    assert [path.name for path in folder.resume.iterdir()] == ["a1.safetensors"]
