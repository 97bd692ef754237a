"""Construction of losses from the options of a study file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.registry import builder_of, import_files
from orchestrator.study.options import CustomOptions
from orchestrator.training.losses.base import Loss
from orchestrator.training.losses.custom_loss import build_custom_loss

if TYPE_CHECKING:
    from orchestrator.study.training_options import LossOptions

import_files(__package__)


def build_loss(options: LossOptions) -> Loss:
    """Build the loss selected in the ``training.loss`` part of a study file.

    Raises:
        ImportPathError: If the user's own loss cannot be imported.
        UserError: If the user's own loss is a module class that cannot be called with its
            arguments.
    """
    if isinstance(options, CustomOptions):
        return build_custom_loss(options)
    loss: Loss = builder_of(options)(options)
    return loss
