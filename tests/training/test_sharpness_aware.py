import pytest
import torch
from torch import nn

from orchestrator.study.training_options.optimizer_options import AsamOptions, SamOptions
from orchestrator.training.optimizers import build_optimizer


class Bowl(nn.Module):
    """½ Σ a w², whose gradient is a w."""

    def __init__(self, start, curvature):
        super().__init__()
        self.w = nn.Parameter(torch.tensor(start, dtype=torch.float64))
        self.register_buffer("a", torch.tensor(curvature, dtype=torch.float64))
        self.passes = 0

    def gradient(self):
        self.passes += 1
        loss = (self.a * self.w.square()).sum() / 2
        loss.backward()
        return loss


def after_one_update(bowl, *, rho, eta=None, factor=1.0, **options):
    sam = SamOptions(name="sam", rho=rho, **options)
    asam = AsamOptions(name="asam", rho=rho, eta=eta or 0.0, **options)
    optimizer = build_optimizer(sam if eta is None else asam, bowl, 0.1)

    def gradient():
        optimizer.zero_gradients()
        return bowl.gradient()

    optimizer.update(gradient, factor)
    assert bowl.passes == 2
    return bowl.w.tolist()


def test_sam_by_hand():
    # g = (3, 4), ‖g‖ = 5, ε = ρ(0.6, 0.8) = (0.3, 0.4); g there = (3.3, 4.8)·… = a(w + ε)
    bowl = Bowl([3.0, 2.0], [1.0, 2.0])
    expected = [3.0 - 0.1 * 1.0 * 3.3, 2.0 - 0.1 * 2.0 * 2.4]
    assert after_one_update(bowl, rho=0.5) == pytest.approx(expected, rel=1e-14)


def test_asam_by_hand():
    # T = |w| + 0.5 = (3.5, 1.5); T g = (10.5, −3), its length √119.25; ε = ρ T·(T g) / length
    bowl = Bowl([3.0, -1.0], [1.0, 2.0])
    length = 119.25**0.5
    climb = [2 * 3.5 * 10.5 / length, 2 * 1.5 * -3.0 / length]
    expected = [3.0 - 0.1 * (3.0 + climb[0]), -1.0 - 0.1 * 2.0 * (-1.0 + climb[1])]
    assert after_one_update(bowl, rho=2.0, eta=0.5) == pytest.approx(expected, rel=1e-14)


def test_weight_decay_is_at_the_parameters_and_not_in_the_climb():
    bowl = Bowl([3.0, 2.0], [1.0, 2.0])
    expected = [3.0 - 0.1 * (3.3 + 0.01 * 3.0), 2.0 - 0.1 * (4.8 + 0.01 * 2.0)]
    assert after_one_update(bowl, rho=0.5, weight_decay=0.01) == pytest.approx(expected, rel=1e-14)


def test_the_schedule_scales_the_update_and_not_the_climb():
    bowl = Bowl([3.0, 2.0], [1.0, 2.0])
    expected = [3.0 - 0.05 * 3.3, 2.0 - 0.05 * 4.8]
    assert after_one_update(bowl, rho=0.5, factor=0.5) == pytest.approx(expected, rel=1e-14)


@pytest.mark.parametrize("eta", [None, 0.0, 0.01])
def test_no_gradient_no_move(eta):
    assert after_one_update(Bowl([0.0, 0.0], [1.0, 2.0]), rho=0.5, eta=eta) == [0.0, 0.0]


def test_zero_weights_climb_with_eta_only():
    assert after_one_update(Bowl([0.0, 2.0], [1.0, 1.0]), rho=0.5, eta=0.0)[0] == 0.0


def test_running_statistics_are_those_of_the_first_pass():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 2))
    once = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 2))
    once.load_state_dict(model.state_dict())
    inputs = torch.randn(10, 4)
    once(inputs)
    optimizer = build_optimizer(SamOptions(name="sam", rho=5.0), model, 0.1)

    def gradient():
        optimizer.zero_gradients()
        loss = model(inputs).square().mean()
        loss.backward()
        return loss

    optimizer.update(gradient, 1.0)
    for (name, buffer), expected in zip(model.named_buffers(), once.buffers(), strict=True):
        assert torch.equal(buffer, expected), name
    assert int(model[1].num_batches_tracked) == 1
    assert not torch.equal(model[0].weight, once[0].weight)
