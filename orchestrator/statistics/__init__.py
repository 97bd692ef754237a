"""Statistics: estimates with intervals, and verdicts on claims."""

from __future__ import annotations

from orchestrator.statistics.association.correlation import partial_pearson as partial_pearson
from orchestrator.statistics.association.correlation import pearson as pearson
from orchestrator.statistics.association.correlation import within_pearson as within_pearson
from orchestrator.statistics.association.partial import PartialCorrelation as PartialCorrelation
from orchestrator.statistics.association.partial import partial_correlation as partial_correlation
from orchestrator.statistics.association.ranking import kendall as kendall
from orchestrator.statistics.association.ranking import spearman as spearman
from orchestrator.statistics.association.stratified import (
    stratified_correlation as stratified_correlation,
)
from orchestrator.statistics.claim import Claim as Claim
from orchestrator.statistics.claim import Verdict as Verdict
from orchestrator.statistics.claims import (
    flatness_depends_on_parametrization as flatness_depends_on_parametrization,
)
from orchestrator.statistics.claims import (
    flatness_is_an_epiphenomenon as flatness_is_an_epiphenomenon,
)
from orchestrator.statistics.claims import flatness_tracks_margin as flatness_tracks_margin
from orchestrator.statistics.claims import large_batch_needs_time as large_batch_needs_time
from orchestrator.statistics.claims import margin_is_cheaper as margin_is_cheaper
from orchestrator.statistics.claims import (
    margin_predicts_gap_at_least_as_well as margin_predicts_gap_at_least_as_well,
)
from orchestrator.statistics.grid.factor_share import factor_share as factor_share
from orchestrator.statistics.grid.granulated import GranulatedKendall as GranulatedKendall
from orchestrator.statistics.grid.granulated import granulated_kendall as granulated_kendall
from orchestrator.statistics.grid.granulated import within_kendall as within_kendall
from orchestrator.statistics.grid.hyperparameter_grid import Grid as Grid
from orchestrator.statistics.grid.intervention_effects import (
    InterventionEffects as InterventionEffects,
)
from orchestrator.statistics.grid.intervention_effects import (
    intervention_effects as intervention_effects,
)
from orchestrator.statistics.grid.interventions import Interventions as Interventions
from orchestrator.statistics.grid.interventions import (
    compare_interventions as compare_interventions,
)
from orchestrator.statistics.grid.mutual_information import (
    ConditionalInformation as ConditionalInformation,
)
from orchestrator.statistics.grid.mutual_information import (
    conditional_information as conditional_information,
)
from orchestrator.statistics.grid.noise_ceiling import NoiseCeiling as NoiseCeiling
from orchestrator.statistics.grid.noise_ceiling import attenuation as attenuation
from orchestrator.statistics.grid.noise_ceiling import disattenuated as disattenuated
from orchestrator.statistics.grid.noise_ceiling import measure_reliability as measure_reliability
from orchestrator.statistics.grid.noise_ceiling import noise_ceiling as noise_ceiling
from orchestrator.statistics.grid.predictor_comparison import Comparison as Comparison
from orchestrator.statistics.grid.predictor_comparison import (
    compare_granulated as compare_granulated,
)
from orchestrator.statistics.grid.predictor_comparison import (
    compare_predictors as compare_predictors,
)
from orchestrator.statistics.grid.sign_error import SignError as SignError
from orchestrator.statistics.grid.sign_error import sign_error as sign_error
from orchestrator.statistics.intervals.bootstrap import Groups as Groups
from orchestrator.statistics.intervals.estimate import Estimate as Estimate
from orchestrator.statistics.intervals.mean import mean as mean
from orchestrator.statistics.intervals.median import median as median
from orchestrator.statistics.intervals.multiplicity import benjamini_hochberg as benjamini_hochberg
from orchestrator.statistics.intervals.multiplicity import holm as holm
from orchestrator.statistics.intervals.resampling import Resampling as Resampling
from orchestrator.statistics.matched.stages import at_matched_stages as at_matched_stages
from orchestrator.statistics.matched.stages import at_matched_times as at_matched_times
from orchestrator.statistics.study_design import Design as Design
