"""What is measured: margins, flatness, sharpness and norms of a network.

In a notebook, without a study::

    from orchestrator.measures import MeasureContext, catalog, measure_snapshot

    context = MeasureContext(model, dataset, loss)
    rows = list(measure_snapshot(context, study.requests))
"""

from orchestrator.measures.audit import Audited, AuditRow, audit
from orchestrator.measures.average_sharpness import AverageSharpness
from orchestrator.measures.base import CatalogEntry, Direction, Measure, Value
from orchestrator.measures.build import build_measure
from orchestrator.measures.catalog import catalog
from orchestrator.measures.context import MeasureContext, PerExampleLoss
from orchestrator.measures.exact_trace import ExactTrace, exact_trace
from orchestrator.measures.fisher import Fisher
from orchestrator.measures.fisher_rao import FisherRaoNorm
from orchestrator.measures.gradient import GradientNorm
from orchestrator.measures.hessian_frobenius import HessianFrobeniusNorm
from orchestrator.measures.hessian_spectrum import HessianSpectrum
from orchestrator.measures.hessian_trace import HessianTrace
from orchestrator.measures.margins import Margin, margins
from orchestrator.measures.norms import Norms
from orchestrator.measures.path_norm import PathNorm
from orchestrator.measures.piecewise_linear import Proof, prove_piecewise_linear
from orchestrator.measures.runner import measure_snapshot
from orchestrator.measures.sam_sharpness import SamSharpness
from orchestrator.measures.stable_rank import StableRank

__all__ = [  # noqa: RUF022 - grouped by subject
    # measuring a snapshot
    "MeasureContext",
    "measure_snapshot",
    "build_measure",
    "catalog",
    # how fragile a measure is
    "AuditRow",
    "Audited",
    "audit",
    # what a measure is
    "CatalogEntry",
    "Direction",
    "Measure",
    "PerExampleLoss",
    "Value",
    # margins
    "Margin",
    "margins",
    # flatness and sharpness
    "AverageSharpness",
    "Fisher",
    "GradientNorm",
    "HessianFrobeniusNorm",
    "HessianSpectrum",
    "HessianTrace",
    "SamSharpness",
    # the exact trace and its proof
    "ExactTrace",
    "Proof",
    "exact_trace",
    "prove_piecewise_linear",
    # norms
    "FisherRaoNorm",
    "Norms",
    "PathNorm",
    "StableRank",
]
