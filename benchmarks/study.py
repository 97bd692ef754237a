"""Time one study at an earlier commit and here, alternately.

    python benchmarks/study.py [--study benchmarks/quickstart_2026_11.yaml] [--against 46ac27e]

Each run is ``python -m orchestrator run`` in an empty folder, with the working tree's environment.
The script prints, as medians over the rounds and as ratios of here to there:

- wall: seconds from the command to its end, report included;
- CPU: seconds of the command and of every process of Ray that it starts;
- workers: processes that imported the package to train, measure or audit;
- idle: from the first training to the last measurement or audit, that time × cores ÷ the CPU
  seconds that trials and measurers used in it. 1 would be perfect.

CPU seconds are sampled four times a second from ``/proc`` (Linux): what a process does after its
last sample is missed.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
MARK = "ORCHESTRATOR_BENCHMARK"
EVERY = 0.25  # Seconds between samples.
TICKS = os.sysconf("SC_CLK_TCK")  # Units of CPU time per second.


@dataclass
class Sampler:
    """CPU seconds of all processes of one run, recognized by a variable of their environment."""

    mark: str
    cpu: dict[int, float] = field(default_factory=dict)
    worked: dict[int, float] = field(default_factory=dict)
    busy: list[float] = field(default_factory=list)

    def sample(self) -> None:
        """Take one sample of every process of the run."""
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                if f"{MARK}={self.mark}" not in (folder / "environ").read_text(errors="replace"):
                    continue
                # The name, the second field, is in parentheses and may contain spaces.
                fields = (folder / "stat").read_text().rpartition(")")[2].split()
                title = (folder / "cmdline").read_text(errors="replace")
            except OSError:  # It ended, or is not ours.
                continue
            pid, seconds = int(folder.name), (int(fields[11]) + int(fields[12])) / TICKS
            used = seconds - self.cpu.get(pid, 0.0)
            self.cpu[pid] = seconds
            # Ray names a worker after the actor or task that it runs, or IDLE before its first.
            name = title.partition("\0")[0].strip()
            if name.startswith("ray::") and not name.endswith(("::IDLE", "Agent")):
                self.worked[pid] = self.worked.get(pid, 0.0) + used
                if used > EVERY / 10:
                    self.busy.append(time.monotonic())


@dataclass(frozen=True)
class Run:
    """What one run of the study took."""

    wall: float
    cpu: float
    workers: int
    idle: float


def run(tree: Path, study: Path, cores: int) -> Run:
    """Run ``study`` with the package in ``tree``.

    Raises:
        RuntimeError: If the command fails.
    """
    with tempfile.TemporaryDirectory(prefix="study-") as scratch:
        sampler = Sampler(uuid.uuid4().hex)
        environment = os.environ | {MARK: sampler.mark, "PYTHONPATH": str(tree)}
        command = [sys.executable, "-m", "orchestrator", "run", str(study), "--quiet"]
        log = Path(scratch) / "log"
        with log.open("w") as output:
            started = time.monotonic()
            process = subprocess.Popen(
                [*command, "--results", str(Path(scratch) / "results")],
                cwd=tree,
                env=environment,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
            while process.poll() is None:
                sampler.sample()
                time.sleep(EVERY)
            wall = time.monotonic() - started
        if process.returncode != 0:
            raise RuntimeError(f"exit code {process.returncode} in {tree}:\n{log.read_text()}")
        work = sum(sampler.worked.values())
        span = sampler.busy[-1] - sampler.busy[0]
        return Run(wall, sum(sampler.cpu.values()), len(sampler.worked), span * cores / work)


def main() -> None:
    """Run both trees in turns and print the comparison."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--study", type=Path, default=ROOT / "benchmarks/quickstart_2026_11.yaml")
    parser.add_argument("--against", default="46ac27e", help="commit to compare with, or none")
    parser.add_argument("--rounds", type=int, default=1)
    options = parser.parse_args()
    cores = len(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory(prefix="there-") as scratch:
        trees = {"here": ROOT}
        if options.against != "none":
            archive = subprocess.run(
                ["git", "archive", options.against], cwd=ROOT, check=True, stdout=subprocess.PIPE
            )
            subprocess.run(["tar", "-x"], cwd=scratch, check=True, input=archive.stdout)
            trees = {options.against: Path(scratch), "here": ROOT}
        runs: dict[str, list[Run]] = {name: [] for name in trees}
        for _ in range(options.rounds):
            for name, tree in trees.items():
                runs[name].append(run(tree, options.study.resolve(), cores))
                print(name, runs[name][-1], flush=True)
    print(f"{options.study.name}, {cores} cores, medians of {options.rounds}")
    for quantity in ("wall", "cpu", "workers", "idle"):
        found = {
            name: statistics.median(getattr(one, quantity) for one in all_runs)
            for name, all_runs in runs.items()
        }
        values = " · ".join(f"{name} {value:.3g}" for name, value in found.items())
        ratio = found["here"] / next(iter(found.values()))
        print(f"{quantity}: {values} · ratio {ratio:.2f}")


if __name__ == "__main__":
    main()
