"""Measure the time and memory of reports as studies grow, beside those of another commit.

    python benchmarks/report.py [--trials 12 200 2000 10000] [--measures 12] [--peer COMMIT]

The script writes the results of studies without training anything: a grid of one to three
hyperparameters, eight snapshots of every network, and measures that depend on margin and loss as
real ones do. It then writes each report in a process of its own and prints its wall seconds,
CPU seconds, peak of resident memory and the size of the page. With ``--peer``, each report is also
written by the code of that commit of this repository, before and after, and the ratios are printed.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

EPOCHS = (1, 2, 4, 8, 16, 32, 48, 60)
EXAMPLES = 4096
NOW = datetime(2026, 11, 1, tzinfo=UTC)
# Number of trials → levels of each axis, and seeds.
DESIGNS = {
    12: ((4, 1, 1), 3),
    200: ((4, 5, 1), 10),
    2000: ((4, 5, 5), 20),
    10_000: ((4, 5, 10), 50),
}
AXES: dict[str, list[Any]] = {
    "training.batch_size": [16, 64, 256, 1024],
    "training.optimizer.learning_rate": [0.01, 0.02, 0.05, 0.1, 0.2],
    "training.optimizer.weight_decay": [0, *(10.0**power for power in range(-10, -1))],
}
CLAIMS = [
    "flatness_tracks_margin",
    "margin_is_cheaper",
    "large_batch_needs_time",
    "margin_predicts_gap_at_least_as_well",
    "flatness_is_an_epiphenomenon",
    {
        "alike": {
            "statement": "At equal loss, flatness falls as the margin grows",
            "x": "hessian_trace",
            "y": "margin_mean",
            "design": "matched_loss",
            "below": -0.3,
        }
    },
]


def write_results(path: Path, trials: int, measures: int) -> None:
    """Write the results of a study of ``trials`` networks with ``measures`` measures each."""
    from orchestrator.results import ResultsFolder, compact, swept_columns, write_part
    from orchestrator.study.spec import Study
    from orchestrator.study.trials import expand_trials, hyperparameters

    levels, seeds = DESIGNS[trials]
    sweep = {axis: AXES[axis][:count] for axis, count in zip(AXES, levels, strict=True)}
    own = [f"lab.measures:m{number:02d}" for number in range(measures - 3)]
    study = Study.model_validate(
        {
            "study": f"synthetic-{trials}",
            "question": "How long does a report take?",
            "data": {"name": "mnist1d"},
            "model": {"name": "mlp"},
            "training": {"stop": {"epochs": EPOCHS[-1]}},
            "sweep": {axis: values for axis, values in sweep.items() if len(values) > 1},
            "seeds": seeds,
            "checkpoints": {"train_loss": [0.5, 0.1], "epochs": list(EPOCHS)},
            "measures": ["margin", "hessian_trace", "hessian_spectrum", *own],
            "claims": CLAIMS,
        }
    )
    planned = expand_trials(study)
    columns = [hyperparameters(study, trial) for trial in planned]
    folder = ResultsFolder.create(
        path,
        study.model_dump_json(),
        f"study: synthetic-{trials}\n",
        {"started_at": NOW.isoformat(), "command": ["orchestrator", "run"], "overrides": []},
        "",
        swept=swept_columns(columns),
    )
    requests = list(study.requests)
    known = [("margin_mean", "margin", "higher"), ("hessian_trace", "flatness", "lower")]
    known += [(name.rpartition(":")[2], "norm", "lower") for name in own]
    catalog = [
        {"measure": name, "family": family, "direction": direction}
        for name, family, direction in known
    ]
    write_part(folder, "measure_catalog", catalog, "all")
    for start in range(0, len(planned), 250):
        rows: dict[str, list[dict[str, Any]]] = {"trials": [], "checkpoints": [], "measures": []}
        for number in range(start, min(start + 250, len(planned))):
            for table, row in rows_of(number, columns[number], requests):
                rows[table].append({**row, "written_at": NOW})
        for table, content in rows.items():
            write_part(folder, table, content, f"from-{start}")
    compact(path)


def rows_of(
    number: int, columns: dict[str, Any], requests: list[str]
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield every row of one trial, with its table."""
    draw = np.random.default_rng(number)
    rate, speed = columns["learning_rate"], 1 + 0.05 * draw.normal()
    per_epoch = EXAMPLES // columns["batch_size"]
    updates = EPOCHS[-1] * per_epoch
    yield (
        "trials",
        {
            **{**columns, "status": "completed", "stop_reason": "epochs", "attempt": 1},
            **{"epochs": float(EPOCHS[-1]), "updates": updates, "train_seconds": updates / 1500},
            **{"n_parameters": 23_050, "device": "cpu", "host": "none", "dataset_hash": "0" * 64},
        },
    )
    reached: set[float] = set()
    for epoch in EPOCHS:
        step = epoch * per_epoch
        progress = speed * np.log(1 + step * rate / 0.05)
        margin = 0.02 * progress**2.4 - 0.5 + 0.05 * draw.normal()
        loss = float(np.exp(0.6 - 0.75 * margin + 0.05 * draw.normal()))
        error = float(np.clip(0.7 * np.exp(-1.3 * margin) - 0.01, 0, 0.9))
        trace = float(400 * loss**0.7 * np.exp(0.2 * draw.normal()))
        milestones = [target for target in (0.5, 0.1) if loss <= target and target not in reached]
        reached.update(milestones)
        names = {
            "trial_id": columns["trial_id"],
            "checkpoint_id": f"{columns['trial_id']}-{step}",
            "step": step,
        }
        gap = 0.3 * (1 - np.exp(-progress / 8)) + 0.01 * draw.normal()
        yield (
            "checkpoints",
            {
                **{**names, "epoch": float(epoch), "examples_seen": step * columns["batch_size"]},
                **{"reason": "final" if epoch == EPOCHS[-1] else "epoch", "milestones": milestones},
                **{"train_loss": loss, "train_error": error},
                **{"test_loss": loss + 0.2 * progress, "test_error": float(error + gap)},
            },
        )
        for request in requests:
            values = {
                "margin": ("margin_mean", "raw", margin),
                "hessian_trace": ("hessian_trace", "exact", trace),
                "hessian_spectrum": ("hessian_eigenvalue_1", "", trace / 25 * draw.uniform(0.5, 1)),
            }
            own = request.rpartition(":")[2], "", progress + draw.normal()
            measure, variant, value = values.get(request.partition("(")[0], own)
            yield (
                "measures",
                {
                    **{**names, "request": request, "measure": measure, "variant": variant},
                    **{"split": "train", "n_examples": EXAMPLES, "value": float(value)},
                    **{"status": "ok", "seconds": 0.01 * draw.uniform(0.8, 1.2)},
                },
            )


