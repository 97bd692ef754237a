"""Where a suite's time goes."""

import json
from types import SimpleNamespace

import pytest

from tests import conftest, minutes

REPORTS = [
    ("tests/measures/curvature/test_fisher.py::test_one[a/b]", 30.0),
    ("tests/measures/test_audit.py::test_two", 60.0),
    ("tests/measures/curvature/test_fisher.py::test_one[a/b]", 90.0),  # Its set-up.
    ("tests/test_cli.py::test_three", 6.0),
]


def test_durations_are_summed_by_folder():
    assert minutes.seconds_by_folder(REPORTS) == {
        "tests/measures": 60.0 + 90.0 + 30.0,
        "tests": 6.0,
    }


def test_several_runs_are_summed(tmp_path, monkeypatch):
    monkeypatch.setenv(minutes.FILE, str(tmp_path / "minutes"))
    (tmp_path / "minutes").touch()  # As mktemp leaves it.
    found = minutes.seconds_by_folder(REPORTS)
    minutes.added_up(found)
    total = minutes.added_up(found)
    assert total == {folder: 2 * seconds for folder, seconds in found.items()}
    assert minutes.lines(total) == [
        "   6.0 min  tests/measures",
        "   0.2 min  tests",
        "   6.2 min  all",
    ]


@pytest.mark.parametrize("variable", [None, ""])
def test_without_a_file_a_single_run_is_not_summed(monkeypatch, variable):
    monkeypatch.delenv(minutes.FILE, raising=False)
    if variable is not None:
        monkeypatch.setenv(minutes.FILE, variable)
    found = minutes.seconds_by_folder(REPORTS)
    assert minutes.added_up(found) == found


@pytest.mark.parametrize(
    ("of_process", "written"), [({}, {"tests": 2.5}), ({"workerinput": {}}, {})]
)
def test_only_the_controlling_process_writes_the_sums(tmp_path, monkeypatch, of_process, written):
    file = tmp_path / "minutes.json"
    monkeypatch.setenv(minutes.FILE, str(file))
    where = "tests/test_a.py"
    ended = pytest.TestReport(
        f"{where}::test", (where, 0, ""), {}, "passed", None, "call", duration=2.5
    )
    reporter = SimpleNamespace(
        config=SimpleNamespace(**of_process),
        stats={"passed": [ended]},
        section=lambda title: None,
        write_line=lambda text: None,
        line=lambda text: None,
    )
    conftest.pytest_terminal_summary(reporter)
    assert (json.loads(file.read_text()) if file.exists() else {}) == written
