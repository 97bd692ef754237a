"""Compare the exact Hessian trace and top eigenvalue with probing and with other packages.

    python benchmarks/curvature.py [--dtype float32] [--rounds 5]

The networks run on one thread: an MLP 784-512-512-10 on 2,000 examples, a CNN 32-64 with
max-pooling on 500, and a residual network with batch normalization on 200, each after a few
training steps on Gaussian classes. BackPACK, PyHessian and curvlinops are included if installed
(the extra ``peers``; their own requirements must not replace torch). The two of a pair run
alternately, and the ratio is the median over rounds of the ratio within a round.

The cost of probing to a standard error of 1 % would be minutes to hours, so it is extrapolated from
the variance of 64 probes and the time of one probe.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import io
import os
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterable
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from orchestrator.data.dataset import Dataset
from orchestrator.measures import MeasureContext, exact_trace
from orchestrator.measures.curvature.hessian_krylov import extreme_eigenvalues
from orchestrator.measures.curvature.hutchinson import hutchinson
from orchestrator.models import build_model
from orchestrator.study.measure_options.curvature import HessianSpectrumOptions
from orchestrator.study.model_options import CnnOptions, MlpOptions, ModelOptions, ResnetOptions
from orchestrator.study.training_options import CrossEntropyOptions
from orchestrator.training import build_loss

CLASSES = 10
PROBES = 64
EIGENVALUE_ERROR = 1e-4
LOSS = build_loss(CrossEntropyOptions())
NETWORKS: dict[str, tuple[ModelOptions, tuple[int, ...], int]] = {
    "mlp": (MlpOptions(width=512, depth=2), (784,), 2000),
    "cnn": (CnnOptions(width=32, depth=2), (1, 28, 28), 500),
    "resnet": (ResnetOptions(depth=8, width=8), (3, 16, 16), 200),
}


@dataclass
class Subject:
    """A network and its data, in one precision."""

    model: nn.Module
    x: Tensor
    y: Tensor
    extended: nn.Module | None = None  # BackPACK's copy, with its hooks

    def context(self) -> MeasureContext:
        """Return a fresh context, with nothing computed yet."""
        data = Dataset("gaussian", self.x, self.y, self.x[:1], self.y[:1], CLASSES, "")
        passes = len(self.y)
        return MeasureContext(self.model, data, LOSS, dtype=self.x.dtype, examples_per_pass=passes)

    def gradient(self, examples: int) -> None:
        """Compute one gradient of the loss, in passes of ``examples`` examples."""
        parameters = list(self.model.parameters())
        for x, y in zip(self.x.split(examples), self.y.split(examples), strict=True):
            torch.autograd.grad(F.cross_entropy(self.model(x), y, reduction="sum"), parameters)


def subject(name: str, dtype: torch.dtype, examples: int | None = None) -> Subject:
    """Build a network and train it briefly."""
    options, shape, usual = NETWORKS[name]
    examples = examples or usual
    generator = torch.Generator().manual_seed(0)
    y = torch.randint(0, CLASSES, (examples,), generator=generator)
    centers = torch.randn(CLASSES, *shape, generator=generator)
    x = 0.3 * centers[y] + torch.randn(examples, *shape, generator=generator)
    model = build_model(options, shape, CLASSES, seed=0)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9)
    for step in range(60):
        batch = slice(50 * step % examples, 50 * step % examples + 50)
        optimizer.zero_grad()
        F.cross_entropy(model(x[batch]), y[batch]).backward()
        optimizer.step()
    return Subject(model.to(dtype).eval(), x.to(dtype), y)


# The trace


def trace_here(s: Subject) -> float:
    """Compute the exact trace, including its proof."""
    return exact_trace(s.context()).total


def trace_backpack(s: Subject) -> float:
    """Sum BackPACK's exact diagonal of the Gauss-Newton matrix."""
    from backpack import backpack, extend
    from backpack.extensions import DiagGGNExact

    if s.extended is None:
        s.extended = extend(deepcopy(s.model))
    model, loss = s.extended, extend(nn.CrossEntropyLoss())
    with backpack(DiagGGNExact()):
        loss(model(s.x), s.y).backward()
    total = sum(p.diag_ggn_exact.sum().item() for p in model.parameters())
    for parameter in model.parameters():
        del parameter.diag_ggn_exact, parameter.grad
    return total


def trace_pyhessian(s: Subject, probes: int) -> float:
    """Estimate the trace by PyHessian from a fixed number of probes."""
    from pyhessian import hessian

    operator = hessian(s.model, nn.CrossEntropyLoss(), data=(s.x, s.y), cuda=False)
    return statistics.fmean(operator.trace(maxIter=probes, tol=0))


