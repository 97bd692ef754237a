"""Compare a GPU with the CPU: equality of numbers, throughput and sharing.

    python benchmarks/gpu.py

Run it by hand on a machine with a GPU, once per kind of GPU. It prints three parts, and exits with
1 if a number of the first part differs by more than its tolerance:

1. Equality. A small MLP, CNN and residual network are trained for some updates and measured with
   every built-in measure, on both devices from the same start. Losses must agree within 1e-3 after
   20 updates in float32. In float64, measures of the same network must agree within a relative
   1e-6, or within 5 % if they follow a path of signs or of random steps, which rounding decides.
2. Throughput. A training epoch and the exact Hessian trace, run alternately, for these networks and
   for larger ones as used in papers.
3. Sharing, for the small MLP and the larger networks. One, two and four processes train on the one
   GPU: the total steps per second, and the slowdown of training while another process measures.

``--device cpu`` runs the script on a machine without a GPU; its ratios are then meaningless.
"""

from __future__ import annotations

import argparse
import math
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import torch
from measures import requests_of
from training_step import seconds

from orchestrator.data.dataset import Dataset
from orchestrator.measures import MeasureContext, exact_trace, measure_snapshot
from orchestrator.models import build_model
from orchestrator.study.spec import TrialConfig
from orchestrator.training import build_loss
from orchestrator.training.learner import Learner

PARTS = ("equality", "throughput", "sharing")
# Options of the network, shape of an input, number of examples, batch size.
Network = tuple[dict[str, Any], tuple[int, ...], int, int]
SMALL: dict[str, Network] = {
    "mlp": ({"name": "mlp", "width": 64, "depth": 2}, (40,), 500, 50),
    "cnn": ({"name": "cnn", "width": 8, "depth": 2}, (1, 14, 14), 200, 50),
    "resnet": ({"name": "resnet", "depth": 8, "width": 4}, (3, 8, 8), 200, 50),
}
LARGE: dict[str, Network] = {
    "mlp 512": ({"name": "mlp", "width": 512, "depth": 3}, (784,), 10_000, 128),
    "cnn 32": ({"name": "cnn", "width": 32, "depth": 2}, (1, 28, 28), 5000, 128),
    "resnet20": ({"name": "resnet", "depth": 20, "width": 16}, (3, 32, 32), 1000, 128),
}
NETWORKS = SMALL | LARGE
SHARED = ("mlp", *LARGE)
TRACED_EXAMPLES = 500
CLASSES = 10
PATIENCE_SECONDS = 300.0  # Time for processes to start; never wait for a dead one.
UPDATES = 20
LOSS_TOLERANCE, TOLERANCE, LOOSE = 1e-3, 1e-6, 5e-2
# Ascents by signs, searches by bisection, and chains of random steps: rounding decides their path.
FOLLOW_A_PATH = {
    "deepfool_margin",
    "flatness_profile",
    "keskar_sharpness",
    "local_entropy",
    "local_lipschitz",
    "pac_bayes_sigma",
    "pgd_margin",
    "robustness",
    "worst_case_radius",
    "worst_case_sharpness",
}


def configuration(name: str) -> TrialConfig:
    """Return the trial configuration of a network, with SGD."""
    model, _, _, batch_size = NETWORKS[name]
    return TrialConfig.model_validate(
        {
            "data": "digits",
            "model": model,
            "training": {
                "batch_size": batch_size,
                "optimizer": {"name": "sgd", "learning_rate": 0.02, "momentum": 0.9},
                "stop": {"epochs": 10**6},
            },
        }
    )


def dataset(name: str) -> Dataset:
    """Generate Gaussian classes of the network's input shape."""
    _, shape, examples, _ = NETWORKS[name]
    generator = torch.Generator().manual_seed(0)
    y = torch.randint(0, CLASSES, (examples,), generator=generator)
    centers = torch.randn(CLASSES, *shape, generator=generator)
    x = 0.5 * centers[y] + torch.randn(examples, *shape, generator=generator)
    quarter = examples // 4
    return Dataset("gaussian", x, y, x[:quarter], y[:quarter], CLASSES, "")


def trained(name: str, device: torch.device, updates: int) -> Learner:
    """Train a network for some updates."""
    learner = Learner(configuration(name), 0, dataset(name), device)
    while learner.step < updates:
        learner.begin_epoch(learner.epoch + 1)
        learner.train_until(min(updates, learner.step + learner.updates_per_epoch))
    return learner


