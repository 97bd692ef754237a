from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from orchestrator.errors import MeasureError
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
    for x, y in context.batches("train"):
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
def test_agree_with_one_backward_pass_per_example(subject: Case) -> None:
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


def test_says_which_parameter_has_none() -> None:
    context = MeasureContext(Branching(), random_dataset((5,), 6, 5), CROSS_ENTROPY)
    with pytest.raises(MeasureError, match=r"parameter 'gain' \(of Branching\)"):
        squared_gradient_norms(context, in_parts)


def test_running_out_of_memory_stays_what_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: object, **options: object) -> None:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr("orchestrator.measures.curvature.example_gradients.vmap", fail)
    with pytest.raises(RuntimeError, match="DefaultCPUAllocator"):
        squared_gradient_norms(case("group_norm").context(), in_parts)
