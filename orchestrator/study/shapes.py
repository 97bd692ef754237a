"""What trials have in common that cost the same and fail alike."""

from __future__ import annotations

import json

from orchestrator.study.spec import TrialConfig


def training_shape(config: TrialConfig) -> str:
    """What decides the cost of an update: not rates, seeds or stopping rules."""
    training = config.training
    return _text(config, training.batch_size, training.optimizer.name, training.augmentation)


def measuring_shape(config: TrialConfig) -> str:
    """What decides the cost of measuring a snapshot."""
    return _text(config, config.training.loss.name)


def _text(config: TrialConfig, *more: object) -> str:
    network = [config.data.model_dump(), config.model.model_dump()]
    return json.dumps([*network, *more], default=str)
