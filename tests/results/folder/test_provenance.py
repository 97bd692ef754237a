from __future__ import annotations

import hashlib
import json
import platform
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

from orchestrator.results import ResultsFolder, code_diff, collect_provenance
from orchestrator.results.folder import provenance
from tests.results.conftest import study_json


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository with one commit of ``train.py``."""
    path = tmp_path / "project"
    path.mkdir()
    (path / "train.py").write_text("rate = 0.1\n")
    git(path, "init", "--quiet", "--initial-branch", "main")
    git(path, "add", "train.py")
    identity = ("-c", "user.name=A", "-c", "user.email=a@example.com")
    git(path, *identity, "commit", "--quiet", "--message", "first")
    return path


def git(path: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", "-C", str(path), *arguments], check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


def test_a_clean_repository_has_no_diff(repository: Path) -> None:
    assert code_diff(repository) == ""
    state = collect_provenance("study.yaml", ["run"], directory=repository)["git"]
    assert state == {
        "commit": git(repository, "rev-parse", "HEAD"),
        "branch": "main",
        "dirty": False,
        "diff_sha256": None,
    }


def test_uncommitted_changes_are_in_the_diff(repository: Path) -> None:
    (repository / "train.py").write_text("rate = 0.2\n")
    (repository / "new.py").write_text("secret = 1\n")
    (repository / "staged.py").write_text("staged = 1\n")
    git(repository, "add", "staged.py")
    diff = code_diff(repository)
    for line in ("-rate = 0.1", "+rate = 0.2", "+staged = 1", "# untracked: new.py"):
        assert line in diff.splitlines()
    assert "secret" not in diff
    state = collect_provenance("study.yaml", ["run"], directory=repository)["git"]
    assert state["dirty"] is True
    assert state["diff_sha256"] == hashlib.sha256(diff.encode()).hexdigest()


def test_a_long_diff_is_truncated_with_a_note(repository: Path) -> None:
    (repository / "train.py").write_text("é" * 5000)
    diff = code_diff(repository, limit=1001)
    assert len(diff.encode()) < 1100
    assert diff.splitlines()[-1].startswith("# truncated: the diff has ")


def test_programs_configured_by_the_repository_are_not_run(repository: Path) -> None:
    marker = repository.parent / "marker"
    git(repository, "config", "diff.external", f"touch {marker}; true")
    (repository / "train.py").write_text("rate = 0.2\n")
    assert "+rate = 0.2" in code_diff(repository)
    assert not marker.exists()


def test_provenance_works_without_a_repository_or_git(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert code_diff(tmp_path) == ""
    assert collect_provenance("study.yaml", [], directory=tmp_path)["git"] is None
    monkeypatch.setattr("shutil.which", lambda _: None)
    collected = collect_provenance("study.yaml", [], directory=Path(__file__).parent)
    assert collected["git"] is None
    assert collected["hardware"]["gpus"] == []


def test_provenance_contains_code_packages_and_hardware_but_no_environment(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_TOKEN", "s3cr3t-in-the-environment")
    collected = collect_provenance(
        "study.yaml", ["orchestrator", "run"], ["seeds=3"], directory=repository, data="abc"
    )
    text = json.dumps(collected)
    assert "s3cr3t" not in text
    assert collected["command"] == ["orchestrator", "run"]
    assert collected["overrides"] == ["seeds=3"]
    assert collected["data"] == "abc"
    versions = collected["versions"]
    assert versions["python"] == platform.python_version()
    assert versions["duckdb"] == metadata.version("duckdb")
    assert {"torch", "ray", "numpy", "pyarrow", "altair"} <= versions.keys()
    hardware = collected["hardware"]
    assert hardware["host"] == platform.node()
    assert hardware["cores"] >= hardware["usable_cores"] >= 1
    assert hardware["memory_bytes"] > 2**28
    assert collected["started_at"].endswith("+00:00")


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("data.url=https://me:pa55@example.com/x", "data.url=https://…@example.com/x"),
        ("data.url=https://ghp_12ab@example.com/x", "data.url=https://…@example.com/x"),
        ("data.api_key=12ab", "data.api_key=…"),
        ("data={name: 'a:b', password: 'x y', n: 1}", "data={name: 'a:b', password: …, n: 1}"),
        ("data.HF_TOKEN=hf_12", "data.HF_TOKEN=…"),
        ("model.tokens=64", "model.tokens=64"),
        ("https://example.com/a@b", "https://example.com/a@b"),
        ("training.batch_size=[16, 64]", "training.batch_size=[16, 64]"),
    ],
)
def test_secrets_in_the_command_line_are_not_stored(given: str, kept: str) -> None:
    collected = collect_provenance("study.yaml", ["run", "--set", given], [given])
    assert collected["command"] == ["run", "--set", kept]
    assert collected["overrides"] == [kept]


def test_addresses_of_repositories_are_not_stored(repository: Path) -> None:
    git(repository, "remote", "add", "origin", "https://me:pa55@example.com/secret.git")
    (repository / "train.py").write_text("rate = 0.2\n")
    kept = json.dumps(collect_provenance("s", [], directory=repository)) + code_diff(repository)
    assert "pa55" not in kept
    assert "example.com" not in kept


def test_collecting_provenance_does_not_import_torch() -> None:
    code = (
        "import sys; from orchestrator.results import collect_provenance as c; c('s', []);"
        "sys.exit(any(name in sys.modules for name in ('torch', 'ray', 'altair', 'scipy')))"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_each_run_is_appended(tmp_path: Path) -> None:
    path = tmp_path / "provenance.json"
    for number in range(3):
        provenance.record_run(path, {"number": number})
    assert json.loads(path.read_text())["runs"] == [{"number": n} for n in range(3)]


def test_diffs_of_earlier_runs_are_kept(tmp_path: Path) -> None:
    def run(diff: str) -> ResultsFolder:
        return ResultsFolder.create(tmp_path / "small", study_json(), "", {}, diff)

    for diff in ("one", "one", "", "two", "three"):
        folder = run(diff)
    assert folder.diff.read_text() == "three"
    kept = {path.read_text(): path.name for path in folder.path.glob("code-*.diff")}
    assert kept.keys() == {"one", "two"}
    assert kept["one"] == f"code-{hashlib.sha256(b'one').hexdigest()[:8]}.diff"