def rows_of(name: str, learner: Learner, device: torch.device) -> dict[tuple[Any, ...], Any]:
    """Return the rows of every measure of the network, by their identifying columns."""
    config, data = configuration(name), dataset(name)
    model = build_model(config.model, data.input_shape, CLASSES, seed=0)
    initial = {key: value.clone() for key, value in model.state_dict().items()}
    model.load_state_dict(learner.snapshot())
    context = MeasureContext(
        model, data, build_loss(config.training.loss), device=device, initial_state=initial
    )
    found = measure_snapshot(context, requests_of(()))
    keys = ("request", "measure", "curve", "variant", "split")
    return {tuple(row.get(key) for key in keys): row for row in found}


def differences(name: str, device: torch.device) -> list[str]:
    """Print the largest differences between both devices; return a line per failure."""
    here, there = (trained(name, one, UPDATES) for one in (torch.device("cpu"), device))
    losses = [one.evaluate("train").loss for one in (here, there)]
    apart = abs(losses[1] - losses[0]) / abs(losses[0])
    print(f"{name:7} loss after {UPDATES} updates {losses[0]:.6f}, differs by {apart:.1e}")
    wrong = [] if apart <= LOSS_TOLERANCE else [f"{name}: loss differs by {apart:.1e}"]
    cpu, gpu = (rows_of(name, here, one) for one in (torch.device("cpu"), device))
    if cpu.keys() != gpu.keys():
        wrong.append(f"{name}: rows differ: {sorted(map(str, cpu.keys() ^ gpu.keys()))}")
    largest: dict[str, float] = {}
    for key in cpu.keys() & gpu.keys():
        row, other, request = cpu[key], gpu[key], str(key[0])
        if row["status"] != other["status"]:
            wrong.append(f"{name}: {key}: {row['status']} and {other['status']}: {other['error']}")
            continue
        if row["status"] == "error":
            wrong.append(f"{name}: {request} fails on both: {row['error']}")
            continue
        largest[request] = max(largest.get(request, 0.0), _apart(row, other))
    for request, difference in sorted(largest.items(), key=lambda item: -item[1]):
        tolerance = LOOSE if request in FOLLOW_A_PATH else TOLERANCE
        told = f"{name:7} {request:28} differs by at most {difference:.1e}, allowed {tolerance:.0e}"
        print(f"{told}; {_took(request, cpu):.2f} s, device {_took(request, gpu):.2f} s")
        if not difference <= tolerance:
            wrong.append(told)
    return wrong


def _took(request: str, rows: dict[tuple[Any, ...], Any]) -> float:
    """Return the seconds of one measure, which its first row contains."""
    return sum(row["seconds"] or 0.0 for key, row in rows.items() if key[0] == request)


def _apart(*both: dict[str, Any]) -> float:
    """Return the largest difference between two rows' numbers, relative to the largest number."""
    one, two = (
        torch.tensor(
            [math.nan if number is None else number for number in numbers], dtype=torch.float64
        )
        for numbers in (
            list(found["value"]) if "curve" in found else [found["value"]] for found in both
        )
    )
    if one.shape != two.shape:
        return math.inf
    same = (one == two) | (one.isnan() & two.isnan())
    scale = one[one.isfinite()].abs().max() if bool(one.isfinite().any()) else torch.tensor(1.0)
    apart = ((one - two).abs() / scale.clamp_min(1e-12))[~same]
    # A number against a missing one counts as infinitely different.
    return float(apart.nan_to_num(nan=math.inf).max()) if len(apart) else 0.0


def epoch_of(learner: Learner) -> Callable[[], None]:
    """Return a function that trains one epoch."""

    def epoch() -> None:
        learner.begin_epoch(learner.epoch + 1)
        learner.train_until(learner.step + learner.updates_per_epoch)

    return epoch


def trace_of(name: str, device: torch.device) -> Callable[[], None]:
    """Return a function for the exact trace in a fresh context; float32, as for large networks."""
    config, data = configuration(name), dataset(name).to(device)
    model = build_model(config.model, data.input_shape, CLASSES, seed=0)
    loss = build_loss(config.training.loss)

    def trace() -> None:
        exact_trace(
            MeasureContext(
                model, data, loss, device=device, dtype=torch.float32, examples=TRACED_EXAMPLES
            )
        )

    return trace


