"""Training on a GPU, where there is one; what needs none is in ``test_devices``."""

import pytest

from tests.gpu import needs_gpu
from tests.training.cases import (
    IMAGES,
    assert_same_events,
    blobs,
    configuration,
    epochs_of,
    of_every_kind,
    run,
)
from tests.training.test_resume_state import CASES, CHECKPOINTS, interrupted

pytestmark = needs_gpu


@of_every_kind
def test_one_seed_is_one_result(model, training):
    dataset = blobs(shape=(2, 6, 6)) if model == IMAGES else blobs()
    config = configuration(model, **training)
    first, second = (run(config, dataset, device="cuda", train_loss=[0.5]) for _ in range(2))
    assert_same_events(first, second)


@pytest.mark.parametrize("name", CASES)
def test_interrupted_is_uninterrupted(name):
    dataset = blobs(shape=(2, 6, 6)) if name == "images" else blobs()
    straight = run(CASES[name], dataset, device="cuda", **CHECKPOINTS)
    assert_same_events(interrupted(CASES[name], dataset, 1, device="cuda"), straight)


def test_it_learns_what_the_cpu_learns():
    # No dropout: a GPU draws other random numbers. The order of sums is another in any case.
    here, there = (run(configuration(), device=device) for device in ("cpu", "cuda"))
    for one, other in zip(epochs_of(here), epochs_of(there), strict=True):
        assert other.train_loss == pytest.approx(one.train_loss, rel=1e-3)
        assert other.test_loss == pytest.approx(one.test_loss, rel=1e-3)
