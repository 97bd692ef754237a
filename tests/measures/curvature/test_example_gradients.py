from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from orchestrator.measures.context import MeasureContext
from orchestrator.measures.curvature.example_gradients import squared_gradient_norms
from orchestrator.measures.curvature.loss_hessian import LossHessian
from tests.measures.cases import CASES, CROSS_ENTROPY, Case, case, random_dataset


def two_columns(logits: Tensor, labels: Tensor) -> LossHessian:
    """Vectors that differ by example, one counted negatively for every second example."""
    classes = torch.arange(1, logits.shape[1] + 1).to(logits)
    columns = torch.stack([logits.sin(), classes + labels[:, None]])
    signs = torch.ones(2, len(logits)).to(logits)
    signs[1, labels % 2 == 0] = -1
    return LossHessian(columns, signs)


def in_parts(logits: Tensor, labels: Tensor) -> list[LossHessian]:
    """The same vectors, each as a part of its own."""
    columns, signs = two_columns(logits, labels)
    assert signs is not None
    return [LossHessian(columns[:1], signs[:1]), LossHessian(columns[1:], signs[1:])]


def one_by_one(context: MeasureContext) -> dict[str, list[float]]:
    """The same with one backward pass per example and column."""
    found: dict[str, list[float]] = {name: [] for name in context.parameters}
    for x, y in context.data.batches("train"):
        for one, label in zip(x, y, strict=True):
            logits = context.forward(one[None])
            chosen = two_columns(logits.detach(), label[None])
            assert chosen.signs is not None
            sums = dict.fromkeys(found, 0.0)
            for column, sign in zip(chosen.columns, chosen.signs, strict=True):
                gradients = torch.autograd.grad(
                    logits,
                    list(context.parameters.values()),
                    column,
                    retain_graph=True,
                    allow_unused=True,
                )
                for name, gradient in zip(sums, gradients, strict=True):
                    if gradient is not None:
                        sums[name] += (sign * gradient.square().sum()).item()
            for name, value in sums.items():
                found[name].append(value)
    return found


@pytest.mark.parametrize("subject", CASES, ids=lambda case: case.name)
def test_squared_gradient_norms_agree_with_one_backward_pass_per_example(subject: Case) -> None:
    context = subject.context()
    found = squared_gradient_norms(context, in_parts)
    assert list(found) == list(context.parameters)
    for name, expected in one_by_one(context).items():
        assert found[name].dtype == torch.float64
        assert not found[name].requires_grad
        scale = max(map(abs, expected))
        assert found[name].tolist() == pytest.approx(expected, rel=1e-10, abs=1e-11 * scale)


class Branching(nn.Module):
    """Decides by the value of an example, which vmap cannot follow."""

    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(5))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gain if x.sum().item() > 0 else x * self.gain.square()


class Recurrent(nn.Module):
    """A recurrent layer over four steps, its inputs with the time first or the examples."""

    def __init__(self, kind: str, batch_first: bool = False) -> None:
        super().__init__()
        self.layer = getattr(nn, kind)(3, 2, batch_first=batch_first)
        self.head = nn.Linear(2, 3)

    def forward(self, x: Tensor) -> Tensor:
        if self.layer.batch_first:
            return self.head(self.layer(x)[0][:, -1])
        return self.head(self.layer(x.transpose(0, 1))[0][-1])


@pytest.mark.parametrize(
    ("build", "shape", "examples"),
    [
        (Branching, (5,), 6),
        (lambda: Recurrent("LSTM"), (4, 3), 6),
        (lambda: Recurrent("GRU", batch_first=True), (4, 3), 6),
        # As many steps as examples, in every pass or in the last one only.
        (lambda: Recurrent("LSTM"), (4, 3), 4),
        (lambda: Recurrent("RNN"), (4, 3), 9),
    ],
    ids=["branching", "lstm", "gru", "as_many_steps", "as_many_steps_in_the_last_pass"],
)
def test_examples_that_cannot_be_batched_are_differentiated_one_by_one(
    build: Callable[[], nn.Module], shape: tuple[int, ...], examples: int
) -> None:
    classes = 5 if build is Branching else 3
    data = random_dataset(shape, examples, classes)
    context = MeasureContext(build(), data, CROSS_ENTROPY, examples_per_pass=5)
    found = squared_gradient_norms(context, in_parts)
    for name, expected in one_by_one(context).items():
        assert found[name].tolist() == pytest.approx(expected, rel=1e-10, abs=1e-14)


class TimeFirst(nn.Module):
    """Linear layers on ``(steps, examples, features)``, as PyTorch's sequence layers have it."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden, self.head = nn.Linear(3, 4), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.hidden(x.transpose(0, 1)).tanh().mean(0))


@pytest.mark.parametrize("examples", [4, 8, 11])
@pytest.mark.parametrize("examples_per_pass", [4, 7, 1000])
def test_a_time_axis_as_long_as_a_pass_is_not_taken_for_the_examples(
    examples: int, examples_per_pass: int
) -> None:
    data = random_dataset((4, 3), examples, 3)
    context = MeasureContext(TimeFirst(), data, CROSS_ENTROPY, examples_per_pass=examples_per_pass)
    found = squared_gradient_norms(context, in_parts)
    for name, expected in one_by_one(context).items():
        assert found[name].tolist() == pytest.approx(expected, rel=1e-10, abs=1e-14)


def test_running_out_of_memory_is_raised_unchanged(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: object, **options: object) -> None:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr("orchestrator.measures.curvature.example_gradients.vmap", fail)
    with pytest.raises(RuntimeError, match="DefaultCPUAllocator"):
        squared_gradient_norms(case("group_norm").context(), in_parts)


class Attention(nn.Module):
    """Attention over four steps, its inputs with the time first or the examples."""

    def __init__(self, layer: nn.Module, batch_first: bool) -> None:
        super().__init__()
        self.layer, self.batch_first = layer, batch_first
        self.head = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        steps = x if self.batch_first else x.transpose(0, 1)
        if isinstance(self.layer, nn.MultiheadAttention):
            steps = self.layer(steps, steps, steps, need_weights=False)[0]
        else:
            steps = self.layer(steps)
        return self.head(steps.mean(1 if self.batch_first else 0))


@pytest.mark.parametrize("batch_first", [True, False], ids=["batch_first", "time_first"])
@pytest.mark.parametrize("kind", ["MultiheadAttention", "encoder", "encoder_norm_first"])
@pytest.mark.parametrize("examples", [4, 7], ids=["as_many_steps", "more"])
def test_squared_gradient_norms_of_attention_agree_with_each_example_alone(
    kind: str, batch_first: bool, examples: int
) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        layer: nn.Module = (
            nn.MultiheadAttention(4, 2, batch_first=batch_first)
            if kind == "MultiheadAttention"
            else nn.TransformerEncoderLayer(
                4, 2, 6, batch_first=batch_first, norm_first=kind == "encoder_norm_first"
            )
        )
        model = Attention(layer, batch_first)
        for parameter in model.parameters():  # Biases that are 0 hide what belongs to them.
            nn.init.normal_(parameter, std=0.5)
    # Four steps, and passes of four: the axis of the examples cannot be told by its length.
    context = MeasureContext(
        model, random_dataset((4, 4), examples, 3), CROSS_ENTROPY, examples_per_pass=4
    )
    found = squared_gradient_norms(context, in_parts)
    for name, expected in one_by_one(context).items():
        assert found[name].tolist() == pytest.approx(expected, rel=1e-10, abs=1e-13)
        assert any(expected), name
