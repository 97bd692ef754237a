from __future__ import annotations

from collections.abc import Callable
from functools import partial
from math import inf, isnan

import pytest
import torch
from torch import Tensor, nn

from orchestrator.data import Dataset
from orchestrator.errors import MeasureError
from orchestrator.measures import MeasureContext, hidden_margins
from orchestrator.measures.margins.hidden_margins import HiddenMargin
from orchestrator.measures.reparametrization import rescaled, with_scaled_logits
from orchestrator.study.measure_options.margins import HiddenMarginOptions
from tests.measures.cases import CROSS_ENTROPY, case, mlp, random_dataset


def measured(context: MeasureContext, **options: object) -> dict[tuple[str, str], float]:
    asked = HiddenMarginOptions.model_validate({"name": "hidden_margin", **options})
    rows = HiddenMargin(asked).compute(context)
    return {(row.measure.removeprefix("hidden_margin_"), row.variant): row.value for row in rows}


@pytest.mark.parametrize("norm", ["l2", "linf"])
def test_margins_at_the_last_hidden_layer_are_those_of_a_linear_classifier(norm: str) -> None:
    """There d = (z_y − z_j) / ‖w_y − w_j‖ with j the runner-up, exactly."""
    context = case("mlp").context()
    *_, last = hidden_margins(context, norm)
    weight = [m for m in context.model.modules() if isinstance(m, nn.Linear)][-1].weight.detach()
    z, y = context.logits("train"), context.data.labels("train")
    for i in range(len(y)):
        others = [j for j in range(3) if j != y[i]]
        j = max(others, key=lambda c: z[i, c].item())
        slope = weight[y[i]] - weight[j]
        size = slope.norm() if norm == "l2" else slope.abs().sum()
        assert last.distances[i].item() == pytest.approx(((z[i, y[i]] - z[i, j]) / size).item())


def record(kept: list[Tensor], module: nn.Module, inputs: object, output: Tensor) -> None:
    kept.append(output)


@pytest.mark.parametrize("name", ["mlp", "tanh", "cnn", "residual_batch_norm"])
@pytest.mark.parametrize("passes", [1000, 3])
def test_margins_of_every_layer_equal_gradients_of_single_examples(name: str, passes: int) -> None:
    context = case(name).context(examples_per_pass=passes)
    found = hidden_margins(context)
    activations = [m for m in context.model.modules() if "modules.activation" in type(m).__module__]
    assert len(found) == len(activations)
    x, y = context.data("train")
    outputs: list[list[Tensor]] = [[] for _ in activations]
    for i in range(len(y)):
        kept: list[Tensor] = []
        keep = partial(record, kept)
        hooks = [module.register_forward_hook(keep) for module in activations]
        z = context.forward(x[i : i + 1].double())[0]
        for hook in hooks:
            hook.remove()
        lead, j = max((z[c].item(), c) for c in range(len(z)) if c != y[i])
        gradients = torch.autograd.grad(z[y[i]] - z[j], kept, allow_unused=True)
        for layer, gradient in enumerate(gradients):
            outputs[layer].append(kept[layer].detach().flatten())
            size = 0.0 if gradient is None else gradient.norm().item()
            gap = (z[y[i]] - lead).item()
            expected = gap / size if size else (inf if gap > 0 else -inf)
            assert found[layer].distances[i].item() == pytest.approx(expected)
    for layer, rows in enumerate(outputs):
        spread = torch.stack(rows).var(dim=0, correction=0).sum().sqrt().item()
        assert found[layer].total_variation == pytest.approx(spread)


def test_rescaling_layers_does_not_change_margins_over_total_variation() -> None:
    subject = case("mlp")
    data = subject.dataset()
    model = subject.model().double()
    other, layers = rescaled(model, data.train_x, 3.0)
    scaled = with_scaled_logits(model, data.train_x, 2.0)
    assert layers > 0
    assert scaled is not None
    plain, changed, doubled = (
        measured(MeasureContext(m, data, subject.loss)) for m in (model, other, scaled)
    )
    raw = [key for key in plain if key[1] == "layer_1" and key[0] == "median"]
    assert changed[raw[0]] != pytest.approx(plain[raw[0]])
    for key, value in plain.items():
        if "total_variation" in key[1]:
            assert changed[key] == pytest.approx(value, nan_ok=True), key
        assert doubled[key] == pytest.approx(value, nan_ok=True), key


