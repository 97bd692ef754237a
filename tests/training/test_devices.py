"""Training where the network is not on the CPU, without having such a device."""

import pytest
import torch

from tests.pretend_device import ELSEWHERE, PretendDevice
from tests.training.cases import HERE, assert_same_events, blobs, checkpoints_of, configuration, run

MLP = {"name": "mlp", "width": 12, "depth": 2, "normalization": "batch", "dropout": 0.2}
CNN = {"name": "cnn", "width": 4, "depth": 1, "normalization": "batch", "dropout": 0.2}


@pytest.mark.parametrize(
    ("model", "training"),
    [
        (MLP, {}),
        (MLP, {"optimizer": {"name": "adamw", "learning_rate": 0.01}}),
        (MLP, {"optimizer": {"name": "asam", "momentum": 0.9}}),
        (f"{HERE}:peculiar", {"optimizer": {"name": "torch.optim:RMSprop"}}),
        (CNN, {"augmentation": ["flip", "crop"], "schedule": "cosine"}),
    ],
    ids=["sgd", "adamw", "asam", "own", "images"],
)
def test_another_device_trains_the_same_network(model, training):
    dataset = blobs(shape=(2, 6, 6)) if model == CNN else blobs()
    config = configuration(model, **training)
    here = run(config, dataset, train_loss=[0.5], updates=[3])
    with PretendDevice():
        there = run(config, dataset, device=ELSEWHERE, train_loss=[0.5], updates=[3])
    assert_same_events(here, there)
    states = [one.state for one in checkpoints_of(there)]
    assert {value.device.type for state in states for value in state.values()} == {"cpu"}


def test_the_device_refuses_what_a_gpu_refuses():
    with PretendDevice():
        network = torch.nn.Linear(3, 2).to(ELSEWHERE)
        with pytest.raises(RuntimeError, match="two devices"):
            network(torch.ones(4, 3))
        with pytest.raises(TypeError, match="CPU"):
            network(torch.ones(4, 3, device=ELSEWHERE)).detach().numpy()
        assert network(torch.ones(4, 3).to(ELSEWHERE)).device == ELSEWHERE
