"""The README's snippets, word for word: all that need no cluster, no account and no installing."""

import re
import shlex
import shutil
import tomllib
from pathlib import Path

import pytest
from ruamel.yaml import YAML
from typer.testing import CliRunner

import orchestrator
from orchestrator.cli import app
from orchestrator.results import query
from tests.reporting.simulated import simulate, study_content

ROOT = Path(__file__).parents[1]
BLOCK = re.compile(r"(<!-- on-premise: .*? -->\n)?```(\w+)\n(.*?)```", re.DOTALL)
SNIPPETS = [
    (language, text)
    for elsewhere, language, text in BLOCK.findall((ROOT / "README.md").read_text("utf-8"))
    if not elsewhere
]
# Fetched from a registry, or minutes of training.
ELSEWHERE = ("pip install", "orchestrator measure")


def snippets(language):
    found = [text for kind, text in SNIPPETS if kind == language]
    assert found
    return found


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder as a reader has it after the quickstart, with another study's results."""
    place = tmp_path_factory.mktemp("reader")
    shutil.copytree(ROOT / "studies", place / "studies")
    for name in ("quickstart", "other"):
        simulate(place / "results" / name, study=study_content(study=name), seeds=1)
    return place


def test_python_snippets_run(place, monkeypatch):
    monkeypatch.chdir(place)
    names = {"__name__": "readme"}
    for text in snippets("python"):
        exec(compile(text, "README.md", "exec"), names)
    assert set(names["table"]["status"]) == {"ok"}
    assert names["changes"]
    assert orchestrator.measure_model(
        names["model"], names["train"], names["test"], ["margin"]
    ).shape[0]


def test_sql_snippets_run(place):
    for text in snippets("sql"):
        assert query(place / "results" / "quickstart", text).fetchall()


def test_shell_snippets_run(place, monkeypatch):
    monkeypatch.chdir(place)
    tried = 0
    for text in snippets("sh"):
        for command in text.replace("\\\n", "").strip().split("\n.venv"):
            words = shlex.split(command.replace("&&", "\n"))
            if "orchestrator" in words and not any(one in command for one in ELSEWHERE):
                ran = CliRunner().invoke(app, words[words.index("orchestrator") + 1 :])
                assert ran.exit_code == 0, ran.output
                tried += 1
    assert tried


def test_yaml_snippets_are_valid_studies(tmp_path):
    yaml = YAML(typ="safe")
    whole, *parts = snippets("yaml")
    for number, part in enumerate(["", *parts]):
        content = yaml.load(whole) | (yaml.load(part) or {})
        path = tmp_path / f"{number}.yaml"
        yaml.dump(content, path)
        ran = CliRunner().invoke(app, ["validate", str(path)])
        assert ran.exit_code == 0, f"{part}: {ran.output}"


def test_toml_snippets_declare_entry_points():
    for text in snippets("toml"):
        assert tomllib.loads(text)["project"]["entry-points"]
