"""A study's results without any training: numbers that behave as real ones do.

Margins grow with the logarithm of updates; loss falls exponentially with them, the trace with
loss; seeds differ. Written through the package's own writer, so what is read is what is real.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from orchestrator.reporting.data.open_results import Source
from orchestrator.reporting.figures import FIGURES, Figure
from orchestrator.results import ResultsFolder, write_part

PROVENANCE = {
    "started_at": "2026-11-01T12:00:00+00:00",
    "command": ["orchestrator", "run", "study.yaml"],
    "overrides": [],
    "git": {"commit": "c0ffee" * 6, "branch": "main", "dirty": False, "diff_sha256": None},
    "versions": {"python": "3.11.9", "torch": "2.13.0"},
    "hardware": {"cpu": "Some CPU", "usable_cores": 2, "gpus": []},
}
NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)
EPOCHS = (1, 2, 4, 8, 16, 32, 48, 60)
EXAMPLES = 4096
SECONDS = {"margin": 0.004, "hessian_trace": 0.21, "hessian_spectrum": 0.6, "norms": 0.002}
CATALOG = [
    ("margin_mean", "margin", "mean γ", "logit", "higher", "Bartlett et al., arXiv:1706.08498"),
    ("hessian_trace", "flatness", "tr ∇²L(θ)", "loss / weight²", "lower", "Hutchinson 1990"),
    ("hessian_eigenvalue_1", "flatness", "λ_1", "loss / weight²", "lower", "arXiv:1811.07062"),
    ("weight_norm", "norm", "‖θ‖", "weight", "lower", "Neyshabur et al., arXiv:1503.00036"),
]


# The figures that a simulated study asks for, and the others.
UNASKED = {"interventions", *(key for key, one in FIGURES.items() if one.request)}
DRAWN = tuple(key for key in FIGURES if key not in UNASKED)


def study_content(**changes: Any) -> dict[str, Any]:
    content = {
        "study": "simulated",
        "question": "Do flat minima and large margins tell the same story?",
        "data": {"name": "mnist1d", "seed": 0},
        "model": {"name": "mlp", "width": 128, "depth": 2},
        "training": {
            "loss": {"name": "cross_entropy"},
            "optimizer": {"name": "sgd", "learning_rate": 0.05, "momentum": 0.9},
            "stop": {"epochs": 60, "train_loss": 0.001},
        },
        "sweep": {"training.batch_size": [16, 64, 256, 1024]},
        "seeds": 3,
        "checkpoints": {"train_loss": [0.5, 0.1], "epochs": {"log_spaced": 8}},
        "measures": [
            {"name": "margin"},
            {"name": "hessian_trace"},
            {"name": "hessian_spectrum", "top": 1},
            {"name": "norms"},
        ],
        "claims": ["flatness_tracks_margin", "margin_is_cheaper", "large_batch_needs_time"],
    }
    return content | changes


def draw_only(monkeypatch: pytest.MonkeyPatch, *figures: Callable[[Source], Figure]) -> None:
    """Have reports and exports draw these figures alone: all of them take seconds."""
    monkeypatch.setattr(
        "orchestrator.reporting.page.report.all_figures",
        lambda source: [figure(source) for figure in figures],
    )


Rows = dict[str, list[dict[str, Any]]]
Change = Callable[[Rows], None]


def simulate(
    path: Path,
    *,
    study: dict[str, Any] | None = None,
    batch_sizes: Iterable[int] = (16, 64, 256, 1024),
    seeds: int = 3,
    learning_rates: Iterable[float] = (0.05,),
    requests: Iterable[str] = tuple(SECONDS),
    epochs: Sequence[int] = EPOCHS,
    change: Change | None = None,
    provenance: dict[str, Any] | None = None,
    swept: dict[str, type] | None = None,
) -> Path:
    """Write a results folder; ``change`` may spoil its rows before they are written.

    ``swept`` are the columns of trials that it adds, with their types.
    """
    content = study or study_content()
    # A grid of what is stored: reports leave out all else.
    stored = {
        "training.batch_size": batch_sizes,
        "training.optimizer.learning_rate": learning_rates,
    }
    sweep = {
        path: list(stored.get(path, ())) or values for path, values in content["sweep"].items()
    }
    content = {**content, "sweep": sweep}
    if isinstance(content["seeds"], int):
        content["seeds"] = seeds
    rows: Rows = {"trials": [], "epochs": [], "checkpoints": [], "measures": []}
    grid = itertools.product(batch_sizes, learning_rates, range(seeds))
    for number, (batch_size, learning_rate, seed) in enumerate(grid):
        _simulate_trial(
            rows, content, number, batch_size, learning_rate, seed, tuple(requests), epochs
        )
    if change is not None:
        change(rows)
    folder = ResultsFolder.create(
        path,
        json.dumps(content),
        f"study: {content['study']}\n",
        provenance or PROVENANCE,
        "",
        swept=swept,
    )
    names = ("measure", "family", "symbol", "unit", "direction", "citation")
    catalog = [{**dict(zip(names, row, strict=True)), "cost": "1 F"} for row in CATALOG]
    for table, content_rows in {**rows, "measure_catalog": catalog}.items():
        write_part(folder, table, content_rows, "all")
    return path


def _params(content: dict[str, Any], batch_size: int, learning_rate: float) -> dict[str, Any]:
    training = content["training"]
    optimizer = {**training["optimizer"], "learning_rate": learning_rate}
    return {
        "data": content["data"],
        "model": content["model"],
        "training": {**training, "batch_size": batch_size, "optimizer": optimizer},
    }


def _simulate_trial(
    rows: Rows,
    content: dict[str, Any],
    number: int,
    batch_size: int,
    learning_rate: float,
    seed: int,
    requests: tuple[str, ...],
    epochs: Sequence[int],
) -> None:
    generator = np.random.default_rng([number, seed])
    trial_id, speed = f"trial{number:03d}", 1 + 0.05 * generator.normal()
    updates_per_epoch = EXAMPLES // batch_size
    rows["trials"].append(
        {
            "trial_id": trial_id,
            "condition_id": f"b{batch_size}-l{learning_rate:g}",
            "study": content["study"],
            "seed": seed,
            "status": "completed",
            "stop_reason": "epochs",
            "attempt": 1,
            "epochs": float(epochs[-1]),
            "updates": epochs[-1] * updates_per_epoch,
            "train_seconds": 0.0007 * epochs[-1] * updates_per_epoch,
            "evaluation_seconds": 0.4,
            "n_parameters": 23_050,
            "dataset": "mnist1d",
            "model": "mlp",
            "batch_size": batch_size,
            "learning_rate": learning_rate,
            "params_json": json.dumps(_params(content, batch_size, learning_rate)),
            "dataset_hash": "ab" * 32,
            "host": "laptop",
            "device": "cpu",
            "python_version": "3.11.9",
            "torch_version": "2.13.0",
            "orchestrator_version": "0.1.0",
            "written_at": NOW,
        }
    )
    reached: set[float] = set()
    for epoch in epochs:
        step = epoch * updates_per_epoch
        progress = speed * np.log(1 + step * learning_rate / 0.05)
        margin = 0.02 * progress**2.4 - 0.5 + 0.05 * generator.normal()
        train_loss = float(np.exp(0.6 - 0.75 * margin + 0.05 * generator.normal()))
        train_error = float(np.clip(0.7 * np.exp(-1.3 * margin) - 0.01, 0, 0.9))
        # Flat at first: little curvature where all logits are near zero.
        early = 1 - np.exp(-((progress / 2.5) ** 2))
        trace = float(400 * early * train_loss**0.7 * np.exp(0.2 * generator.normal()))
        eigenvalue = trace / 25 * float(np.exp(0.35 * generator.normal()))
        test_error = train_error + 0.3 * (1 - np.exp(-progress / 8))
        test_loss = train_loss + 0.2 * progress
        milestones = [m for m in (0.5, 0.1) if train_loss <= m and m not in reached]
        reached.update(milestones)
        reasons = ["epoch", *(f"train_loss {m:g}" for m in milestones)]
        reasons += ["final"] if epoch == epochs[-1] else []
        rows["checkpoints"].append(
            {
                "checkpoint_id": f"{trial_id}-{step}",
                "trial_id": trial_id,
                "step": step,
                "epoch": float(epoch),
                "examples_seen": step * batch_size,
                "reason": "; ".join(reasons),
                "milestones": milestones,
                "train_loss": train_loss,
                "train_error": train_error,
                "test_loss": float(test_loss),
                "test_error": float(test_error),
                "written_at": NOW,
            }
        )
        values = {
            "margin": [("margin_mean", "raw", margin), ("margin_mean", "spectral", margin / 40)],
            "hessian_trace": [("hessian_trace", "exact", trace)],
            "hessian_spectrum": [("hessian_eigenvalue_1", "", eigenvalue)],
            "norms": [("weight_norm", "", 10 + float(progress))],
        }
        for request in requests:
            seconds = SECONDS[request] * float(np.exp(0.2 * generator.normal()))
            rows["measures"] += [
                {
                    "trial_id": trial_id,
                    "checkpoint_id": f"{trial_id}-{step}",
                    "step": step,
                    "request": "hessian_spectrum(top=1)"
                    if request == "hessian_spectrum"
                    else request,
                    "measure": measure,
                    "variant": variant,
                    "split": None if request == "norms" else "train",
                    "n_examples": None if request == "norms" else EXAMPLES,
                    "value": float(value),
                    "status": "ok",
                    "seconds": seconds,
                    "dtype": "float64",
                    "batch_norm_mode": "eval",
                    "seed": seed,
                    "measure_version": 1,
                    "written_at": NOW,
                }
                for measure, variant, value in values[request]
            ]
