"""Compare all default measures of a snapshot in a shared context with each computed separately.

    python benchmarks/measures.py [--rounds 3] [--dtype float32] [--measure NAME …]

The networks run on one thread: the quickstart's MLP on MNIST-1D-like data, and a CNN 32-64 on 500
images, each after a few training steps. "Shared" is one context for all measures, as in a study;
"separate" is a fresh context for each, as in a script that calls one function after the other.
Both run alternately, and the ratio is the median over rounds of the ratio within a round. Peak
memory is the memory that measuring adds to a process that does nothing else (Linux).
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
import torch.nn.functional as F

from orchestrator.data.dataset import Dataset
from orchestrator.measures import MeasureContext, measure_snapshot
from orchestrator.models import build_model
from orchestrator.study.measure_options import BUILT_IN_OPTIONS, MeasureOptions, name_of
from orchestrator.study.model_options import CnnOptions, MlpOptions, ModelOptions
from orchestrator.study.training_options import CrossEntropyOptions
from orchestrator.training import build_loss

CLASSES = 10
LOSS = build_loss(CrossEntropyOptions())
NETWORKS: dict[str, tuple[ModelOptions, tuple[int, ...], int]] = {
    "mlp": (MlpOptions(width=128, depth=2), (40,), 4000),
    "cnn": (CnnOptions(width=32, depth=2), (1, 28, 28), 500),
}
Requests = dict[str, MeasureOptions]


def new_context(name: str, dtype: torch.dtype) -> MeasureContext:
    """Build a context of a briefly trained network, with nothing measured yet."""
    options, shape, examples = NETWORKS[name]
    generator = torch.Generator().manual_seed(0)
    y = torch.randint(0, CLASSES, (examples,), generator=generator)
    centers = torch.randn(CLASSES, *shape, generator=generator)
    x = 0.3 * centers[y] + torch.randn(examples, *shape, generator=generator)
    model = build_model(options, shape, CLASSES, seed=0)
    initial = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    for step in range(200):
        batch = slice(50 * step % examples, 50 * step % examples + 50)
        optimizer.zero_grad()
        F.cross_entropy(model(x[batch]), y[batch]).backward()
        optimizer.step()
    quarter = examples // 4
    data = Dataset("gaussian", x, y, x[:quarter], y[:quarter], CLASSES, "")
    return MeasureContext(model, data, LOSS, dtype=dtype, initial_state=initial)


def requests_of(names: Sequence[str]) -> Requests:
    """Return the named built-in measures, or all, with their default options."""
    return {
        name_of(options): options.model_validate({"name": name_of(options)})
        for options in BUILT_IN_OPTIONS
        if not names or name_of(options) in names
    }


def shared(name: str, dtype: torch.dtype, requests: Requests) -> dict[str, float]:
    """Return the seconds of each request, all in one context."""
    context = new_context(name, dtype)
    return {request: timed(context, {request: o}) for request, o in requests.items()}


def alone(name: str, dtype: torch.dtype, requests: Requests) -> dict[str, float]:
    """Return the seconds of each request, each in its own context."""
    return {
        request: timed(new_context(name, dtype), {request: options})
        for request, options in requests.items()
    }


def timed(context: MeasureContext, requests: Requests) -> float:
    """Return the seconds of measuring ``requests``."""
    started = time.perf_counter()
    rows = list(measure_snapshot(context, requests))
    seconds = time.perf_counter() - started
    if failed := [row["error"] for row in rows if row["status"] == "error"]:
        raise RuntimeError(failed[0])
    return seconds


def peak_memory(name: str, dtype: str, names: Sequence[str]) -> float:
    """Return the MiB that measuring adds to a process that holds the network and its data."""
    chosen = [text for one in names for text in ("--measure", one)]
    command = [sys.executable, __file__, "--network", name, "--dtype", dtype, "--peak", *chosen]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(done.stdout)


def memory(field: str) -> float:
    """Return the MiB of this process as the kernel counts them: ``VmRSS`` now, ``VmHWM`` peak."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(f"{field}:"))


def report(name: str, dtype: str, rounds: int, names: Sequence[str]) -> None:
    """Print all results for one network."""
    requests, precision = requests_of(names), getattr(torch, dtype)
    timed(new_context(name, precision), requests)  # warm-up: first calls are slow
    pairs = [
        (shared(name, precision, requests), alone(name, precision, requests)) for _ in range(rounds)
    ]
    print(f"\n{name}, {NETWORKS[name][2]} examples, {dtype}: seconds")
    print(f"  {'measure':28} {'shared':>8} {'separate':>10}")
    for request in requests:
        middle = [statistics.median(pair[i][request] for pair in pairs) for i in (0, 1)]
        print(f"  {request:28} {middle[0]:8.3f} {middle[1]:10.3f}")
    totals = [(sum(one.values()), sum(other.values())) for one, other in pairs]
    ratio = statistics.median(other / one for one, other in totals)
    middle = [statistics.median(column) for column in zip(*totals, strict=True)]
    print(f"  {'all':28} {middle[0]:8.3f} {middle[1]:10.3f}  shared is {ratio:.2f} × faster")
    print(f"  peak memory of all measures, shared: {peak_memory(name, dtype, names):.0f} MiB")


def main() -> None:
    """Measure and print the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--dtype", choices=["float32", "float64"], default="float64")
    parser.add_argument("--network", choices=NETWORKS, action="append")
    parser.add_argument("--measure", action="append", default=[])
    parser.add_argument("--peak", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    networks = arguments.network or list(NETWORKS)
    if arguments.peak:
        context = new_context(networks[0], getattr(torch, arguments.dtype))
        Path("/proc/self/clear_refs").write_text("5")  # reset the peak
        before = memory("VmRSS")
        timed(context, requests_of(arguments.measure))
        print(memory("VmHWM") - before)
        return
    print(f"torch {torch.__version__}, one thread, medians of {arguments.rounds} rounds")
    for name in networks:
        report(name, arguments.dtype, arguments.rounds, arguments.measure)


if __name__ == "__main__":
    main()
