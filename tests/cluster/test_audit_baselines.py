"""Which stored values an audit takes over."""

import pytest

from orchestrator.cluster.audit_baselines import read_baselines
from orchestrator.results import ResultsFolder, write_part
from tests.results.conftest import measure_row, study_json


@pytest.fixture
def folder(tmp_path):
    return ResultsFolder.create(tmp_path / "small", study_json(), "", {}, "")


def stored(folder, **changes):
    row = {**measure_row("a0", 20, "margin_mean", 1.5), "dtype": "float64", "measure_version": 3}
    write_part(folder, "measures", [{**row, **changes}], "a0-20")


def test_values_of_the_same_request_and_version_are_taken_over(folder):
    stored(folder, request="margin", variant="raw", split="train", standard_error=0.25)
    found = read_baselines(folder, ["a0-20"], {"margin": 3})
    assert found == {
        "a0-20": (
            {
                "request": "margin",
                "measure": "margin_mean",
                "variant": "raw",
                "split": "train",
                "value": 1.5,
                "standard_error": 0.25,
                "status": "ok",
                "error": None,
            },
        )
    }


@pytest.mark.parametrize(
    "changes",
    [
        {"measure_version": 2},
        {"measure_version": None},
        {"dtype": "float32"},
        {"status": "error", "value": None, "error": "it failed"},
        {"request": "margin@examples=9"},
    ],
)
def test_other_values_are_measured_again(folder, changes):
    stored(folder, **{"request": "margin", **changes})
    assert read_baselines(folder, ["a0-20"], {"margin": 3}) == {}


def test_other_snapshots_are_left_out(folder):
    stored(folder, request="margin")
    assert read_baselines(folder, ["b1-20"], {"margin": 3}) == {}
    assert read_baselines(folder, [], {"margin": 3}) == {}
