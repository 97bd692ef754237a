import contextlib

import pytest
import torch

from orchestrator.training.process_state import RandomStream, reproducible_kernels

CPU = torch.device("cpu")


def drawn(stream, count=3):
    with stream.borrowed():
        return torch.rand(count).tolist()


def seeded(seed=7):
    stream = RandomStream(CPU)
    stream.seed(seed)
    return stream


def test_drawing_from_a_stream_leaves_the_global_random_state_alone():
    torch.manual_seed(1)
    expected = [torch.rand(1).item(), torch.rand(1).item()]
    torch.manual_seed(1)
    first = torch.rand(1).item()
    drawn(seeded())
    assert [first, torch.rand(1).item()] == expected


def test_a_stream_continues_whatever_the_process_draws():
    stream, other = seeded(), seeded()
    expected = drawn(other, 6)
    first = drawn(stream)
    torch.manual_seed(3)
    torch.rand(10)
    assert first + drawn(stream) == expected


def test_a_stream_can_be_rewound():
    stream = seeded()
    drawn(stream)
    state = stream.state()
    expected = drawn(stream)
    drawn(stream)
    stream.load_state(state)
    assert drawn(stream) == expected


def test_the_random_state_is_restored_after_an_error():
    torch.manual_seed(1)
    before = torch.get_rng_state()
    with contextlib.suppress(ZeroDivisionError), seeded().borrowed():
        torch.rand(1)
        raise ZeroDivisionError
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_cudnn_settings_are_restored(device, monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", True)
    with reproducible_kernels(torch.device(device)):
        assert torch.backends.cudnn.deterministic == (device == "cuda")
        assert torch.backends.cudnn.benchmark == (device == "cpu")
    assert torch.backends.cudnn.benchmark
    assert not torch.backends.cudnn.deterministic
