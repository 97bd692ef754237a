"""What follows: estimates with intervals, and verdicts on claims."""

from __future__ import annotations

from orchestrator.statistics.bootstrap import Groups as Groups
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
from orchestrator.statistics.comparison import Comparison as Comparison
from orchestrator.statistics.comparison import compare_granulated as compare_granulated
from orchestrator.statistics.comparison import compare_predictors as compare_predictors
from orchestrator.statistics.correlation import partial_pearson as partial_pearson
from orchestrator.statistics.correlation import pearson as pearson
from orchestrator.statistics.correlation import within_pearson as within_pearson
from orchestrator.statistics.design import Design as Design
from orchestrator.statistics.estimate import Estimate as Estimate
from orchestrator.statistics.factor_share import factor_share as factor_share
from orchestrator.statistics.granulated import GranulatedKendall as GranulatedKendall
from orchestrator.statistics.granulated import granulated_kendall as granulated_kendall
from orchestrator.statistics.granulated import within_kendall as within_kendall
from orchestrator.statistics.grid import Grid as Grid
from orchestrator.statistics.intervention_effects import (
    InterventionEffects as InterventionEffects,
)
from orchestrator.statistics.intervention_effects import (
    intervention_effects as intervention_effects,
)
from orchestrator.statistics.interventions import Interventions as Interventions
from orchestrator.statistics.interventions import compare_interventions as compare_interventions
from orchestrator.statistics.matched import at_matched_stages as at_matched_stages
from orchestrator.statistics.matched import at_matched_times as at_matched_times
from orchestrator.statistics.mean import mean as mean
from orchestrator.statistics.median import median as median
from orchestrator.statistics.multiplicity import benjamini_hochberg as benjamini_hochberg
from orchestrator.statistics.multiplicity import holm as holm
from orchestrator.statistics.mutual_information import (
    ConditionalInformation as ConditionalInformation,
)
from orchestrator.statistics.mutual_information import (
    conditional_information as conditional_information,
)
from orchestrator.statistics.noise_ceiling import NoiseCeiling as NoiseCeiling
from orchestrator.statistics.noise_ceiling import attenuation as attenuation
from orchestrator.statistics.noise_ceiling import disattenuated as disattenuated
from orchestrator.statistics.noise_ceiling import measure_reliability as measure_reliability
from orchestrator.statistics.noise_ceiling import noise_ceiling as noise_ceiling
from orchestrator.statistics.partial import PartialCorrelation as PartialCorrelation
from orchestrator.statistics.partial import partial_correlation as partial_correlation
from orchestrator.statistics.ranking import kendall as kendall
from orchestrator.statistics.ranking import spearman as spearman
from orchestrator.statistics.resampling import Resampling as Resampling
from orchestrator.statistics.sign_error import SignError as SignError
from orchestrator.statistics.sign_error import sign_error as sign_error
from orchestrator.statistics.stratified import stratified_correlation as stratified_correlation
