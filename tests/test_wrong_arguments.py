"""What no command takes: exit code 2, one message, a hint, and no traceback."""

import json
import os
import re
import shutil

import pytest
import ray
from ruamel.yaml import YAML

from orchestrator import load_study
from orchestrator.cluster.backlog import Backlog
from orchestrator.cluster.run import driver
from orchestrator.results import ResultsFolder, read_study
from tests.reporting.simulated import draw_only, simulate, study_content
from tests.test_cli import QUICKSTART, orchestrator

OF_STUDY = ("validate", "plan", "run")
OF_RESULTS = ("status", "query", "report", "export", "compact", "measure", "audit", "connectivity")
MORE = {"query": ["SELECT 1"], "measure": ["margin"]}


def refused(*arguments, stdin=""):
    done = orchestrator(*arguments, stdin=stdin)
    assert done.returncode == 2, (done.stdout, done.stderr)
    told, nothing = done.stderr, done.stdout
    if arguments[0] == "validate":  # Its findings are its result.
        told, nothing = nothing, told
    assert nothing == ""
    assert re.match(r"error\[[a-z-]+\]: ", told)
    assert "Traceback" not in told
    assert not any(letter in told for letter in "\x1b\x07")
    return told


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    """Paths at which there is neither a study nor results."""
    folder = tmp_path_factory.mktemp("places")
    (folder / "file").write_text("text")
    (folder / "binary").write_bytes(bytes(range(256)))
    (folder / "empty").mkdir()
    (folder / "loop").symlink_to(folder / "loop")
    (folder / "closed").mkdir()
    (folder / "closed/inside").touch()
    (folder / "closed").chmod(0)
    yield {
        "missing": folder / "missing",
        "file": folder / "file",
        "binary": folder / "binary",
        "folder": folder / "empty",
        "below a file": folder / "file/inside",
        "link to itself": folder / "loop",
        "long": folder / ("x" * 5000),
        "closed": folder / "closed/inside",
        "with an escape": folder / "\x1b[2J\x07",
        "nothing": "",
    }
    (folder / "closed").chmod(0o700)


KINDS = (
    *("missing", "file", "binary", "folder", "below a file", "link to itself", "long", "closed"),
    *("with an escape", "nothing"),
)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("command", [*OF_STUDY, *OF_RESULTS])
def test_paths_without_a_study_or_results_are_refused(places, command, kind):
    told = refused(command, places[kind], *MORE.get(command, []))
    if kind in {"missing", "file", "folder", "below a file"}:
        assert str(places[kind]) in told
    assert " = help: " in told or command in OF_STUDY


@pytest.mark.parametrize("command", [*OF_STUDY, *OF_RESULTS])
def test_missing_arguments_and_unknown_options_exit_with_code_2(command):
    for arguments in ([], ["--no-such-option"]):
        done = orchestrator(command, *arguments)
        assert done.returncode == 2
        assert "Traceback" not in done.stderr


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    return simulate(tmp_path_factory.mktemp("wrong") / "r")


@pytest.fixture(scope="module")
def study(results):
    """A study file of which these are the results."""
    path = results.parent / "study.yaml"
    with path.open("w") as file:
        YAML().dump(study_content(), file)
    return path


BROKEN = (
    b"",
    b"{",
    b"[]",
    b"\xff\xfe",
    b"null",
    b"{}",
    b"[" * 5000,
    b'{"study": 3}',
    rb'{"study": "\ud800"}',
)


def damaged(results, folder, name, content):
    shutil.copytree(results, folder, copy_function=os.link)
    (folder / name).unlink()
    (folder / name).write_bytes(content)
    return folder


@pytest.fixture(autouse=True)
def no_ray(monkeypatch):
    """What gets as far as starting Ray was not refused."""
    monkeypatch.setattr(ray, "init", lambda **_: pytest.fail("Ray was started"))


def of_every_kind(broken, study):
    """Each command that takes results, with whatever else it needs."""
    for command in OF_RESULTS:
        yield [command, broken, *MORE.get(command, [])]
    yield ["run", study, "--results", broken]
    yield ["plan", study, "--no-probe", "--results", broken]
    yield ["plan", study, "--diff", "--results", broken]
    yield ["report", broken, "--check"]


@pytest.mark.parametrize("content", BROKEN, ids=lambda content: repr(content[:9]))
@pytest.mark.parametrize("name", ["study.resolved.json", "trials/_schema.parquet"])
def test_results_with_a_broken_schema_or_study_are_refused(results, study, tmp_path, name, content):
    broken = damaged(results, tmp_path / "r", name, content)
    for arguments in of_every_kind(broken, study):
        assert str(broken / name) in refused(*arguments), arguments
    assert (broken / name).read_bytes() == content


@pytest.mark.parametrize(
    "changes",
    [
        {"claims": 3},
        {"claims": [3]},
        {"sweep": 3},
        {"sweep": {"training.batch_siye": [16]}},
        {"seeds": "three"},
        {"training": None},
        {"novelty": 1},
    ],
    ids=str,
)
def test_a_stored_study_with_invalid_values_is_refused(results, study, tmp_path, changes):
    content = json.dumps(study_content(**changes)).encode()
    broken = damaged(results, tmp_path / "r", "study.resolved.json", content)
    for arguments in of_every_kind(broken, study):
        if arguments[0] not in {"query", "compact"} and "--no-probe" not in arguments:
            told = refused(*arguments)
            assert str(broken / "study.resolved.json") in told
            assert next(iter(changes)) in told


