"""What is measured: margins, flatness, sharpness, norms and robustness of a network.

In a notebook, without a study::

    import orchestrator

    table = orchestrator.measure_model(model, train, test, ["margin", "hessian_trace"])

What holds for all measures:

- **Direction.** A value is the quantity itself, never with its sign turned. Whether higher or lower
  means larger margins, flatter minima or less complexity is said in ``measure_catalog.direction``
  and nowhere else; ``measure_catalog.invariances`` says what it does not notice.
- **Loss** is the mean over all measured examples, each with the same weight, however they are
  divided into passes of ``examples_per_pass``; errors are shares in [0, 1].
- **Batch normalization** is in eval mode, with the running statistics of training; every row says
  so in ``batch_norm_mode``. Only ``linear_connectivity`` finds the statistics anew.
- **Precision** is float64 unless a study asks for float32; margins, norms and spectra are summed
  up and decomposed in float64 in any case. Every row says in which precision passes were made.
- **Examples** are all of a split, or a stratified subset that is the same for every network of
  the data set; ``n_examples`` says how many.
- **Random numbers** come from one stream for each purpose (``random_streams``). Probes, noise and
  starts of attacks are the same for every snapshot of every trial, so that differences are not
  theirs, and no measure changes those of another. ``MeasureContext.seed`` is the probes' seed and
  ``generator`` draws from it; ``trial_seed`` is the trial's and ``trial_generator`` draws from it.
- **Errors.** A stochastic value has a standard error. With the default options the interval of
  1.96 of them to either side covers the exact value in 92 to 98 % of simulated cases, unless the
  measure's docstring says otherwise. With few draws the error is larger than the standard
  deviation of the mean by the ratio of Student's quantile and 1.96 (``stated_error``).
- **Non-finite** values are rows with the status ``nonfinite`` and a reason; infinite distances are
  counted and enter quantiles, never means.
"""

from orchestrator.measures.audit import CHANGES, Audited, AuditRow, audit
from orchestrator.measures.base import CatalogEntry, Curve, Direction, Measure, Value
from orchestrator.measures.build import build_measure
from orchestrator.measures.catalog import catalog
from orchestrator.measures.context import MeasureContext
from orchestrator.measures.curvature.edge_of_stability import EdgeOfStability, stability_threshold
from orchestrator.measures.curvature.exact_trace import ExactTrace, exact_trace
from orchestrator.measures.curvature.fisher import (
    Fisher,
    empirical_fisher_trace,
    fisher_trace,
    gradient_noise,
)
from orchestrator.measures.curvature.fisher_rao import FisherRaoNorm
from orchestrator.measures.curvature.ggn_trace import (
    GgnTrace,
    exact_ggn_trace,
    sampled_ggn_trace,
)
from orchestrator.measures.curvature.gradient import GradientNorm
from orchestrator.measures.curvature.hessian_frobenius import HessianFrobeniusNorm
from orchestrator.measures.curvature.hessian_spectral_density import (
    HessianSpectralDensity,
    spectral_quadratures,
)
from orchestrator.measures.curvature.hessian_spectrum import HessianSpectrum
from orchestrator.measures.curvature.hessian_trace import HessianTrace
from orchestrator.measures.curvature.hutchinson import EstimatedTrace
from orchestrator.measures.curvature.lanczos_quadrature import (
    Quadrature,
    SmoothedDensity,
    lanczos_quadrature,
    smoothed_density,
)
from orchestrator.measures.curvature.piecewise_linear import Proof, prove_piecewise_linear
from orchestrator.measures.curvature.relative_flatness import (
    RelativeFlatness,
    estimated_relative_flatness,
    exact_relative_flatness,
)
from orchestrator.measures.curvature.trace_estimates import (
    controlled_trace,
    hutch_plus_plus_trace,
    hutchinson_trace,
)
from orchestrator.measures.curvature.weight_layers import WeightLayer, weight_layers
from orchestrator.measures.description_length import (
    DescriptionLength,
    prequential_description_length,
)
from orchestrator.measures.margins.calibration import best_temperature, calibration
from orchestrator.measures.margins.distribution import MarginDistribution
from orchestrator.measures.margins.hidden_margins import HiddenMargin, hidden_margins
from orchestrator.measures.margins.output_margins import Margin, margins, probability_margins
from orchestrator.measures.margins.population_minimum import (
    MarginPopulationMinimum,
    population_minimum,
)
from orchestrator.measures.norms.convolution_norms import (
    ConvolutionNorms,
    circular_norm,
    reshaped_norm,
)
from orchestrator.measures.norms.homogeneity import degree_of_homogeneity
from orchestrator.measures.norms.jiang_norms import JiangNorms, jiang_norms
from orchestrator.measures.norms.path_norm import PathNorm, path_norm
from orchestrator.measures.norms.spectral_complexity import (
    SpectralComplexity,
    spectral_complexity,
)
from orchestrator.measures.norms.stable_rank import StableRank, stable_ranks
from orchestrator.measures.norms.weight_norms import Norms
from orchestrator.measures.plain import measure_plain
from orchestrator.measures.precise_loss import PerExampleLoss
from orchestrator.measures.robustness.confidence import Confidence
from orchestrator.measures.robustness.deepfool import DeepfoolMargin, deepfool
from orchestrator.measures.robustness.input_margin import InputMargin, first_order_distances
from orchestrator.measures.robustness.inputs import Inputs, chosen_inputs
from orchestrator.measures.robustness.local_lipschitz import LocalLipschitz, local_lipschitz
from orchestrator.measures.robustness.pgd_margin import PgdMargin, pgd_distances
from orchestrator.measures.robustness.robust_accuracy import Robustness
from orchestrator.measures.robustness.separation import Separation, separation
from orchestrator.measures.robustness.singular_values import SingularValues
from orchestrator.measures.robustness.survival import Survival, kaplan_meier
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
from orchestrator.training.update_rule import UpdateRule

