"""Each fact counts once, however often and in whatever order it was stored."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest

from orchestrator.results import ResultsFolder, compact, write_part
from tests.results.conftest import ask, at, checkpoint_row, measure_row, trial_row


class TestRepetitions:
    """Each fact counts once, before and after compaction."""

    @pytest.fixture(
        params=["parts", pytest.param("compacted", marks=pytest.mark.slow), "half compacted"]
    )
    def stored(self, folder: ResultsFolder, request: pytest.FixtureRequest) -> Callable[..., None]:
        """Stores lists of rows, one part each, compacted altogether, not at all, or halfway."""

        def store(table: str, *parts: list[dict[str, Any]]) -> None:
            half = len(parts) // 2
            for number, rows in enumerate(parts):
                if request.param == "half compacted" and number == half:
                    write_part(folder, table, parts[0], "again")
                    compact(folder)
                write_part(folder, table, rows, f"part-{number}")
            if request.param == "compacted":
                compact(folder)

        return store

    def test_the_newest_checkpoint_counts(
        self, folder: ResultsFolder, stored: Callable[..., None]
    ) -> None:
        stored(
            "checkpoints",
            [checkpoint_row("a0", 10, sha256="old", written_at=at(1)), checkpoint_row("a1", 10)],
            [checkpoint_row("a0", 10, sha256="new", written_at=at(2))],
            [checkpoint_row("a0", 10, sha256="older", written_at=at(0))],
            [checkpoint_row("b0", 10)],
        )
        assert ask(folder, "SELECT checkpoint_id, sha256 FROM checkpoints ORDER BY 1") == [
            ("a0-10", "new"),
            ("a1-10", "00"),
            ("b0-10", "00"),
        ]

    def test_a_clock_set_back_does_not_revive_older_rows(
        self, folder: ResultsFolder, stored: Callable[..., None]
    ) -> None:
        stored(
            "trials",
            [trial_row("a0", status="running", attempt=3, written_at=at(9))],
            [trial_row("a0", status="failed", attempt=3, written_at=at(-9))],
        )
        stored(
            "measures",
            [measure_row("a0", 10, "margin_mean", 1.0, measure_version=1, written_at=at(9))],
            [measure_row("a0", 10, "margin_mean", 2.0, measure_version=2, written_at=at(-9))],
        )
        assert ask(folder, "SELECT status FROM trials") == [("failed",)]
        assert ask(folder, "SELECT value FROM measures") == [(2.0,)]

    def test_completed_trials_win_then_the_newest_attempt(
        self, folder: ResultsFolder, stored: Callable[..., None]
    ) -> None:
        stored(
            "trials",
            [trial_row("a0", status="running", written_at=at(0))],
            [trial_row("a0", written_at=at(1)), trial_row("a1", status="failed", attempt=1)],
            [trial_row("a0", status="failed", attempt=2, written_at=at(2))],
            # Another machine's clock may be behind.
            [trial_row("a1", status="running", attempt=2, written_at=at(-9))],
        )
        assert ask(folder, "SELECT trial_id, status, attempt FROM trials ORDER BY 1") == [
            ("a0", "completed", 1),
            ("a1", "running", 2),
        ]

    def test_the_newest_row_of_each_epoch_and_split_counts(
        self, folder: ResultsFolder, stored: Callable[..., None]
    ) -> None:
        def row(epoch: int, split: str, loss: float, minutes: float) -> dict[str, Any]:
            return {
                "trial_id": "a0",
                "epoch": epoch,
                "split": split,
                "loss": loss,
                "written_at": at(minutes),
            }

        stored(
            "epochs",
            [row(1, "train", 1.0, 1), row(1, "test", 2.0, 1)],
            [row(1, "train", 3.0, 2)],
            [row(2, "train", 4.0, 3)],
        )
        assert ask(folder, "SELECT epoch, split, loss FROM epochs ORDER BY ALL") == [
            (1, "test", 2.0),
            (1, "train", 3.0),
            (2, "train", 4.0),
        ]

    def test_measures_prefer_success_then_the_newest(
        self, folder: ResultsFolder, stored: Callable[..., None]
    ) -> None:
        stored(
            "measures",
            [measure_row("a0", 10, "x", 1.0, request="x", written_at=at(1))],
            [measure_row("a0", 10, "x", None, request="x", status="error", written_at=at(3))],
            [measure_row("a0", 10, "x", 2.0, request="x", split=None)],
            [measure_row("a0", 10, "x", 3.0, request="x", written_at=at(2))],
        )
        assert ask(folder, "SELECT split, value, status FROM measures ORDER BY ALL") == [
            ("train", 3.0, "ok"),
            (None, 2.0, "ok"),
        ]

    def test_failures_disappear_once_their_request_succeeded(
        self, folder: ResultsFolder, stored: Callable[..., None]
    ) -> None:
        def failure(trial_id: str) -> dict[str, Any]:
            return measure_row(
                trial_id, 10, "margin", None, status="error", error="!", request="margin"
            )

        stored(
            "measures",
            [failure("a0"), failure("a1")],
            [failure("b0")],
            [measure_row("a0", 10, "margin_mean", 1.0, request="margin")],
            [measure_row("a1", 10, "norm", 1.0, request="norms")],
        )
        assert ask(folder, "SELECT trial_id, measure, status FROM measures ORDER BY ALL") == [
            ("a0", "margin_mean", "ok"),
            ("a1", "margin", "error"),
            ("a1", "norm", "ok"),
            ("b0", "margin", "error"),
        ]

    def test_the_catalog_lists_each_measure_once(self, folder: ResultsFolder) -> None:
        for part in ("one", "two"):
            write_part(folder, "measure_catalog", [{"measure": "m", "unit": "1"}], part)
        assert ask(folder, "SELECT measure, unit FROM measure_catalog") == [("m", "1")]


def test_the_order_of_parts_and_compactions_does_not_change_the_rows(
    make_folder: Callable[..., ResultsFolder],
) -> None:
    generator = random.Random(3)
    rows = [
        measure_row(
            generator.choice(["a0", "a1"]),
            generator.choice([10, 20]),
            generator.choice(["x", "y", "request"]),
            float(number),
            request="request",
            status=generator.choice(["ok", "error", "nonfinite"]),
            written_at=at(number),
        )
        for number in range(40)
    ]
    answers = []
    for attempt in range(2):
        folder = make_folder(f"try {attempt}")
        generator.shuffle(rows)
        for number in range(0, 40, 5):
            write_part(folder, "measures", rows[number : number + 5], f"part-{number}")
            if generator.random() < 0.4 * attempt:
                compact(folder)
        sql = "SELECT * EXCLUDE written_at FROM measures ORDER BY ALL"
        answers.append(ask(folder, sql))
    assert answers[0] == answers[1]
    assert len(answers[0]) > 4
