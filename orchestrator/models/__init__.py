"""What learns: networks built from the options of a study file."""

from orchestrator.models.build import build_model, parameter_count

__all__ = ["build_model", "parameter_count"]
