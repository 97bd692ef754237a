"""Training losses, one per file."""

from orchestrator.training.losses.base import Loss, LossFunction
from orchestrator.training.losses.build import build_loss
from orchestrator.training.losses.custom_loss import loss_of_module

__all__ = ["Loss", "LossFunction", "build_loss", "loss_of_module"]