def trace_curvlinops(s: Subject, probes: int) -> float:
    """Estimate the trace by curvlinops' Hutchinson from a fixed number of probes."""
    from curvlinops import hutchinson_trace

    return hutchinson_trace(_curvlinops(s), num_matvecs=probes).item()


def _curvlinops(s: Subject) -> Any:
    from curvlinops import HessianLinearOperator

    return HessianLinearOperator(
        s.model,
        nn.CrossEntropyLoss(),
        [p for p in s.model.parameters() if p.requires_grad],
        [(s.x, s.y)],
        check_deterministic=False,
    )


# The top eigenvalue; each method has its own unit of effort


def top_here(s: Subject, iterations: int) -> float:
    """Run Lanczos as ``hessian_spectrum`` does."""
    context = s.context()
    options = HessianSpectrumOptions(
        name="hessian_spectrum", top=1, smallest=False, iterations=iterations, tolerance=1e-12
    )
    found = extreme_eigenvalues(context, options)
    return found.values[0].item()


def top_pyhessian(s: Subject, iterations: int) -> float:
    """Run PyHessian's power iteration."""
    from pyhessian import hessian

    torch.manual_seed(0)
    operator = hessian(s.model, nn.CrossEntropyLoss(), data=(s.x, s.y), cuda=False)
    return operator.eigenvalues(maxIter=iterations, tol=0)[0][0]


def top_curvlinops(s: Subject, subspace: int) -> float:
    """Run ARPACK on curvlinops' operator."""
    import numpy as np
    from scipy.sparse.linalg import eigsh

    operator = _curvlinops(s).to_scipy()
    start = np.random.default_rng(0).standard_normal(operator.shape[0])
    options = {"which": "LA", "ncv": subspace, "tol": EIGENVALUE_ERROR, "v0": start}
    return float(eigsh(operator, k=1, return_eigenvectors=False, **options)[0])


TRACE_PEERS = {"pyhessian": trace_pyhessian, "curvlinops": trace_curvlinops}
TOP_PEERS = {"pyhessian": top_pyhessian, "curvlinops": top_curvlinops}
SINGLE_CALLS = {"here": trace_here, "backpack": trace_backpack}


# Measuring


def seconds(work: Callable[[], object]) -> float:
    """Return the seconds that ``work`` takes, and hide its output."""
    with contextlib.redirect_stdout(io.StringIO()):
        started = time.perf_counter()
        work()
        return time.perf_counter() - started


def duel(
    one: Callable[[], object], other: Callable[[], object], rounds: int
) -> tuple[float, float, float]:
    """Run both alternately, warmed up; return their median seconds and median ratio."""
    pairs = [(seconds(one), seconds(other)) for _ in range(rounds + 1)][1:]
    first, second = (statistics.median(column) for column in zip(*pairs, strict=True))
    return first, second, statistics.median(a / b for a, b in pairs)


def cheapest(top: Callable[[Subject, int], float], s: Subject, truth: float) -> int | None:
    """Return the least effort that reaches ``EIGENVALUE_ERROR``, or None if none tried does."""
    for effort in (3, 4, 5, 6, 7, 8, 10, 12, 14, 17, 20, 25, 30, 40, 60, 100):
        with contextlib.redirect_stdout(io.StringIO()):
            if abs(top(s, effort) / truth - 1) <= EIGENVALUE_ERROR:
                return effort
    return None


def first_calls(name: str, dtype: str, peer: str) -> float:
    """Return the seconds of the first call in a new process, after imports and training."""
    command = [sys.executable, __file__, "--first", peer, "--network", name, "--dtype", dtype]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(run.stdout.split()[-1])


def installed(peer: str) -> bool:
    """Return whether a package is installed."""
    return importlib.util.find_spec(peer) is not None


