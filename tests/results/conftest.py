"""Handwritten results of a small study."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from orchestrator.results import ResultsFolder, commit_snapshot, connect, write_part
from orchestrator.results.table_schemas import KEYS
from tests.object_store import AzureStore

START = datetime(2026, 11, 1, 12, tzinfo=UTC)

STUDY = {
    "study": "small",
    "data": {"name": "mnist1d"},
    "model": {"name": "mlp"},
    "training": {"stop": {"epochs": 2}},
    "sweep": {"training.batch_size": [16, 64]},
    "seeds": 2,
    "measures": [{"name": "margin"}, {"name": "hessian_trace"}],
}

# trial → condition, seed, batch size, (train loss, test loss, train error, test error) at 10, 20
TRIALS = {
    "a0": ("A", 0, 16, ((0.5, 0.6, 0.2, 0.3), (0.1, 0.4, 0.0, 0.2))),
    "a1": ("A", 1, 16, ((0.5, 0.7, 0.2, 0.3), (0.1, 0.6, 0.0, 0.1))),
    "b0": ("B", 0, 64, ((0.9, 0.9, 0.4, 0.5), (0.2, 0.3, 0.1, 0.1))),
    "b1": ("B", 1, 64, ((0.8, 0.9, 0.4, 0.5), (0.2, 0.4, 0.1, 0.3))),
}

azurite = pytest.mark.skipif(
    AzureStore.missing, reason="azurite-blob is not installed: npm install --global azurite"
)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Try what is tried with a store with each kind of store."""
    if "object_store" in metafunc.fixturenames:
        later = [pytest.mark.slow] if metafunc.module.__name__.endswith("test_on_store") else []
        kinds = [
            "s3",
            pytest.param("gs", marks=later),
            pytest.param("az", marks=[pytest.mark.full, azurite]),
        ]
        metafunc.parametrize("object_store", kinds, indirect=True, scope="session")


def at(minutes: float) -> datetime:
    return START + timedelta(minutes=minutes)


def trial_row(trial_id: str, /, **columns: Any) -> dict[str, Any]:
    condition, seed, batch_size, _ = TRIALS[trial_id]
    return {
        "trial_id": trial_id,
        "condition_id": condition,
        "study": "small",
        "seed": seed,
        "batch_size": batch_size,
        "status": "completed",
        "attempt": 1,
        "written_at": at(5),
        **columns,
    }


def checkpoint_row(trial_id: str, step: int, /, **columns: Any) -> dict[str, Any]:
    losses = dict(zip((10, 20), TRIALS[trial_id][3], strict=True)).get(step, (1.0,) * 4)
    names = ("train_loss", "test_loss", "train_error", "test_error")
    return {
        "checkpoint_id": f"{trial_id}-{step}",
        "trial_id": trial_id,
        "step": step,
        "epoch": step / 10,
        "examples_seen": step * 16,
        "reason": "final" if step == 20 else "train_loss 0.5",
        "milestones": [] if step == 20 else [0.5],
        **dict(zip(names, losses, strict=True)),
        "path": f"snapshots/{trial_id}/{step}.safetensors",
        "bytes": 8,
        "sha256": "00",
        "written_at": at(4),
        **columns,
    }


def measure_row(
    trial_id: str, step: int, measure: str, value: Any, /, **columns: Any
) -> dict[str, Any]:
    return {
        "trial_id": trial_id,
        "checkpoint_id": f"{trial_id}-{step}",
        "step": step,
        "request": measure.partition("_")[0],
        "measure": measure,
        "split": "train",
        "value": value,
        "status": "ok",
        "written_at": at(6),
        **columns,
    }


def study_json(**changes: Any) -> str:
    return json.dumps({**STUDY, **changes})


@pytest.fixture
def make_folder(tmp_path: Path) -> Callable[..., ResultsFolder]:
    """Create an empty results folder; pass keyword arguments to ``create``."""

    def make(name: str = "small", *, study: str | None = None, **options: Any) -> ResultsFolder:
        provenance = {"command": ["run"]}
        text = study or study_json()
        return ResultsFolder.create(
            tmp_path / name, text, "study: small\n", provenance, "", **options
        )

    return make


def fill(folder: ResultsFolder) -> ResultsFolder:
    """Write four complete trials; traces grow from 1 to 8, b1's last snapshot has no margins."""
    trace = 0.0
    for trial_id in TRIALS:
        write_part(folder, "trials", [trial_row(trial_id)], f"{trial_id}-1")
        rows = [checkpoint_row(trial_id, step) for step in (10, 20)]
        write_part(folder, "checkpoints", rows, f"{trial_id}-20")
        for row in rows:
            snapshot = folder.snapshot(trial_id, row["step"])
            snapshot.parent.mkdir(exist_ok=True)
            snapshot.write_bytes(b"weights!")
            commit_snapshot(folder, row)
            trace += 1.0
            measures = [
                measure_row(
                    trial_id,
                    row["step"],
                    "hessian_trace",
                    trace,
                    request="hessian_trace",
                    variant="hutchinson",
                    standard_error=trace / 10,
                )
            ]
            if row["checkpoint_id"] != "b1-20":
                measures += [
                    measure_row(trial_id, row["step"], "margin_mean", -trace, variant=v, split=s)
                    for v, s in (("raw", "train"), ("raw", "test"), ("spectral", "train"))
                ]
            write_part(folder, "measures", measures, f"{row['checkpoint_id']}-x")
        epochs = [
            {"trial_id": trial_id, "epoch": e, "split": s, "loss": 1.0 / (e + 1), "step": e * 10}
            for e in (0, 1, 2)
            for s in ("train", "test")
        ]
        write_part(folder, "epochs", epochs, f"{trial_id}-20")
    return folder


def _create(path: Path) -> ResultsFolder:
    return ResultsFolder.create(path, study_json(), "study: small\n", {"command": ["run"]}, "")


@pytest.fixture(scope="session")
def empty_folder(tmp_path_factory: pytest.TempPathFactory) -> ResultsFolder:
    """An empty results folder; only read it."""
    return _create(tmp_path_factory.mktemp("empty") / "small")


@pytest.fixture(scope="session")
def small_results(tmp_path_factory: pytest.TempPathFactory) -> ResultsFolder:
    """Results of a small study, complete except for one measure; only read them."""
    return fill(_create(tmp_path_factory.mktemp("filled") / "small"))


@pytest.fixture
def folder(empty_folder: ResultsFolder, tmp_path: Path) -> ResultsFolder:
    """An empty results folder that the test may change."""
    return ResultsFolder.open(shutil.copytree(empty_folder.path, tmp_path / "small"))


@pytest.fixture
def filled(small_results: ResultsFolder, tmp_path: Path) -> ResultsFolder:
    """The small study's results, which the test may change."""
    return ResultsFolder.open(shutil.copytree(small_results.path, tmp_path / "small"))


def rows(folder: ResultsFolder) -> dict[str, list[tuple[Any, ...]]]:
    with connect(folder) as database:
        return {
            view: database.sql(f"FROM {view} ORDER BY ALL").fetchall()
            for view in (*KEYS, "wide", "by_condition")
        }


@pytest.fixture(scope="session")
def small_rows(small_results: ResultsFolder) -> dict[str, list[tuple[Any, ...]]]:
    """Rows of all views of the small study."""
    return rows(small_results)


def ask(folder: ResultsFolder, sql: str) -> list[tuple[Any, ...]]:
    """Return the rows of a query, using a new connection."""
    with connect(folder.path) as database:
        rows: list[tuple[Any, ...]] = database.sql(sql).fetchall()
        return rows