def test_a_lost_stored_study_is_rewritten_by_run(results, study, tmp_path, monkeypatch):
    draw_only(monkeypatch)
    broken = damaged(results, tmp_path / "r", "study.resolved.json", b"{")
    assert "move it away and run the study again" in refused("status", broken)
    (broken / "study.resolved.json").rename(tmp_path / "damaged.json")
    (broken / "trials" / "damaged.parquet").write_bytes(b"PAR1")
    other = tmp_path / "other.yaml"
    other.write_text(study.read_text().replace("simulated", "another"))
    told = refused("run", other, "--results", broken)
    assert "contains the results of study 'simulated', not 'another'" in told
    monkeypatch.setattr(driver, "run_rounds", lambda *_: Backlog())
    assert "report: " in orchestrator("run", study, "--results", broken).stdout
    assert read_study(ResultsFolder.open(broken)) == load_study(study)


@pytest.mark.parametrize("content", BROKEN[:4])
def test_broken_provenance_is_named_in_the_error(results, tmp_path, content):
    broken = tmp_path / "r"
    shutil.copytree(results, broken, copy_function=os.link)
    (broken / "provenance.json").unlink()
    (broken / "provenance.json").write_bytes(content)
    assert "provenance.json" in refused("report", broken)


def flipped(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    return content


def test_damaged_measures_are_refused_by_every_reading_command(results, study, tmp_path):
    part = next((results / "measures").glob("[!_]*.parquet"))
    broken = damaged(results, tmp_path / "r", f"measures/{part.name}", flipped(part))
    for arguments in of_every_kind(broken, study):
        if arguments[0] not in {"run", "measure"}:
            told = refused(*arguments)
            assert f"{broken}/measures/{part.name}: damaged: its checksum differs" in told
            assert "run the study again" in told


@pytest.mark.parametrize("name", ["study.resolved.json", "provenance.json"])
def test_a_damaged_stored_study_or_provenance_is_refused(results, study, tmp_path, name):
    broken = damaged(results, tmp_path / "r", name, flipped(results / name))
    for arguments in of_every_kind(broken, study):
        if name == "study.resolved.json" or arguments[0] in {"run", "report", "export"}:
            told = refused(*arguments)
            assert f"{broken / name}: damaged: its checksum differs" in told
            assert "move it away and run the study again" in told


def test_the_broken_one_of_several_folders_is_named(results, tmp_path):
    broken = tmp_path / "r"
    shutil.copytree(results, broken)
    (broken / "study.resolved.json").write_text("{")
    assert str(broken) in refused("query", results, broken, "SELECT 1")
    assert str(broken) in refused("report", results, broken)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["plan", QUICKSTART, "--set", "x"], "expected path=value"),
        (["plan", QUICKSTART, "--set", "model.width=1e30"], "--set model.width"),
        (["plan", QUICKSTART, "--set", "model.depth=1e9"], "--set model.depth"),
        (["plan", QUICKSTART, "--no-probe", "--set", "model.width=10000000"], "model"),
        (["plan", QUICKSTART, "--no-probe", "--set", "model.width=100000000000"], "model"),
        (["run", QUICKSTART, "--set", "sweep.training.batch_size=[1, &a 2]"], "anchors"),
        (["run", QUICKSTART, "--results", QUICKSTART], "not a results folder"),
        (["run", QUICKSTART, "--results", "x[1]"], "can't contain"),
        (["run", QUICKSTART, "--results", QUICKSTART / "below"], "quickstart.yaml"),
        (["validate", QUICKSTART, "--set", 'study="\\e[2J"'], "letters"),
        (["validate", QUICKSTART, "--set", '"\x1b[2J"=1'], "has no key"),
    ],
)
def test_wrong_values_of_options_are_refused_before_anything_is_written(
    arguments, said, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    assert said in refused(*arguments)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "stdin", "said"),
    [
        (["SELECT \udcff"], "", "not UTF-8"),
        (["-"], "SELECT\n\udcff", "line 2"),
        (["-"], "", "no SQL"),
        (["missing.sql"], "", "cannot be read"),
        (["a\0.sql"], "", "cannot be read"),
        (["SELECT margin_men FROM wide"], "", '"margin_mean"'),
        (["SELECT 1; SELECT 2"], "", "one statement"),
        (["SELECT error('a\x1b[2Jb')"], "", r"a\x1b[2Jb"),
        (["FROM wide", "--format", "html"], "", "html"),
    ],
)
def test_wrong_queries_exit_with_code_2(results, arguments, stdin, said):
    done = orchestrator("query", results, *arguments, stdin=stdin)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert "\x1b[2J" not in done.stderr


def test_reading_results_imports_no_custom_code(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "intruder.py").write_text("raise SystemExit('imported')")
    study = study_content(
        model={"name": "intruder:Net", "width": 8},
        measures=[{"name": "margin"}, {"name": "intruder:measure", "k": 1}],
    )
    folder = simulate(tmp_path / "r", study=study, batch_sizes=[16], requests=["norms"], epochs=[1])
    for command in ("status", "query", "report", "export", "compact"):
        more = [*MORE.get(command, []), *(["--formats", "tex"] if command == "export" else [])]
        done = orchestrator(command, folder, *more)
        assert (done.returncode, done.stderr) == (0, ""), command
