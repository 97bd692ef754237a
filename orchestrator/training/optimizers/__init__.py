"""Optimizers, one per file."""

from orchestrator.training.optimizers.build import build_optimizer

__all__ = ["build_optimizer"]
