"""Learning-rate schedules, one per file."""

from orchestrator.training.schedules.build import last_update, learning_rate_factor

__all__ = ["last_update", "learning_rate_factor"]
