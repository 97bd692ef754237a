"""What is measured: margins, flatness, sharpness and norms of a network.

In a notebook, without a study::

    from orchestrator.measures import MeasureContext, catalog, measure_snapshot

    context = MeasureContext(model, dataset, loss)
    rows = list(measure_snapshot(context, study.requests))
"""

from orchestrator.measures.audit import Audited, AuditRow, audit
from orchestrator.measures.base import CatalogEntry, Curve, Direction, Measure, Value
from orchestrator.measures.build import build_measure
from orchestrator.measures.catalog import catalog
from orchestrator.measures.context import MeasureContext, PerExampleLoss
from orchestrator.measures.curvature.exact_trace import ExactTrace, exact_trace
from orchestrator.measures.curvature.fisher import Fisher
from orchestrator.measures.curvature.fisher_rao import FisherRaoNorm
from orchestrator.measures.curvature.gradient import GradientNorm
from orchestrator.measures.curvature.hessian_frobenius import HessianFrobeniusNorm
from orchestrator.measures.curvature.hessian_spectrum import HessianSpectrum
from orchestrator.measures.curvature.hessian_trace import HessianTrace
from orchestrator.measures.curvature.piecewise_linear import Proof, prove_piecewise_linear
from orchestrator.measures.margins.output_margins import Margin, margins
from orchestrator.measures.norms.path_norm import PathNorm
from orchestrator.measures.norms.stable_rank import StableRank
from orchestrator.measures.norms.weight_norms import Norms
from orchestrator.measures.runner import measure_snapshot
from orchestrator.measures.sharpness.average_sharpness import AverageSharpness
from orchestrator.measures.sharpness.flatness_profile import FlatnessProfile
from orchestrator.measures.sharpness.keskar_sharpness import KeskarSharpness
from orchestrator.measures.sharpness.linear_connectivity import (
    LinearConnectivity,
    linear_connectivity,
)
from orchestrator.measures.sharpness.local_entropy import LocalEntropy
from orchestrator.measures.sharpness.loss_slice import LossSlice
from orchestrator.measures.sharpness.pac_bayes_sigma import PacBayesSigma
from orchestrator.measures.sharpness.sam_sharpness import SamSharpness
from orchestrator.measures.sharpness.worst_case_radius import WorstCaseRadius
from orchestrator.measures.sharpness.worst_case_sharpness import WorstCaseSharpness

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
    "Curve",
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
    "FlatnessProfile",
    "GradientNorm",
    "HessianFrobeniusNorm",
    "HessianSpectrum",
    "HessianTrace",
    "KeskarSharpness",
    "LocalEntropy",
    "LossSlice",
    "PacBayesSigma",
    "SamSharpness",
    "WorstCaseRadius",
    "WorstCaseSharpness",
    # the exact trace and its proof
    "ExactTrace",
    "Proof",
    "exact_trace",
    "prove_piecewise_linear",
    # two networks
    "LinearConnectivity",
    "linear_connectivity",
    # norms
    "FisherRaoNorm",
    "Norms",
    "PathNorm",
    "StableRank",
]
