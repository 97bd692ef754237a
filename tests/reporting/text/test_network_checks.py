"""The report tells how many shapes of network passed how many checks, and which did not."""

from dataclasses import dataclass
from typing import Any

import pytest

from orchestrator.reporting.data.open_results import Source, open_source
from orchestrator.reporting.text.network_checks import checks_not_passed, describe_checks
from orchestrator.results import ResultsFolder, write_part
from tests.reporting.simulated import simulate


@dataclass
class Checked:
    """A results folder with the checks of some networks."""

    folder: ResultsFolder

    def add(self, shape: str, model: str, **findings: str) -> None:
        rows: list[dict[str, Any]] = [
            {
                "shape": shape,
                "data": "digits",
                "model": model,
                "loss": "mse",
                "trust_check": check,
                "spoils": "measures",
                "status": status.partition(": ")[0],
                "reason": status.partition(": ")[2] or None,
            }
            for check, status in findings.items()
        ]
        write_part(self.folder, "trust_checks", rows, shape)


@pytest.fixture
def checked(tmp_path):
    return Checked(ResultsFolder.open(simulate(tmp_path / "r", batch_sizes=[])))


def told(folder: ResultsFolder) -> tuple[str, list[str]]:
    with open_source(folder.path) as source:
        return describe_checks(source), list(checks_not_passed(source))


def test_older_results_without_checks_say_so(source: Source) -> None:
    assert describe_checks(source) == "No network checks are recorded."
    assert list(checks_not_passed(source)) == []


def test_shapes_that_passed_all_checks_are_counted(checked: Checked) -> None:
    checked.add("a", "mlp", repeatable="passed", outputs_fit="passed")
    assert told(checked.folder) == (
        "The only shape of network (data, model and loss) passed the 2 checks (outputs fit, "
        "repeatable).",
        [],
    )
    checked.add("b", "cnn", repeatable="passed", outputs_fit="passed")
    assert told(checked.folder)[0].startswith("All 2 shapes of network")


def test_failed_checks_are_named_with_their_reason(checked: Checked) -> None:
    checked.add("a", "mlp", repeatable="passed")
    checked.add("b", "m:Net", repeatable="failed: it is random\n  second line")
    checked.add("c", "m:Net", repeatable="failed: it is random")
    checked.add("d", "m:Big", repeatable="undecided: no memory")
    text, limits = told(checked.folder)
    assert text.startswith("Of 4 shapes of network (data, model and loss), 1 passed all of the 1 ")
    assert limits == [
        "The check “repeatable” could not be decided for m:Big on digits with mse: no memory.",
        "The check “repeatable” failed for m:Net on digits with mse: it is random.",
    ]
    assert all(sentence in text for sentence in limits)


def test_a_newer_check_of_a_shape_replaces_the_older(checked: Checked) -> None:
    checked.add("a", "mlp", repeatable="failed: it is random")
    checked.add("a", "mlp", repeatable="passed")
    assert told(checked.folder)[1] == []
