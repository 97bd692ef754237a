"""Kill workers and driver at random during many small trials; check for losses and leftovers.

    python benchmarks/soak.py [--trials 500] [--every 4] [--seed 0]

The script runs one study twice: once undisturbed, once with a SIGKILL every few seconds to a random
trial or measurer or, one time in ten, to the driver, which is then restarted. It compares every
table value for value and prints the processes, shared memory and temporary files that are left, and
the peak resident memory of the driver. The exit code is 1 if anything differs or is left.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.cluster.comparison import assert_equal_results

STUDY = """\
study: soak
data: {{name: digits, train_size: 200}}
model: {{name: mlp, width: 16, depth: 1}}
training:
  batch_size: 20
  optimizer: {{name: sgd, learning_rate: 0.1, momentum: 0.9}}
  stop: {{epochs: 20}}
seeds: {trials}
checkpoints: {{epochs: [1]}}
measures: [margin, norms]
"""


def main() -> int:
    """Run both studies, compare their results, and report leftovers."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--trials", type=int, default=500)
    parser.add_argument("--every", type=float, default=4.0, help="seconds between two kills")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="soak-") as name:
        place = Path(name)
        study = place / "soak.yaml"
        study.write_text(STUDY.format(trials=options.trials))
        shared = _shared_memory()
        started = time.monotonic()
        _, memory = _run(study, place / "undisturbed", place)
        print(f"undisturbed: {time.monotonic() - started:.0f} s, driver {memory} MB at most")
        rng = random.Random(options.seed)
        started, kills, starts, most = time.monotonic(), 0, 0, 0
        code: int | None = None
        while code != 0:
            code, memory, killed = _disturbed(study, place, rng, options.every)
            kills, starts, most = kills + killed, starts + 1, max(most, memory)
        print(
            f"disturbed: {time.monotonic() - started:.0f} s, {kills} processes killed, driver "
            f"started {starts} times, {most} MB at most"
        )
        assert_equal_results(place / "disturbed", place / "undisturbed")
        print(f"tables of {options.trials} trials: equal, value for value")
        deadline = (
            time.monotonic() + 120
        )  # Ray's own agents of a killed driver end within a minute.
        while _left(place) and time.monotonic() < deadline:
            time.sleep(1.0)
        left = _left(place)
        more = sorted(_shared_memory() - shared)
        halves = [path for path in place.rglob(".*.tmp") if path.is_file()]
        print(
            f"left: {len(left)} processes, {len(more)} files of shared memory, "
            f"{len(halves)} half-written files"
        )
        return 1 if left or more or halves else 0


def _run(study: Path, folder: Path, place: Path) -> tuple[int, int]:
    process = _start(study, folder, place)
    memory = 0
    while process.poll() is None:
        memory = max(memory, _resident(process.pid))
        time.sleep(0.5)
    return process.returncode, memory


def _disturbed(study: Path, place: Path, rng: random.Random, every: float) -> tuple[int, int, int]:
    """Start the driver once; return its exit code, peak MB and the number of processes killed."""
    process = _start(study, place / "disturbed", place, "--retry-failed")
    memory = killed = 0
    next_kill = time.monotonic() + every
    while process.poll() is None:
        memory = max(memory, _resident(process.pid))
        if time.monotonic() >= next_kill:
            next_kill = time.monotonic() + every * rng.uniform(0.5, 1.5)
            victims = [
                pid
                for pid, command in _ours(place).items()
                if command.startswith(("ray::TrialTrainable", "ray::Measurer"))
            ]
            if victims:
                victim = process.pid if rng.random() < 0.1 else rng.choice(victims)
                os.kill(victim, signal.SIGKILL)
                killed += 1
        time.sleep(0.2)
    return process.returncode, memory, killed


def _start(study: Path, folder: Path, place: Path, *more: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "orchestrator", "run", str(study), "--results", str(folder)]
    # SOAK identifies all processes of this run, whatever their names.
    environment = {**os.environ, "SOAK": str(place), "PYTHONPATH": str(Path(__file__).parents[1])}
    output = (place / "output.log").open("ab")
    return subprocess.Popen(
        [*command, "--quiet", *more], env=environment, stdout=output, stderr=output
    )


def _ours(place: Path) -> dict[int, str]:
    """Map process ids to commands for this soak, including zombies, except for this script."""
    found = {}
    marker = f"SOAK={place}".encode()
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if marker in (folder / "environ").read_bytes():
                command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                found[int(folder.name)] = command
        except (OSError, ValueError):
            continue
    return found


def _left(place: Path) -> list[str]:
    zombies = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = status.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if fields[0] == "Z" and int(fields[1]) == os.getpid():
            zombies.append(status.parent.name)
    return [*_ours(place).values(), *zombies]


def _shared_memory() -> set[str]:
    return {path.name for path in Path("/dev/shm").iterdir()}


def _resident(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(x.split()[1]) // 1024 for x in lines if x.startswith("VmRSS:")), 0)


if __name__ == "__main__":
    sys.exit(main())