def write_one(results: Path, output: Path) -> None:
    """Write one report in this process and print what it took, as JSON."""
    started = time.perf_counter()
    from orchestrator.reporting import write_report

    write_report(results, output)
    seconds = time.perf_counter() - started
    own, children = (
        resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    print(
        json.dumps(
            {
                "s": seconds,
                "CPU s": sum(one.ru_utime + one.ru_stime for one in (own, children)),
                "peak MiB": own.ru_maxrss / 1024,
                "largest child MiB": children.ru_maxrss / 1024,
                "page MiB": output.stat().st_size / 2**20,
            }
        )
    )


def run_one(code: Path, *arguments: str) -> dict[str, float]:
    """Run a step of this script with the package in the folder ``code``."""
    command = [sys.executable, __file__, "--step", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(code)}
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment)
    return dict(json.loads(done.stdout)) if done.stdout else {}


def described(row: dict[str, float]) -> str:
    """Format numbers with their names."""
    return " · ".join(f"{name} {value:.3g}" for name, value in row.items())


def main() -> None:
    """Measure and print the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, nargs="+", choices=DESIGNS, default=list(DESIGNS))
    parser.add_argument("--measures", type=int, default=12, help="measures of each snapshot")
    parser.add_argument("--peer", help="a commit of this repository to compare with")
    parser.add_argument("--keep", type=Path, help="keep results and reports in this folder")
    parser.add_argument("--step", nargs="+", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.step:
        kind, path, *rest = arguments.step
        if kind == "results":
            write_results(Path(path), int(rest[0]), int(rest[1]))
        else:
            write_one(Path(path), Path(rest[0]))
        return
    here = Path(__file__).parent.parent
    with tempfile.TemporaryDirectory() as scratch:
        peer = Path(scratch) / "peer" if arguments.peer else None
        if peer is not None:
            copy_commit(here, arguments.peer, peer)
        for trials in arguments.trials:
            compare(arguments.keep or Path(scratch), trials, arguments.measures, here, peer)


def copy_commit(repository: Path, commit: str, folder: Path) -> None:
    """Write the files of a commit to a new folder."""
    archive = folder.with_suffix(".zip")
    command = ["git", "-C", str(repository), "archive", f"--output={archive}", commit]
    subprocess.run(command, check=True)
    shutil.unpack_archive(archive, folder)


def compare(kept: Path, trials: int, measures: int, here: Path, peer: Path | None) -> None:
    """Write the results of one study, if missing, and its report by both commits."""
    results = kept / f"{trials} trials, {measures} measures"
    if not results.exists():
        run_one(here, "results", str(results), str(trials), str(measures))
    report, name = kept / "report.html", f"{trials} trials, {measures} measures"
    theirs = [run_one(peer, "report", str(results), str(report))] if peer else []
    ours = run_one(here, "report", str(results), str(report))
    print(f"{name}: {described(ours)}", flush=True)
    if peer:
        theirs.append(run_one(peer, "report", str(results), str(report)))
        ratios = {
            unit: float(np.mean([one[unit] for one in theirs])) / ours[unit]
            for unit in ("s", "CPU s", "peak MiB")
        }
        print(f"    the peer's as a multiple: {described(ratios)}", flush=True)


if __name__ == "__main__":
    main()