__all__ = [  # noqa: RUF022 - grouped by subject
    # measuring a snapshot
    "MeasureContext",
    "measure_plain",
    "measure_snapshot",
    "build_measure",
    "catalog",
    # how fragile a measure is
    "CHANGES",
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
    "HiddenMargin",
    "Margin",
    "MarginDistribution",
    "MarginPopulationMinimum",
    "best_temperature",
    "calibration",
    "hidden_margins",
    "margins",
    "population_minimum",
    "probability_margins",
    # distances of inputs to the boundary, and robustness
    "Confidence",
    "DeepfoolMargin",
    "InputMargin",
    "Inputs",
    "LocalLipschitz",
    "PgdMargin",
    "Robustness",
    "Separation",
    "SingularValues",
    "Survival",
    "chosen_inputs",
    "deepfool",
    "first_order_distances",
    "kaplan_meier",
    "local_lipschitz",
    "pgd_distances",
    "separation",
    # flatness and sharpness
    "AverageSharpness",
    "EdgeOfStability",
    "Fisher",
    "GgnTrace",
    "FlatnessProfile",
    "GradientNorm",
    "HessianFrobeniusNorm",
    "HessianSpectralDensity",
    "HessianSpectrum",
    "HessianTrace",
    "RelativeFlatness",
    "SamSharpness",
    "LossSlice",
    "KeskarSharpness",
    "LocalEntropy",
    "PacBayesSigma",
    "WorstCaseRadius",
    "WorstCaseSharpness",
    # the spectrum of the Hessian
    "Quadrature",
    "SmoothedDensity",
    "lanczos_quadrature",
    "smoothed_density",
    "spectral_quadratures",
    # training at the edge of stability
    "UpdateRule",
    "stability_threshold",
    # the trace, estimated
    "EstimatedTrace",
    "controlled_trace",
    "hutch_plus_plus_trace",
    "hutchinson_trace",
    # exact traces, of each parameter and each example too, and the proof that one needs
    "ExactTrace",
    "Proof",
    "empirical_fisher_trace",
    "exact_ggn_trace",
    "exact_trace",
    "fisher_trace",
    "gradient_noise",
    "prove_piecewise_linear",
    "sampled_ggn_trace",
    # relative flatness of layers
    "WeightLayer",
    "estimated_relative_flatness",
    "exact_relative_flatness",
    "weight_layers",
    # two networks
    "LinearConnectivity",
    "linear_connectivity",
    # a way of training
    "DescriptionLength",
    "prequential_description_length",
    # norms
    "ConvolutionNorms",
    "JiangNorms",
    "SpectralComplexity",
    "circular_norm",
    "degree_of_homogeneity",
    "jiang_norms",
    "reshaped_norm",
    "path_norm",
    "spectral_complexity",
    "stable_ranks",
    "FisherRaoNorm",
    "Norms",
    "PathNorm",
    "StableRank",
]
