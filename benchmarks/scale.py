"""Measure the overhead of a trial beyond its training as studies grow: time, memory and files.

    python benchmarks/scale.py [--trials 100 300 1000] [--snapshots 20]

Each size is its own study, run by ``orchestrator.run`` in its own process. Its networks have a few
weights and train on a few digits, so training takes almost no time and all other costs show. The
script prints the seconds of the run and per trial, the driver's peak of resident memory, the files
and bytes left, and the size of Ray Tune's state. It also prints the seconds of ``status``, a query,
``compact`` and the same query again. Growth is linear if "ms per trial" stays constant and "MiB"
rises evenly.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

STUDY = """
study: scale
question: What does a trial cost beyond its training?
data: {{name: digits, train_size: 32}}
model: {{name: mlp, width: 4, depth: 1}}
training:
  batch_size: 32
  optimizer: {{name: sgd, learning_rate: 0.01}}
  stop: {{updates: {snapshots}}}
seeds: {trials}
checkpoints:
  updates: {{every: 1}}
measures: [{{margin: {{normalizations: [raw]}}}}]
# One process trains and one measures. With more, Tune would start another process at the end of
# each trial and kill it again, because these trials are shorter than the start of a process.
resources: {{trial: {{cpus: 1}}, measurer: {{cpus: 1, count: 1}}}}
"""
QUERY = "SELECT seed % 10, avg(margin_mean), count(*) FROM wide GROUP BY ALL"


def one_size(trials: int, snapshots: int, kept: Path | None) -> dict[str, Any]:
    """Run a study of ``trials`` trials in this process and measure its time and output."""
    import orchestrator

    with tempfile.TemporaryDirectory() as scratch:
        study, results = Path(scratch) / "scale.yaml", (kept or Path(scratch)) / f"scale {trials}"
        study.write_text(STUDY.format(trials=trials, snapshots=snapshots))
        summary, seconds = timed(lambda: orchestrator.run(study, results, quiet=True))
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        sizes = {path: path.stat().st_size for path in results.rglob("*") if path.is_file()}
        tune = sum(size for path, size in sizes.items() if "tune" in path.parts)
        status = command_seconds("status", str(results))
        fresh = command_seconds("query", str(results), QUERY)
        compaction = command_seconds("compact", str(results))
        compacted = command_seconds("query", str(results), QUERY)
        if summary.completed != trials or summary.failed_trials or summary.failed_measures:
            raise RuntimeError(f"the study did not complete: {summary}")
        return {
            "trials": trials,
            "snapshots": summary.measured,
            "seconds": seconds,
            "ms per trial": 1000 * seconds / trials,
            "driver MiB": peak,
            "files": len(sizes),
            "MiB": sum(sizes.values()) / 2**20,
            "tune MiB": tune / 2**20,
            "status s": status,
            "query s": fresh,
            "compact s": compaction,
            "query again s": compacted,
        }


def timed(work: Callable[[], Any]) -> tuple[Any, float]:
    """Return the result of ``work`` and its seconds."""
    started = time.perf_counter()
    found = work()
    return found, time.perf_counter() - started


def command_seconds(*arguments: str) -> float:
    """Return the seconds of one command, including its start."""
    command = [sys.executable, "-m", "orchestrator", *arguments]
    return timed(lambda: subprocess.run(command, check=True, stdout=subprocess.DEVNULL))[1]


def main() -> None:
    """Measure and print the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, nargs="+", default=[100, 300, 1000])
    parser.add_argument("--snapshots", type=int, default=20)
    parser.add_argument("--keep", type=Path, help="keep the results in this folder")
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one is not None:
        print(json.dumps(one_size(arguments.one, arguments.snapshots, arguments.keep)))
        return
    print(f"{os.cpu_count()} cores, {arguments.snapshots} snapshots per trial")
    for size in arguments.trials:
        command = [sys.executable, __file__, "--one", str(size)]
        command += ["--snapshots", str(arguments.snapshots)]
        command += ["--keep", str(arguments.keep)] if arguments.keep else []
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        row: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        print(" · ".join(f"{name} {value:.4g}" for name, value in row.items()), flush=True)


if __name__ == "__main__":
    main()
