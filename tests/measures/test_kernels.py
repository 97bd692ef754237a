"""Second derivatives of networks whose own kernels have wrong ones or none."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations

from orchestrator.errors import MeasureError
from orchestrator.measures.context import MeasureContext
from orchestrator.measures.curvature.gauss_newton import gauss_newton
from orchestrator.measures.kernels import differentiable_kernels
from orchestrator.measures.sharpness.displaced import displaced_gradient
from tests.measures.cases import CROSS_ENTROPY, case, random_dataset


class Using(nn.Module):
    """Layers, used as a function says."""

    def __init__(self, use: Callable[..., Tensor], **layers: nn.Module) -> None:
        super().__init__()
        self.use = use
        for name, layer in layers.items():
            self.add_module(name, layer)

    def forward(self, x: Tensor) -> Tensor:
        return self.use(self, x)


def hidden(layer: nn.Module) -> nn.Module:
    return nn.Sequential(nn.Linear(4, 6), layer, nn.Linear(6, 3))


def weight_norm(dim: int | None) -> nn.Module:
    return hidden(nn.Sequential(parametrizations.weight_norm(nn.Linear(6, 6), dim=dim), nn.Tanh()))


def old_weight_norm() -> nn.Module:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*weight_norm. is deprecated", FutureWarning)
        return nn.Sequential(nn.utils.weight_norm(nn.Linear(4, 6)), nn.Tanh(), nn.Linear(6, 3))


def attention(model: Any, x: Tensor) -> Tensor:
    tokens = model.embed(x).view(len(x), 3, 2)
    attended = F.scaled_dot_product_attention(tokens, model.key(tokens), tokens)
    return model.head(attended.flatten(1))


def encoder(model: Any, x: Tensor) -> Tensor:
    return model.head(model.layer(model.embed(x).view(len(x), 3, 2)).flatten(1))


def heads(model: Any, x: Tensor) -> Tensor:
    tokens = model.embed(x).view(len(x), 3, 2)
    attended, _ = model.layer(tokens, tokens, tokens, need_weights=False)
    return model.head(attended.flatten(1))


def prototypes(model: Any, x: Tensor) -> Tensor:
    return -torch.cdist(model.embed(x), model.head.weight)


def around(use: Callable[..., Tensor], **layers: nn.Module) -> nn.Module:
    return Using(use, embed=nn.Linear(4, 6), head=nn.Linear(6, 3), **layers)


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "weight_norm": lambda: weight_norm(0),
    "weight_norm_by_column": lambda: weight_norm(1),
    "weight_norm_of_all": lambda: weight_norm(None),
    "weight_norm_by_hook": old_weight_norm,
    "spectral_norm": lambda: hidden(parametrizations.spectral_norm(nn.Linear(6, 6))),
    "scaled_dot_product": lambda: around(attention, key=nn.Linear(2, 2)),
    "multihead": lambda: around(heads, layer=nn.MultiheadAttention(2, 2, batch_first=True)),
    "encoder_layer": lambda: around(
        encoder, layer=nn.TransformerEncoderLayer(2, 2, 3, batch_first=True)
    ),
    "cdist": lambda: around(prototypes),
    "hardsigmoid": lambda: hidden(nn.Hardsigmoid()),
    "layer_norm": lambda: hidden(nn.LayerNorm(6)),
    "group_norm": lambda: hidden(nn.GroupNorm(2, 6)),
    "softplus": lambda: hidden(nn.Softplus(2.0, 0.5)),
    "hardswish": lambda: hidden(nn.Hardswish()),
    "celu": lambda: hidden(nn.CELU(0.5)),
    "bilinear": lambda: around(
        lambda m, x: m.layer(m.embed(x).tanh(), x), layer=nn.Bilinear(6, 4, 3)
    ),
    "lstm": lambda: around(
        lambda m, x: m.head(m.layer(m.embed(x).view(-1, 3, 2))[0][:, -1]),
        layer=nn.LSTM(2, 6, batch_first=True),
    ),
}


def context_of(build: Callable[[], nn.Module]) -> MeasureContext:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = build()
    return MeasureContext(model, random_dataset((4,), 6, 3), CROSS_ENTROPY)


@pytest.mark.parametrize("name", NETWORKS)
def test_products_are_symmetric_and_equal_differences_of_gradients(name: str) -> None:
    context = context_of(NETWORKS[name])
    u, v = context.probe(0, "gaussian"), context.probe(1, "gaussian")
    v = v / v.norm()
    product = context.hessian_vector_product(v)
    assert (u @ product).item() == pytest.approx(
        (v @ context.hessian_vector_product(u)).item(), rel=1e-9
    )
    ahead, behind = (displaced_gradient(context, sign * 1e-5 * v)[1] for sign in (1, -1))
    torch.testing.assert_close(product, (ahead - behind) / 2e-5, rtol=1e-5, atol=1e-7)


def test_inner_modules_are_called_even_without_gradients() -> None:
    context = context_of(NETWORKS["encoder_layer"])
    called: list[nn.Module] = []
    hook = context.model.layer.linear1.register_forward_hook(lambda m, *_: called.append(m))
    context.logits("train")
    hook.remove()
    assert called


def test_settings_of_kernels_are_restored() -> None:
    def state() -> list[bool]:
        cuda = torch.backends.cuda
        return [
            cuda.flash_sdp_enabled(),
            cuda.mem_efficient_sdp_enabled(),
            cuda.math_sdp_enabled(),
            torch.backends.mha.get_fastpath_enabled(),
        ]

    before = state()
    device = torch.device("cpu")
    with differentiable_kernels(nn.Linear(1, 1), device, plain=True):
        assert state() == [False, False, True, False]
    assert state() == before

    def fail() -> None:
        with differentiable_kernels(nn.Linear(1, 1), device, plain=True):
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert state() == before


class NumericalScale(torch.autograd.Function):
    """x ↦ x³/3 by a derivative that cannot be differentiated again."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x**3 / 3

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return gradient * x**2


@pytest.mark.parametrize("skip", [False, True])
def test_an_operation_without_second_derivative_is_refused_not_zero(skip: bool) -> None:
    def use(model: Any, x: Tensor) -> Tensor:
        h = model.embed(x)
        return model.head(NumericalScale.apply(h) + (h if skip else 0))

    context = context_of(lambda: around(use))
    context.gradient("train")
    for A in (context.hessian, gauss_newton(context)):
        with pytest.raises(MeasureError, match="NumericalScale cannot be differentiated again"):
            A @ context.probe(0)


def test_an_operation_that_pytorch_cannot_differentiate_twice_is_named() -> None:
    bag = nn.EmbeddingBag(6, 6)
    context = context_of(
        lambda: around(lambda m, x: m.head(bag_of(m.layer, x) + m.embed(x)), layer=bag)
    )
    with pytest.raises(MeasureError, match=r"no second derivatives in PyTorch.*embedding_bag"):
        context.hessian_vector_product(context.probe(0))


def bag_of(layer: nn.Module, x: Tensor) -> Tensor:
    return layer((x.abs() * 2).long().clamp(max=5))


def test_networks_without_such_operations_run_unchanged() -> None:
    context = case("mlp").context()
    x = context.data("train")[0].double()
    assert torch.equal(context.forward(x), context.model(x))
