"""Networks built from the options of a study file."""

from orchestrator.models.build import build_model, parameter_count
from orchestrator.models.wrappers import named_as

__all__ = ["build_model", "named_as", "parameter_count"]