def throughput(name: str, device: torch.device, rounds: int) -> None:
    """Time a training epoch and the trace on both devices, alternately."""
    both = torch.device("cpu"), device
    kinds = (
        ("training epoch", [epoch_of(trained(name, one, 1)) for one in both]),
        ("exact trace", [trace_of(name, one) for one in both]),
    )
    for kind, (here, there) in kinds:
        pairs = [(seconds(here), seconds(there)) for _ in range(2 + rounds)][2:]
        cpu, gpu = (1e3 * statistics.median(column) for column in zip(*pairs, strict=True))
        ratio = statistics.median(one / other for one, other in pairs)
        print(f"{name:8} {kind:14} CPU {cpu:8.2f} ms, device {gpu:8.2f} ms: {ratio:.2f} × faster")


def train_for(name: str, device: str, duration: float, barrier: Any, steps: Any) -> None:
    """Train once all processes are ready, and report the steps per second."""
    learner = trained(name, torch.device(device), 1)
    epoch = epoch_of(learner)
    barrier.wait(PATIENCE_SECONDS)
    started, before = time.perf_counter(), learner.step
    while time.perf_counter() - started < duration:
        epoch()
    steps.put((learner.step - before) / (time.perf_counter() - started))


def measure_for(name: str, device: str, barrier: Any, stop: Any) -> None:
    """Measure repeatedly until ``stop`` is set."""
    trace = trace_of(name, torch.device(device))
    trace()
    barrier.wait(PATIENCE_SECONDS)
    while not stop.is_set():
        trace()


def rate(name: str, device: torch.device, duration: float, trainers: int, measurers: int) -> float:
    """Return the total steps per second of all trainers, with measurers beside them."""
    spawn = torch.multiprocessing.get_context("spawn")
    barrier, steps = spawn.Barrier(trainers + measurers), spawn.Queue()
    stop = spawn.Event()
    training = [
        spawn.Process(target=train_for, args=(name, str(device), duration, barrier, steps))
        for _ in range(trainers)
    ]
    measuring = [
        spawn.Process(target=measure_for, args=(name, str(device), barrier, stop))
        for _ in range(measurers)
    ]
    for process in training + measuring:
        process.start()
    total = sum(steps.get(timeout=PATIENCE_SECONDS + duration) for _ in training)
    stop.set()
    for process in training + measuring:
        process.join()
    return total


def sharing(name: str, device: torch.device, duration: float) -> None:
    """Print the throughput of several processes on one device."""
    alone = rate(name, device, duration, 1, 0)
    print(f"{name:8} alone {alone:8.0f} steps per second")
    for trainers in (2, 4):
        together = rate(name, device, duration, trainers, 0)
        print(f"{name:8} {trainers} processes {together:8.0f} in total: {together / alone:.2f} ×")
    beside = rate(name, device, duration, 1, 1)
    print(f"{name:8} beside measuring {beside:8.0f}: training takes {alone / beside:.2f} × as long")


def main() -> int:
    """Compare the devices and print the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=5.0, help="per run in the part sharing")
    parser.add_argument("--network", choices=NETWORKS, action="append", help="default: all")
    parser.add_argument("--part", choices=PARTS, action="append", help="default: all")
    arguments = parser.parse_args()
    device = torch.device(arguments.device)
    if device.type == "cuda" and not torch.cuda.is_available():
        parser.exit(1, "no GPU available: torch.cuda.is_available() is False\n")
    named = torch.cuda.get_device_name(device) if device.type == "cuda" else str(device)
    print(f"torch {torch.__version__}, {named} against {torch.get_num_threads()} threads")
    names, parts = arguments.network or list(NETWORKS), arguments.part or PARTS
    wrong: list[str] = []
    if "equality" in parts:
        for name in (name for name in names if name in SMALL):
            wrong += differences(name, device)
    if "throughput" in parts:
        for name in names:
            throughput(name, device, arguments.rounds)
    if "sharing" in parts:
        for name in (name for name in names if name in SHARED):
            sharing(name, device, arguments.seconds)
    if "equality" in parts:
        print("\n".join(["", "NOT EQUAL:", *wrong] if wrong else ["", "equal on both"]))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    sys.exit(main())
