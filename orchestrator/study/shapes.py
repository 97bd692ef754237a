"""Shapes of trials; trials of one shape cost the same and fail alike."""

from __future__ import annotations

import json

from orchestrator.study.spec import TrialConfig


def training_shape(config: TrialConfig) -> str:
    """Return the settings that determine the cost of an update, as text.

    Learning rates, seeds and stopping rules are not included.
    """
    training = config.training
    return _text(config, training.batch_size, training.optimizer.name, training.augmentation)


def measuring_shape(config: TrialConfig) -> str:
    """Return the settings that determine the cost of measuring a snapshot, as text."""
    return _text(config, config.training.loss.name)


def _text(config: TrialConfig, *more: object) -> str:
    network = [config.data.model_dump(), config.model.model_dump()]
    return json.dumps([*network, *more], default=str)
