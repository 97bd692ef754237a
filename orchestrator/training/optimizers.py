"""Construction of optimizers from the options of a study file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn

from orchestrator.study.training_options import (
    AdamwOptions,
    AsamOptions,
    CustomOptimizer,
    SamOptions,
    SgdOptions,
)
from orchestrator.training.custom_optimizer import UserOptimizer
from orchestrator.training.first_order import Adamw, Optimizer, Sgd
from orchestrator.training.flat_parameters import FlatParameters
from orchestrator.training.sharpness_aware import SharpnessAware

if TYPE_CHECKING:
    from orchestrator.study.training_options import OptimizerOptions


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
    parameters = FlatParameters(model)
    match options:
        case AdamwOptions():
            return Adamw(
                parameters,
                learning_rate,
                beta1=options.beta1,
                beta2=options.beta2,
                epsilon=options.epsilon,
                weight_decay=options.weight_decay,
            )
        case SgdOptions():
            return _sgd(options, parameters, learning_rate)
        case SamOptions(rho=rho):
            return SharpnessAware(_sgd(options, parameters, learning_rate), model, rho=rho)
        case AsamOptions(rho=rho, eta=eta):
            base = _sgd(options, parameters, learning_rate)
            return SharpnessAware(base, model, rho=rho, eta=eta)


def _sgd(
    options: SgdOptions | SamOptions | AsamOptions,
    parameters: FlatParameters,
    learning_rate: float,
) -> Sgd:
    return Sgd(
        parameters,
        learning_rate,
        momentum=options.momentum,
        nesterov=options.nesterov,
        weight_decay=options.weight_decay,
    )
