"""Curves, and folders of releases that had no such table."""

from __future__ import annotations

import shutil
from typing import Any

from orchestrator.results import ResultsFolder, compact, write_part
from tests.results.conftest import ask


def curve_row(value: list[float], **columns: Any) -> dict[str, Any]:
    return {
        "trial_id": "a0",
        "checkpoint_id": "a0-10",
        "step": 10,
        "request": "loss_slice",
        "curve": "loss_slice",
        "x": [float(i) for i in range(len(value))],
        "value": value,
        "status": "ok",
    } | columns


POINTS = "SELECT checkpoint_id, point, x, y, value, standard_error FROM curve_points ORDER BY ALL"


def test_curve_points_are_the_points_of_the_newest_curves(folder: ResultsFolder) -> None:
    first = [curve_row([0.5, 0.7]), curve_row([0.1], checkpoint_id="a0-20", y=[3.0])]
    write_part(folder, "curves", first, "first")
    newer = curve_row([0.6, float("inf")], standard_error=[0.0, 0.1], status="nonfinite")
    write_part(folder, "curves", [newer], "second")
    expected = [
        ("a0-10", 1, 0.0, None, 0.6, 0.0),
        ("a0-10", 2, 1.0, None, float("inf"), 0.1),
        ("a0-20", 1, 0.0, 3.0, 0.1, None),
    ]
    assert ask(folder, POINTS) == expected
    compact(folder)
    assert ask(folder, POINTS) == expected


def test_tables_missing_from_an_older_folder_are_empty_until_written(
    folder: ResultsFolder,
) -> None:
    for table in ("curves", "audit"):
        shutil.rmtree(folder.table(table))
    folder = ResultsFolder.open(folder.path)
    assert ask(folder, "SELECT count(*) FROM curve_points") == [(0,)]
    assert ask(folder, "SELECT count(*) FROM fragility") == [(0,)]
    assert not folder.table("curves").exists()  # Reading changes nothing.
    compact(folder)
    write_part(folder, "curves", [curve_row([0.5])], "first")
    assert ask(folder, "SELECT value FROM curve_points") == [(0.5,)]
