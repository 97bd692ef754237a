"""Construction of optimizers from the options of a study file."""

from __future__ import annotations

from torch import nn

from orchestrator.registry import builder_of, import_files
from orchestrator.study.training_options.optimizer_options import CustomOptimizer, OptimizerOptions
from orchestrator.training.optimizers.base import Optimizer
from orchestrator.training.optimizers.custom_optimizer import UserOptimizer

import_files(__package__)


def build_optimizer(options: OptimizerOptions, model: nn.Module, learning_rate: float) -> Optimizer:
    """Build the optimizer selected in the ``training.optimizer`` part of a study file.

    Args:
        options: Name and constants of the optimizer.
        model: The network, already on its device. Built-in optimizers make its parameters views
            of one flat tensor; the user's own optimizer gets them unchanged.
        learning_rate: Effective learning rate, after scaling with the batch size.

    Raises:
        ModelError: If the network has no trainable parameters.
        ImportPathError: If the user's own optimizer cannot be imported.
        UserError: If the user's own optimizer cannot be used.
    """
    if isinstance(options, CustomOptimizer):
        return UserOptimizer(options, model, learning_rate)
    optimizer: Optimizer = builder_of(options)(options, model, learning_rate)
    return optimizer
