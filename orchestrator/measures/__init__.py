"""Measures: margins, flatness, sharpness, norms and robustness of a network.

In a notebook, without a study::

    import orchestrator

    table = orchestrator.measure_model(model, train, test, ["margin", "hessian_trace"])

Conventions shared by all measures:

- **Direction.** A value is the quantity itself; its sign is never flipped. Only
  ``measure_catalog.direction`` records whether higher or lower values mean larger margins, flatter
  minima or less complexity. ``measure_catalog.invariances`` lists changes that leave it unchanged.
- **Loss** is the mean over all measured examples, equally weighted and independent of how they are
  split into passes of ``examples_per_pass``. Errors are fractions in [0, 1].
- **Batch normalization** is in eval mode with the running statistics of training, as recorded in
  ``batch_norm_mode`` of every row. Only ``linear_connectivity`` recomputes the statistics.
- **Precision** is float64 unless a study sets float32. Margins, norms and spectra are always
  accumulated and decomposed in float64. Every row records the precision of its passes.
- **Examples** are all of a split, or a stratified subset that is the same for every network of
  the data set; ``n_examples`` is their number.
- **Random numbers** come from one stream per purpose (``random_streams``), so measures never
  affect each other's random numbers. Probes, noise and attack starts are the same for every
  snapshot of every trial and therefore cause no differences between snapshots.
  ``MeasureContext.seed`` seeds the probes and ``generator``; ``trial_seed`` is the trial's seed
  and seeds ``trial_generator``.
- **Errors.** A stochastic value has a standard error. With the default options, the interval of
  ±1.96 standard errors covers the exact value in 92 to 98 % of simulated cases, unless the
  measure's docstring states otherwise. With few draws the error exceeds the standard deviation of
  the mean by the ratio of Student's quantile to 1.96 (``stated_error``).
- **Non-finite** values are rows with status ``nonfinite`` and a reason. Infinite distances are
  counted and enter quantiles but never means.
"""

from orchestrator.measures.audit import CHANGES as CHANGES
from orchestrator.measures.audit import Audited as Audited
from orchestrator.measures.audit import AuditRow as AuditRow
from orchestrator.measures.audit import audit as audit
from orchestrator.measures.base import CatalogEntry as CatalogEntry
from orchestrator.measures.base import Curve as Curve
from orchestrator.measures.base import Direction as Direction
from orchestrator.measures.base import Measure as Measure
from orchestrator.measures.base import Value as Value
from orchestrator.measures.build import build_measure as build_measure
from orchestrator.measures.build import catalog as catalog
from orchestrator.measures.context import MeasureContext as MeasureContext
from orchestrator.measures.curvature.edge_of_stability import (
    stability_threshold as stability_threshold,
)
from orchestrator.measures.curvature.exact_trace import ExactTrace as ExactTrace
from orchestrator.measures.curvature.exact_trace import exact_trace as exact_trace
from orchestrator.measures.curvature.fisher import empirical_fisher_trace as empirical_fisher_trace
from orchestrator.measures.curvature.fisher import fisher_trace as fisher_trace
from orchestrator.measures.curvature.fisher import gradient_noise as gradient_noise
from orchestrator.measures.curvature.ggn_trace import exact_ggn_trace as exact_ggn_trace
from orchestrator.measures.curvature.ggn_trace import sampled_ggn_trace as sampled_ggn_trace
from orchestrator.measures.curvature.hessian_spectral_density import (
    spectral_quadratures as spectral_quadratures,
)
from orchestrator.measures.curvature.hutchinson import EstimatedTrace as EstimatedTrace
from orchestrator.measures.curvature.lanczos_quadrature import Quadrature as Quadrature
from orchestrator.measures.curvature.lanczos_quadrature import SmoothedDensity as SmoothedDensity
from orchestrator.measures.curvature.lanczos_quadrature import (
    lanczos_quadrature as lanczos_quadrature,
)
from orchestrator.measures.curvature.lanczos_quadrature import smoothed_density as smoothed_density
from orchestrator.measures.curvature.piecewise_linear import Proof as Proof
from orchestrator.measures.curvature.piecewise_linear import (
    prove_piecewise_linear as prove_piecewise_linear,
)
from orchestrator.measures.curvature.relative_flatness import (
    estimated_relative_flatness as estimated_relative_flatness,
)
from orchestrator.measures.curvature.relative_flatness import (
    exact_relative_flatness as exact_relative_flatness,
)
from orchestrator.measures.curvature.trace_estimates import controlled_trace as controlled_trace
from orchestrator.measures.curvature.trace_estimates import (
    hutch_plus_plus_trace as hutch_plus_plus_trace,
)
from orchestrator.measures.curvature.trace_estimates import hutchinson_trace as hutchinson_trace
from orchestrator.measures.curvature.weight_layers import WeightLayer as WeightLayer
from orchestrator.measures.curvature.weight_layers import weight_layers as weight_layers
from orchestrator.measures.description_length import DescriptionLength as DescriptionLength
from orchestrator.measures.description_length import (
    prequential_description_length as prequential_description_length,
)
from orchestrator.measures.margins.calibration import best_temperature as best_temperature
from orchestrator.measures.margins.calibration import calibration as calibration
from orchestrator.measures.margins.hidden_margins import hidden_margins as hidden_margins
from orchestrator.measures.margins.output_margins import margins as margins
from orchestrator.measures.margins.output_margins import probability_margins as probability_margins
from orchestrator.measures.margins.population_minimum import (
    population_minimum as population_minimum,
)
from orchestrator.measures.norms.convolution_norms import circular_norm as circular_norm
from orchestrator.measures.norms.convolution_norms import reshaped_norm as reshaped_norm
from orchestrator.measures.norms.homogeneity import degree_of_homogeneity as degree_of_homogeneity
from orchestrator.measures.norms.jiang_norms import jiang_norms as jiang_norms
from orchestrator.measures.norms.path_norm import path_norm as path_norm
from orchestrator.measures.norms.spectral_complexity import (
    spectral_complexity as spectral_complexity,
)
from orchestrator.measures.norms.stable_rank import stable_ranks as stable_ranks
from orchestrator.measures.plain import measure_plain as measure_plain
from orchestrator.measures.precise_loss import PerExampleLoss as PerExampleLoss
from orchestrator.measures.robustness.deepfool import deepfool as deepfool
from orchestrator.measures.robustness.input_margin import (
    first_order_distances as first_order_distances,
)
from orchestrator.measures.robustness.inputs import Inputs as Inputs
from orchestrator.measures.robustness.inputs import chosen_inputs as chosen_inputs
from orchestrator.measures.robustness.local_lipschitz import local_lipschitz as local_lipschitz
from orchestrator.measures.robustness.pgd_margin import pgd_distances as pgd_distances
from orchestrator.measures.robustness.separation import separation as separation
from orchestrator.measures.robustness.survival import Survival as Survival
from orchestrator.measures.robustness.survival import kaplan_meier as kaplan_meier
from orchestrator.measures.runner import measure_snapshot as measure_snapshot
from orchestrator.measures.sharpness.linear_connectivity import (
    LinearConnectivity as LinearConnectivity,
)
from orchestrator.measures.sharpness.linear_connectivity import (
    linear_connectivity as linear_connectivity,
)
from orchestrator.training.update_rule import UpdateRule as UpdateRule
