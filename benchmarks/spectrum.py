"""Compare eigenvalues, trace and spectral density computed together here with curvlinops.

    python benchmarks/spectrum.py [--rounds 3] [--network mlp]

Here, ``hessian_spectrum`` (the five largest eigenvalues and the smallest), ``hessian_trace`` and
``hessian_spectral_density`` run in one context. They share the graph of the gradient and a Krylov
space, and the trace is exact where that is proven. curvlinops (the extra ``peers``) computes them
one after the other over one operator: ARPACK for the five largest eigenvalues and for the smallest,
Hutchinson's estimate of the trace, and Lanczos quadrature with as many probes and iterations.
Networks, data and timing are those of ``curvature.py``, with fewer examples, since a round with all
of them takes minutes.
"""

from __future__ import annotations

import argparse
import warnings
from functools import partial

import torch
from curvature import NETWORKS, Subject, _curvlinops, duel, installed, subject

from orchestrator.measures import measure_snapshot
from orchestrator.study.measure_options import MeasureOptions
from orchestrator.study.measure_options.curvature import (
    HessianSpectralDensityOptions,
    HessianSpectrumOptions,
    HessianTraceOptions,
)

EXAMPLES = {"mlp": 500, "cnn": 50, "resnet": 100}
TOP = 5
TOLERANCE = 1e-3
PROBES, ITERATIONS = 4, 32
TRACE_PROBES, PROBES_AT_ONCE = 64, 8
REQUESTS: dict[str, MeasureOptions] = {
    "hessian_spectrum": HessianSpectrumOptions(
        name="hessian_spectrum", top=TOP, tolerance=TOLERANCE
    ),
    "hessian_trace": HessianTraceOptions(name="hessian_trace"),
    "hessian_spectral_density": HessianSpectralDensityOptions(
        name="hessian_spectral_density", probes=PROBES, iterations=ITERATIONS
    ),
}


def here(s: Subject) -> None:
    """Compute all three as a study does."""
    rows = list(measure_snapshot(s.context(), REQUESTS))
    if failed := [row["error"] for row in rows if row["status"] == "error"]:
        raise RuntimeError(failed[0])


def by_curvlinops(s: Subject) -> None:
    """Compute all three by curvlinops, one after the other."""
    from curvlinops import hutchinson_trace, lanczos_approximate_spectrum
    from scipy.sparse.linalg import eigsh

    operator = _curvlinops(s)
    for count, which in ((TOP, "LA"), (1, "SA")):
        eigsh(operator.to_scipy(), k=count, which=which, tol=TOLERANCE, return_eigenvectors=False)
    # One call differentiates all its probes together and needs memory for each.
    for _ in range(TRACE_PROBES // PROBES_AT_ONCE):
        hutchinson_trace(operator, num_matvecs=PROBES_AT_ONCE)
    lanczos_approximate_spectrum(operator, ncv=ITERATIONS, num_repeats=PROBES)


def main() -> None:
    """Measure and print the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--dtype", choices=["float32", "float64"], default="float64")
    parser.add_argument("--network", choices=NETWORKS, action="append")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")  # those of the peers
    if not installed("curvlinops"):
        parser.exit(1, "curvlinops is not installed: see the extra peers in pyproject.toml\n")
    print(f"torch {torch.__version__}, one thread, medians of {arguments.rounds} rounds")
    for name in arguments.network or list(NETWORKS):
        s = subject(name, getattr(torch, arguments.dtype), EXAMPLES[name])
        theirs, ours, ratio = duel(partial(by_curvlinops, s), partial(here, s), arguments.rounds)
        print(f"{name:8} here {ours:7.2f} s, curvlinops {theirs:7.2f} s: {ratio:.1f} × faster here")


if __name__ == "__main__":
    main()