def report(name: str, dtype_name: str, rounds: int) -> None:
    """Print all results for one network."""
    s = subject(name, getattr(torch, dtype_name))
    parameters = sum(p.numel() for p in s.model.parameters())
    print(f"\n{name}: {parameters} parameters, {len(s.y)} examples, {dtype_name}")

    passes = min((len(s.y), 50), key=lambda size: min(time_of(lambda: s.gradient(size), 3)))
    exact, gradient, ratio = duel(lambda: trace_here(s), lambda: s.gradient(passes), rounds)
    print(f"  gradient, in passes of {passes:4}      {gradient:8.3f} s")
    print(f"  exact trace, including proof    {exact:8.3f} s = {ratio:.1f} gradients")

    context = s.context()
    trace = exact_trace(context).total
    estimate = hutchinson(context.hessian, context.probe, probes=PROBES)
    deviation = estimate.standard_error * PROBES**0.5 / trace
    needed = (deviation / 0.01) ** 2
    print(
        f"  trace {trace:.6g}; {PROBES} probes: {estimate.value:.4g} ± "
        f"{estimate.standard_error:.2g}, {100 * deviation:.0f} % per probe"
    )

    def probe_here() -> None:
        context.hessian @ context.probe(0)

    _, probe, inverse = duel(lambda: trace_here(s), probe_here, rounds)
    extrapolated("Hutchinson here", needed, probe, 1 / inverse)
    for peer, estimator in TRACE_PEERS.items():
        if not installed(peer):
            print(f"  {peer} is not installed: skipped")
            continue

        def probes(estimator: Callable[[Subject, int], float] = estimator) -> None:
            estimator(s, 8)

        _, eight, inverse = duel(lambda: trace_here(s), probes, rounds)
        extrapolated(peer, needed, eight / 8, 1 / inverse / 8)

    against_backpack(s, name, dtype_name, rounds, trace)
    against_top_eigenvalues(s, rounds)


def time_of(work: Callable[[], object], rounds: int) -> Iterable[float]:
    """Return the seconds of ``rounds`` calls."""
    return [seconds(work) for _ in range(rounds)]


def extrapolated(who: str, needed: float, probe: float, ratio: float) -> None:
    """Print the cost of a standard error of 1 %, extrapolated from one probe."""
    print(
        f"  {who + ',':18} 1 % (extrapolated) {probe * needed:8.1f} s = {needed:.0f} probes "
        f"of {probe:.4f} s: exact is {needed * ratio:.0f} × faster"
    )


def against_backpack(s: Subject, name: str, dtype: str, rounds: int, trace: float) -> None:
    """Compare the exact trace with BackPACK's, which is also exact."""
    if not installed("backpack"):
        print("  backpack is not installed: skipped")
        return
    try:
        other = trace_backpack(s)
    except Exception as error:  # BackPACK refuses networks with various exceptions
        print(f"  backpack refuses: {str(error).splitlines()[0][:90]}")
        return
    _, there, ratio = duel(lambda: trace_here(s), lambda: trace_backpack(s), rounds)
    print(
        f"  backpack DiagGGNExact, warm     {there:8.3f} s (differs by {other / trace - 1:.0e}): "
        f"exact takes {ratio:.2f} of it"
    )
    firsts = {
        peer: statistics.median(first_calls(name, dtype, peer) for _ in range(3))
        for peer in SINGLE_CALLS
    }
    print(
        f"  first call in a process: here {firsts['here']:.2f} s, backpack "
        f"{firsts['backpack']:.2f} s: {firsts['here'] / firsts['backpack']:.2f} of it"
    )


def against_top_eigenvalues(s: Subject, rounds: int) -> None:
    """Compare top eigenvalues, each method at the least effort that reaches the same error."""
    truth = top_here(s, 150)
    effort = cheapest(top_here, s, truth)
    if effort is None:
        print("  the top eigenvalue was not found here with any effort tried")
        return
    print(f"  top eigenvalue {truth:.6g} to {EIGENVALUE_ERROR:g}: {effort} products here")
    for peer, top in TOP_PEERS.items():
        if not installed(peer):
            continue
        theirs = cheapest(top, s, truth)
        if theirs is None:
            print(f"  {peer} does not find it with any effort tried")
            continue
        work = (lambda: top_here(s, effort)), (lambda top=top, e=theirs: top(s, e))
        here, there, ratio = duel(*work, rounds)
        print(
            f"  {peer + ',':18} effort {theirs:3}:     {there:8.3f} s, here {here:.3f} s: "
            f"{ratio:.2f} of it"
        )


def main() -> None:
    """Measure and print the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--dtype", choices=["float32", "float64"], default="float64")
    parser.add_argument("--network", choices=NETWORKS, action="append")
    parser.add_argument("--first", choices=SINGLE_CALLS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")  # those of the peers
    networks = arguments.network or list(NETWORKS)
    if arguments.first:
        s = subject(networks[0], getattr(torch, arguments.dtype))
        if arguments.first == "backpack":
            import backpack.extensions  # noqa: F401
        print(seconds(lambda: SINGLE_CALLS[arguments.first](s)))
        return
    print(f"torch {torch.__version__}, one thread, medians of {arguments.rounds} rounds")
    for name in networks:
        report(name, arguments.dtype, arguments.rounds)


if __name__ == "__main__":
    main()
