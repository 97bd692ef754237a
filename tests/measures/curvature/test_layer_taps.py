from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from orchestrator.errors import MeasureError
from orchestrator.measures.context import MeasureContext
from orchestrator.measures.curvature.layer_taps import mixing_layers, tapped, usable_taps
from tests.measures.cases import CROSS_ENTROPY, case, random_dataset


def tapped_layers(model: nn.Module, shape: tuple[int, ...] = (4,)) -> list[str]:
    """Names of the layers whose taps can be used, on five examples."""
    names = {id(module): name for name, module in model.named_modules()}
    with tapped(model.eval()) as taps:
        logits = model(torch.randn(5, *shape, generator=torch.Generator().manual_seed(0)))
    return [names[id(tap.module)] for tap in usable_taps(logits, taps)]


class Using(nn.Module):
    """Two layers, used as a function says."""

    def __init__(self, use: Callable[[nn.Module, nn.Module, Tensor], Tensor]) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(4, 4), nn.Linear(4, 4)
        self.use = use

    def forward(self, x: Tensor) -> Tensor:
        return self.use(self.first, self.second, x)


@pytest.mark.parametrize(
    ("use", "expected"),
    [
        (lambda f, s, x: s(f(x).tanh()), ["first", "second"]),
        (lambda f, s, x: s(f(x).relu_()), ["first", "second"]),  # overwritten in place
        (lambda f, s, x: s(f(x)) + f(x), ["second"]),  # called twice
        (lambda f, s, x: s(f(x)) @ f.weight, ["second"]),  # its weight used besides
        (lambda f, s, x: s(x) + 0 * f(x).detach(), ["second"]),  # does not reach the logits
        (lambda f, s, x: s(f(x.reshape(-1, 2, 2).flatten(0, 1).repeat(1, 2))[:5]), ["second"]),
        (lambda f, s, x: s(f(input=x)), ["second"]),  # by keyword: nothing was seen
        (lambda f, s, x: s(x @ f.weight), ["second"]),  # never called
    ],
)
def test_a_layer_is_tapped_only_if_its_weight_enters_once(
    use: Callable[[nn.Module, nn.Module, Tensor], Tensor], expected: list[str]
) -> None:
    assert tapped_layers(Using(use)) == expected


def test_modified_layers_are_not_tapped() -> None:
    def chain() -> Using:
        return Using(lambda first, second, x: second(first(x)))

    hooked, own_forward, weight_norm, frozen = chain(), chain(), chain(), chain()
    hooked.first.register_forward_hook(lambda module, inputs, output: 2 * output)
    own_forward.first.forward = lambda x: x @ own_forward.first.weight  # type: ignore[method-assign,operator]
    nn.utils.parametrizations.weight_norm(weight_norm.first)
    frozen.first.requires_grad_(False)
    for model in (hooked, own_forward, weight_norm, frozen):
        assert tapped_layers(model) == ["second"]


def test_batch_normalization_is_tapped_only_with_fixed_statistics() -> None:
    for fixed in (True, False):
        model = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3, track_running_stats=fixed))
        assert tapped_layers(model) == (["0", "1"] if fixed else ["0"])


def test_no_layer_of_ordinary_networks_mixes_examples() -> None:
    for name in ("mlp", "cnn", "residual_batch_norm", "tanh", "group_norm"):
        assert mixing_layers(case(name).context()) == frozenset()


def test_a_layer_whose_first_axis_is_not_the_examples_is_recognized() -> None:
    class Across(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer, self.head = nn.Linear(2, 2), nn.Linear(6, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.layer(x.transpose(0, 1)).transpose(0, 1).flatten(1))

    context = MeasureContext(Across(), random_dataset((3, 2), 3, 3), CROSS_ENTROPY)
    assert mixing_layers(context) == {id(context.model.layer)}


@pytest.mark.parametrize(
    "mix",
    [
        lambda x: x - x.mean(0),
        lambda x: x + x.flip(0),
        lambda x: x / x.norm(),
        lambda x: x.cumsum(0),
        lambda x: x - x.amax(0),
        lambda x: x / len(x),
        lambda x: x + x.detach().mean(0),
        lambda x: x * (x.argsort(0) + 1),
    ],
    ids=["mean", "flip", "norm", "cumsum", "max", "number", "detached", "ranks"],
)
def test_logits_that_depend_on_other_examples_are_refused(mix: Callable[[Tensor], Tensor]) -> None:
    model = Using(lambda first, second, x: second(first(mix(x))).log_softmax(1))
    context = MeasureContext(model, random_dataset((4,), 5, 4), CROSS_ENTROPY)
    with pytest.raises(MeasureError, match="depend on the other examples of its pass"):
        mixing_layers(context)


class Contrastive:
    """A loss in which every example is compared with the others of its pass."""

    def per_example(self, logits: Tensor, labels: Tensor) -> Tensor:
        others = (logits @ logits.T).log_softmax(1)
        return -(others * (labels == labels[:, None])).mean(1)


def test_a_loss_that_depends_on_other_examples_is_refused() -> None:
    data = random_dataset((4,), 9, 4)
    context = MeasureContext(nn.Linear(4, 4), data, Contrastive())
    with pytest.raises(MeasureError, match="the loss of one example depends on the other"):
        mixing_layers(context)


@pytest.mark.parametrize("examples", [1, 2, 7, 20])
def test_any_number_of_examples_suffices_to_detect_mixing(examples: int) -> None:
    data = random_dataset((4,), examples, 4)
    context = MeasureContext(Using(lambda f, s, x: s(f(x).tanh())), data, CROSS_ENTROPY)
    assert mixing_layers(context) == frozenset()


def test_a_layer_that_receives_the_examples_reordered_is_not_tapped() -> None:
    def sorted_inside(first: nn.Module, second: nn.Module, x: Tensor) -> Tensor:
        order = x[:, 0].argsort()
        return second(first(x[order])[order.argsort()])

    data = random_dataset((4,), 20, 4)
    context = MeasureContext(Using(sorted_inside), data, CROSS_ENTROPY)
    assert mixing_layers(context) == {id(context.model.first)}


def test_detecting_mixing_leaves_no_hooks() -> None:
    context = case("mlp").context()
    mixing_layers(context)
    assert not any(module._forward_hooks for module in context.model.modules())
