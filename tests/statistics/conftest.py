"""Simulated studies: conditions × seeds × snapshots, with the dependence of real ones."""

import numpy as np
import pytest

from orchestrator.statistics.intervals.bootstrap import Groups

SHIFTS = np.array([0.0, 0.5, 1.0, 1.5])
SNAPSHOTS = np.linspace(0, 1.5, 8)


class Clustered:
    """Two correlated measures: effects of condition and trial, and noise."""

    def __init__(self, seeds, generator):
        trial = generator.normal(size=(len(SHIFTS), seeds)) * 0.5
        other = -0.6 * trial + generator.normal(size=trial.shape) * 0.4
        shape = (*trial.shape, len(SNAPSHOTS))
        along = SHIFTS[:, None, None] + SNAPSHOTS
        self.x = (along + trial[..., None] + generator.normal(size=shape) * 0.1).ravel()
        self.y = (-along / 2 + other[..., None] + generator.normal(size=shape) * 0.1).ravel()
        numbers = np.arange(trial.size).reshape(trial.shape)
        self.trial = np.broadcast_to(numbers[..., None], shape).ravel().tolist()
        self.condition = [number // seeds for number in self.trial]

    @property
    def groups(self):
        return Groups.of(self.trial, self.condition)


@pytest.fixture
def clustered():
    return Clustered
