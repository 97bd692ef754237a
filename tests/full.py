"""Run the tests that take hours, by hand: ``python -m tests.full [PART …]``, all by default.

Each finished part adds a row to ``benchmarks/full.md`` with the date, commit, machine and result.
The exit code is 1 if a part failed.
"""

import os
import platform
import re
import subprocess
import sys
import time
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).parents[1]
RECORD = ROOT / "benchmarks" / "full.md"
HOSTILE = [
    "tests/study/test_hostile_files.py",
    "tests/data/test_hostile_data.py",
    "tests/training/test_hostile_checkpoints.py",
]
BUSY_LOOPS = 8
# Name → environment variables, pytest's arguments, and number of busy loops run alongside.
PARTS = {
    "full": ({}, ["-m", "full"], 0),
    "networks": ({}, ["-m", "full", "tests/measures/test_grammar.py"], 0),
    "verdicts": (
        {},
        ["-m", "full", "tests/statistics/claims", "tests/reporting/test_verdict_rates.py"],
        0,
    ),
    "hostile": ({"HYPOTHESIS_PROFILE": "thorough"}, HOSTILE, 0),
    # The default suite must pass on every processor, idle or busy.
    "at-rest": ({}, [], 0),
    "busy": ({}, [], BUSY_LOOPS),
    "kernels-default": ({"ATEN_CPU_CAPABILITY": "default"}, [], 0),
    "kernels-avx2": ({"ATEN_CPU_CAPABILITY": "avx2"}, [], 0),
    "one-thread": ({"OMP_NUM_THREADS": "1"}, [], 0),
    "two-threads": ({"OMP_NUM_THREADS": "2"}, [], 0),
}

CONTAINED = {"networks", "verdicts"}  # Included in "full".


@contextmanager
def busy(loops):
    """Keep the cores busy with ``loops`` busy loops."""
    processes = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(loops)]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


def machine():
    """Describe the processor, its cores, the memory, and the versions of Python and torch."""
    import torch

    model = platform.processor() or platform.machine()
    if (info := Path("/proc/cpuinfo")).is_file():
        found = re.search(r"model name\s*: (.+)", info.read_text())
        model = found[1] if found else model
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    versions = f"Python {platform.python_version()}, torch {torch.__version__}"
    return f"{model}, {os.cpu_count()} cores, {memory:.0f} GiB, {versions}"


def commit():
    """Return the commit, with a plus if files other than the record differ from it."""
    changed = _git("status", "--porcelain", "--", ".", f":!{RECORD.relative_to(ROOT)}")
    return _git("rev-parse", "--short", "HEAD") + "+" * bool(changed)


def _git(*arguments):
    return subprocess.run(
        ["git", *arguments], cwd=ROOT, capture_output=True, text=True
    ).stdout.strip()


def run(part):
    """Run one part, show its output, record its result, and return the exit code."""
    variables, arguments, loops = PARTS[part]
    row = [f"{datetime.now(UTC):%Y-%m-%d}", commit(), part]
    started, last = time.monotonic(), ""
    with busy(loops):
        command = [sys.executable, "-m", "pytest", *arguments]
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env={**os.environ, **variables},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for line in process.stdout:
            print(line, end="", flush=True)
            last = line.strip(" =\n") or last
        code = process.wait()
    row += [re.sub(r" in [\d.]+s.*", "", last), f"{(time.monotonic() - started) / 60:.1f}"]
    with RECORD.open("a") as file:
        file.write("| " + " | ".join([*row, machine()]) + " |\n")
    return code


def main(parts):
    """Run the named parts, or all parts that no other part includes."""
    if unknown := set(parts) - PARTS.keys():
        sys.exit(f"unknown parts: {', '.join(sorted(unknown))}; available: {', '.join(PARTS)}")
    codes = [run(part) for part in parts or [one for one in PARTS if one not in CONTAINED]]
    sys.exit(any(codes))


if __name__ == "__main__":
    main(sys.argv[1:])
