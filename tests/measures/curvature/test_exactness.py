"""``exact`` is claimed only where it is: networks made to deceive the trace of their graph."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.module import (
    register_module_forward_hook,
    register_module_forward_pre_hook,
    register_module_full_backward_hook,
    register_module_full_backward_pre_hook,
)

from orchestrator.measures.context import MeasureContext
from orchestrator.measures.curvature.exact_trace import exact_trace, proof
from orchestrator.measures.curvature.exactness import verify_exactness
from tests.measures.cases import CROSS_ENTROPY, mlp, random_dataset
from tests.measures.references import dense_hessian


class Using(nn.Module):
    """Two layers and a vector of parameters, used as a function says."""

    def __init__(self, use: Callable[[Any, Tensor], Tensor]) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(5, 5), nn.Linear(5, 3)
        self.scale = nn.Parameter(torch.tensor([0.4, -0.9, 1.3, 0.7, -0.2]))
        self.use = use

    def forward(self, x: Tensor) -> Tensor:
        return self.use(self, x)


def context_of(model: nn.Module, examples: int = 9) -> MeasureContext:
    return MeasureContext(model, random_dataset((5,), examples, 3), CROSS_ENTROPY)


def built(use: Callable[[Any, Tensor], Tensor]) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Using(use)


def curved(z: Tensor) -> Tensor:
    """Zero, with a second derivative."""
    return z.tanh() - z.tanh().detach() - (1 - z.tanh() ** 2).detach() * (z - z.detach())


def constant_scaled(m: Any, x: Tensor) -> Tensor:
    c = torch.ones(5, dtype=torch.float64)
    c.mul_(m.scale)
    return m.second(F.relu(m.first(x * c)) * c)


def constant_added_to_through_a_view(m: Any, x: Tensor) -> Tensor:
    c = torch.zeros(5, dtype=torch.float64)
    c.view(5).add_(m.scale)
    return m.second(F.relu(m.first(x * c)) * c)


def constant_behind_out(m: Any, x: Tensor) -> Tensor:
    c = torch.zeros(5, dtype=torch.float64)
    torch.add(c, 1.0, out=c)
    return m.second(F.relu(m.first(x * c)) * m.scale)


def tensor_only(m: Any, x: Tensor) -> Tensor:
    z = m.first(x)
    return m.second(z + curved(z) if isinstance(z, Tensor) else z)


def not_while_tracing(m: Any, x: Tensor) -> Tensor:
    z = m.first(x)
    return m.second(z if isinstance(x, torch.fx.Proxy) else z + curved(z))


def large_inputs_only(m: Any, x: Tensor) -> Tensor:
    z = m.first(x)
    return m.second(z.tanh() if isinstance(x, Tensor) and x.abs().max() > 1.9 else z)


def shifted_examples(m: Any, x: Tensor) -> Tensor:
    return m.second(F.relu(nn.ZeroPad2d((0, 0, 1, -1))(m.first(x))))


def centered(m: Any, x: Tensor) -> Tensor:
    z = m.first(x)
    return m.second(F.relu(z - z.mean(0)))


def pooled_over_examples(m: Any, x: Tensor) -> Tensor:
    z = F.avg_pool2d(m.first(x)[None, None], 3, 1, 1)[0, 0]
    return m.second(F.relu(z))


def divided_by_the_number_of_examples(m: Any, x: Tensor) -> Tensor:
    return m.second(F.relu(m.first(x))) / x.shape[0]


@pytest.mark.parametrize(
    "use",
    [
        constant_scaled,
        constant_added_to_through_a_view,
        tensor_only,
        not_while_tracing,
        large_inputs_only,
        shifted_examples,
        centered,
        pooled_over_examples,
        divided_by_the_number_of_examples,
        lambda m, x: m.second(F.linear(F.relu(m.first(x)), m.first.weight)),
        lambda m, x: m.second((m.first(x) * m.scale) * m.scale),
        lambda m, x: m.second(F.layer_norm(m.first(x), (5,))),
    ],
)
def test_exactness_is_not_claimed_for_networks_that_lack_it(
    use: Callable[[Any, Tensor], Tensor],
) -> None:
    context = context_of(built(use))
    reason = verify_exactness(context)
    assert reason
    assert proof(context).reason == reason


@pytest.mark.parametrize(
    "use",
    [
        constant_behind_out,
        lambda m, x: m.second(F.relu(m.first(x), True) * m.scale),
        lambda m, x: m.second(m.first(x).mul_(m.scale)),
        lambda m, x: m.second(m.first(x).add_(m.scale).abs()),
    ],
)
def test_exactness_is_claimed_for_networks_that_have_it(
    use: Callable[[Any, Tensor], Tensor],
) -> None:
    context = context_of(built(use))
    assert verify_exactness(context) is None
    expected = dense_hessian(context).trace().item()
    assert exact_trace(context).total == pytest.approx(expected, rel=1e-10)


def test_numerical_checks_alone_detect_curvature(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the graph's proof out of the way."""
    context = context_of(mlp(5, 4, 3, activation=nn.Tanh))
    monkeypatch.setattr(
        "orchestrator.measures.curvature.exactness.prove_piecewise_linear",
        lambda *arguments: type("Proof", (), {"proven": True})(),
    )
    assert "not affine in the parameter '0.weight'" in (verify_exactness(context) or "")
    assert verify_exactness(context_of(mlp(5, 4, 3))) is None


@pytest.mark.parametrize("saturated", [1.0, 1e6])
def test_confident_networks_are_verified_too(saturated: float) -> None:
    model = built(lambda m, x: m.second(F.relu(m.first(x)) * m.scale))
    with torch.no_grad():
        model.second.weight.mul_(saturated)
    assert verify_exactness(context_of(model)) is None
    tanh = built(tensor_only)
    with torch.no_grad():
        tanh.second.weight.mul_(saturated)
    assert verify_exactness(context_of(tanh))


def test_hooks_on_the_network_itself_prevent_exactness() -> None:
    def hooked(register: str, hook: Callable[..., Any]) -> nn.Module:
        model = mlp(5, 4, 3)
        getattr(model, register)(hook)
        return model

    def keep(*arguments: object) -> None:
        return None

    for register in (
        "register_forward_hook",
        "register_forward_pre_hook",
        "register_full_backward_hook",
        "register_full_backward_pre_hook",
    ):
        assert "has hooks" in (verify_exactness(context_of(hooked(register, keep))) or "")


@pytest.mark.parametrize(
    "register",
    [
        register_module_forward_hook,
        register_module_forward_pre_hook,
        register_module_full_backward_hook,
        register_module_full_backward_pre_hook,
    ],
)
def test_hooks_on_all_modules_prevent_exactness(register: Callable[..., Any]) -> None:
    context = context_of(mlp(5, 4, 3))
    handle = register(lambda *arguments: None)
    try:
        assert "all modules of the process" in (verify_exactness(context) or "")
    finally:
        handle.remove()