def test_dead_layers_are_counted_and_never_averaged() -> None:
    model = mlp(2, 2, 2)
    with torch.no_grad():
        model[0].weight.copy_(torch.eye(2))
        model[0].bias.copy_(torch.tensor([0.0, 0.0]))
        model[2].weight.copy_(torch.eye(2))
        model[2].bias.copy_(torch.tensor([1.0, 0.0]))
    x = torch.tensor([[-1.0, -1.0], [-2.0, -1.0], [-1.0, -3.0], [2.0, 1.0]])
    y = torch.zeros(4, dtype=torch.int64)
    context = MeasureContext(model, Dataset("own", x, y, x, y, 2, "hash"), CROSS_ENTROPY)
    (layer,) = hidden_margins(context)
    # The gradient behind the activation is that of the last layer: nothing is dead there.
    assert layer.distances.tolist() == pytest.approx([1 / 2**0.5] * 3 + [2 / 2**0.5])
    first = hidden_margins(context, layers=["0"])[0]
    assert first.distances.tolist() == pytest.approx([inf, inf, inf, 2 / 2**0.5])
    found = measured(context, layers=["0"])
    assert found["infinite_share", "layer_1"] == 0.75
    assert found["p10", "layer_1"] == found["min", "layer_1"] == pytest.approx(2 / 2**0.5)
    assert found["median", "layer_1"] == inf
    assert isnan(found["upper_fence", "layer_1"])


def test_fences_follow_from_quartiles() -> None:
    found = measured(case("tanh").context())
    for layer in {variant for _, variant in found}:
        low, high = found["p25", layer], found["p75", layer]
        assert found["lower_fence", layer] == pytest.approx(low - 1.5 * (high - low))
        assert found["upper_fence", layer] == pytest.approx(high + 1.5 * (high - low))
        assert found["min", layer] <= found["p10", layer] <= low <= found["median", layer] <= high


def test_in_place_activations_do_not_change_the_margins() -> None:
    class InPlace(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.relu, self.last = (
                nn.Linear(5, 4),
                nn.ReLU(inplace=True),
                nn.Linear(4, 3),
            )

        def forward(self, x: Tensor) -> Tensor:
            h = self.relu(self.first(x))
            h += 1
            return self.last(h)

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = InPlace()
    data = case("mlp").dataset()
    context = MeasureContext(model, data, CROSS_ENTROPY)
    before = context.logits("train").clone()
    (layer,) = hidden_margins(context)
    expected = model.first(data.train_x).relu().double().var(dim=0, correction=0).sum().sqrt()
    assert layer.total_variation == pytest.approx(expected.item(), rel=1e-5)
    assert torch.equal(context.forward(data.train_x.double()).detach(), before)


def test_frozen_layers_have_the_same_margins() -> None:
    subject = case("mlp")
    model = subject.model()
    before = hidden_margins(MeasureContext(model, subject.dataset(), subject.loss))
    model[0].requires_grad_(False)
    model[2].requires_grad_(False)
    after = hidden_margins(MeasureContext(model, subject.dataset(), subject.loss))
    for one, other in zip(before, after, strict=True):
        torch.testing.assert_close(one.distances, other.distances)
        assert one.total_variation == other.total_variation


class Using(nn.Module):
    """An activation, used as a function says, between two linear layers."""

    def __init__(self, use: Callable[[nn.Module, Tensor], Tensor]) -> None:
        super().__init__()
        self.first, self.gate, self.last = nn.Linear(5, 6), nn.ReLU(), nn.Linear(6, 3)
        self.use = use

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.use(self.gate, self.first(x)))


def routed(gate: nn.Module, h: Tensor) -> Tensor:
    """As in a mixture of experts: only some of the examples go through."""
    chosen = h.sum(1) > 0
    return torch.zeros_like(h).masked_scatter(chosen[:, None], gate(h[chosen]))


@pytest.mark.parametrize(
    "use",
    [
        routed,
        lambda gate, h: torch.stack([gate(one) for one in h]),  # called for single examples
        lambda gate, h: torch.cat([gate(one) for one in h.split(3)]),
        lambda gate, h: gate(h.view(-1, 2, 3).transpose(0, 1)).transpose(0, 1).flatten(1),
        lambda gate, h: gate(h.view(-1, 3)).view(-1, 6),
        lambda gate, h: gate(h.flip(0)).flip(0),
    ],
    ids=["routed", "single", "pieces", "other_axis", "positions", "other_order"],
)
@pytest.mark.parametrize("examples", [2, 9])
def test_a_layer_that_does_not_see_every_example_once_is_named(
    use: Callable[[nn.Module, Tensor], Tensor], examples: int
) -> None:
    model = Using(use)
    context = MeasureContext(model, random_dataset((5,), examples, 3), CROSS_ENTROPY)
    with pytest.raises(MeasureError, match=r"layer 'gate' \(ReLU\)"):
        hidden_margins(context)


def test_networks_without_activations_and_unknown_layers_give_a_reason() -> None:
    context = case("linear").context()
    assert all(map(isnan, measured(context).values()))
    with pytest.raises(MeasureError, match="no activation is called as a module"):
        hidden_margins(context)
    with pytest.raises(MeasureError, match="the network has no module 'relu7'"):
        hidden_margins(case("mlp").context(), layers=["relu7"])
