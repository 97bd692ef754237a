"""The built-in claims, one per file: functions from arrays to a verdict with its reasons.

The claims are those of Lengyel, Jennings, Parpas and Kantas, "On Flat Minima, Large Margins and
Generalizability". A claim *holds* if its whole interval lies where claimed, *fails* if the whole
interval lies elsewhere, and is *unclear* otherwise.
"""

from __future__ import annotations

from orchestrator.statistics.claims.cheaper import margin_is_cheaper as margin_is_cheaper
from orchestrator.statistics.claims.epiphenomenon import (
    flatness_is_an_epiphenomenon as flatness_is_an_epiphenomenon,
)
from orchestrator.statistics.claims.gap import (
    margin_predicts_gap_at_least_as_well as margin_predicts_gap_at_least_as_well,
)
from orchestrator.statistics.claims.large_batch import (
    large_batch_needs_time as large_batch_needs_time,
)
from orchestrator.statistics.claims.parametrization import (
    flatness_depends_on_parametrization as flatness_depends_on_parametrization,
)
from orchestrator.statistics.claims.tracking import (
    TRAIN_ERROR_THRESHOLD as TRAIN_ERROR_THRESHOLD,
)
from orchestrator.statistics.claims.tracking import flatness_tracks_margin as flatness_tracks_margin
