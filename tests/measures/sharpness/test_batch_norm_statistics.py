from __future__ import annotations

from copy import deepcopy

import pytest
import torch
from torch import Tensor, nn

from orchestrator.measures.context import MeasureContext
from orchestrator.measures.sharpness.batch_norm_statistics import recompute
from tests.measures.cases import CROSS_ENTROPY, case, random_dataset


def recomputed(context: MeasureContext) -> dict[str, Tensor]:
    state = {name: tensor.clone() for name, tensor in context.model.state_dict().items()}
    recompute(context, state)
    return state


@pytest.mark.parametrize("examples_per_pass", [1000, 5, 1])
@pytest.mark.parametrize("name", ["mlp_batch_norm", "residual_batch_norm"])
def test_statistics_equal_those_of_one_pass_in_training_mode(
    name: str, examples_per_pass: int
) -> None:
    context = case(name).context(examples_per_pass=examples_per_pass)
    state = recomputed(context)
    x = context.data("train")[0].double()
    expected = deepcopy(context.model).train()(x)
    torch.testing.assert_close(context.forward(x, state), expected)
    reference = deepcopy(context.model).train()
    sizes: dict[str, int] = {}
    for part, module in reference.named_modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            module.momentum = None  # A cumulative average, of one batch.
            module.reset_running_stats()
            module.register_forward_hook(
                lambda _, inputs, out, part=part: sizes.update({part: out[:, 0].numel()})
            )
    reference(x)
    for part, size in sizes.items():
        torch.testing.assert_close(
            state[f"{part}.running_mean"], reference.get_buffer(f"{part}.running_mean")
        )
        # PyTorch keeps the variance over one count less.
        variance = reference.get_buffer(f"{part}.running_var") * (size - 1) / size
        torch.testing.assert_close(state[f"{part}.running_var"], variance)


def test_recomputing_changes_neither_network_nor_parameters() -> None:
    context = case("residual_batch_norm").context(examples_per_pass=4)
    before = {name: tensor.clone() for name, tensor in context.model.state_dict().items()}
    state = recomputed(context)
    for name, tensor in context.model.state_dict().items():
        assert torch.equal(tensor, before[name]), name
        assert torch.equal(state[name], tensor) == ("running" not in name), name
    assert not any(module._forward_pre_hooks for module in context.model.modules())


def test_a_network_of_one_layer_may_have_statistics_or_none() -> None:
    data = random_dataset((3,), 9, 3)
    state = recomputed(MeasureContext(nn.BatchNorm1d(3), data, CROSS_ENTROPY))
    torch.testing.assert_close(state["running_mean"], data.train_x.double().mean(0))
    layer = nn.BatchNorm1d(3, track_running_stats=False)
    assert set(recomputed(MeasureContext(layer, data, CROSS_ENTROPY))) == {"weight", "bias"}


def test_a_layer_that_is_never_called_keeps_its_statistics() -> None:
    class Unused(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.unused, self.used = nn.BatchNorm1d(3), nn.BatchNorm1d(3)

        def forward(self, x: Tensor) -> Tensor:
            return self.used(x)

    for examples_per_pass in (1000, 4):
        context = MeasureContext(
            Unused(), random_dataset((3,), 9, 3), CROSS_ENTROPY, examples_per_pass=examples_per_pass
        )
        state = recomputed(context)
        assert not state["unused.running_mean"].any()
        assert state["used.running_mean"].any()


def test_a_layer_that_is_called_twice_gets_the_statistics_of_both_calls() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm = nn.BatchNorm1d(3)

        def forward(self, x: Tensor) -> Tensor:
            return self.norm(x) + self.norm(3 * x)

    data = random_dataset((3,), 9, 3)
    x = data.train_x.double()
    both = torch.cat([x, 3 * x])
    for examples_per_pass in (1000, 4):
        context = MeasureContext(Twice(), data, CROSS_ENTROPY, examples_per_pass=examples_per_pass)
        state = recomputed(context)
        torch.testing.assert_close(state["norm.running_mean"], both.mean(0))
        torch.testing.assert_close(state["norm.running_var"], both.var(0, correction=0))
