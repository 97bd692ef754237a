"""Training where the network is not on the CPU, without having such a device."""

import pytest
import torch

from tests.pretend_device import ELSEWHERE, PretendDevice
from tests.training.cases import (
    IMAGES,
    assert_same_events,
    blobs,
    checkpoints_of,
    configuration,
    of_every_kind,
    run,
)


@of_every_kind
def test_another_device_trains_the_same_network(model, training):
    dataset = blobs(shape=(2, 6, 6)) if model == IMAGES else blobs()
    config = configuration(model, **training)
    here = run(config, dataset, train_loss=[0.5], updates=[3])
    with PretendDevice():
        there = run(config, dataset, device=ELSEWHERE, train_loss=[0.5], updates=[3])
    assert_same_events(here, there)
    states = [one.state for one in checkpoints_of(there)]
    assert {value.device.type for state in states for value in state.values()} == {"cpu"}


def test_the_pretended_device_refuses_what_a_gpu_refuses():
    with PretendDevice():
        network = torch.nn.Linear(3, 2).to(ELSEWHERE)
        with pytest.raises(RuntimeError, match="two devices"):
            network(torch.ones(4, 3))
        with pytest.raises(TypeError, match="CPU"):
            network(torch.ones(4, 3, device=ELSEWHERE)).detach().numpy()
        assert network(torch.ones(4, 3).to(ELSEWHERE)).device == ELSEWHERE
