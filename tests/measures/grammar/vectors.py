"""Rules for vectors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations

from tests.measures.grammar.any_shape import LINEAR_USES, activation
from tests.measures.grammar.sentence import Network, Sentence, Step, often


class AlwaysTraining(nn.BatchNorm1d):
    """A batch normalization that stays in training mode."""

    def train(self, mode: bool = True) -> AlwaysTraining:
        del mode
        return super().train(True)


def linear(s: Sentence, shape: tuple[int, ...]) -> Any:
    width = s.draw.choice([2, 3, 4])
    layer = s.add(nn.Linear(shape[-1], width, bias=s.draw.random() < 0.7))
    return "linear", lambda m, h: m.get_submodule(layer)(h), (*shape[:-1], width)


def _odd_linear(s: Sentence, shape: tuple[int, ...]) -> Any:
    d = shape[-1]
    plain = nn.Linear(d, d)
    kinds: dict[str, Callable[[], nn.Module]] = {
        "weight_norm": lambda: parametrizations.weight_norm(plain, dim=s.draw.choice([0, 1])),
        "weight_norm by a hook": lambda: nn.utils.weight_norm(plain),
        "spectral_norm": lambda: parametrizations.spectral_norm(plain),
        "spectral_norm by a hook": lambda: nn.utils.spectral_norm(plain),
        "orthogonal": lambda: parametrizations.orthogonal(plain),
    }
    word = s.draw.choice(list(kinds))
    layer = s.add(kinds[word]())
    return word, lambda m, h: m.get_submodule(layer)(h), shape


def _shared(s: Sentence, shape: tuple[int, ...]) -> Any:
    d = shape[-1]
    first = s.add(nn.Linear(d, d))
    act = torch.relu if s.linear else s.draw.choice([torch.relu, torch.tanh])

    def get(m: Network) -> Any:
        return m.get_submodule(first)

    again = f"again{first}"
    uses: dict[str, Step] = {
        "layer called twice": lambda m, h: get(m)(act(get(m)(h))),
        "layer under two names": lambda m, h: m.get_submodule(again)(act(get(m)(h))),
        "tied weights": lambda m, h: m.get_submodule(again)(act(get(m)(h))),
        "decoder of the encoder": lambda m, h: F.linear(act(get(m)(h)), get(m).weight.t()),
        "weight used outside": lambda m, h: get(m)(h) + h @ get(m).weight,
        "only outside": lambda m, h: F.linear(h, get(m).weight, get(m).bias),
        "residual": lambda m, h: h + act(get(m)(h)),
        "residual in place": lambda m, h: get(m)(act(h)).add_(h),
        "weight by its softmax": lambda m, h: F.linear(h, get(m).weight.softmax(1)),
        "weight and its own square": lambda m, h: F.linear(h, get(m).weight @ get(m).weight),
        "weight minus its mean": lambda m, h: F.linear(h, get(m).weight - get(m).weight.mean()),
        "half of the layer": lambda m, h: F.linear(
            h, torch.cat([get(m).weight[:1], get(m).weight[1:] * 2])
        ),
    }  # fmt: skip
    word = s.pick(uses, LINEAR_USES)
    if word == "layer under two names":
        s.network.add_module(again, get(s.network))
    if word == "tied weights":
        other = nn.Linear(d, d)
        other.weight = get(s.network).weight
        s.network.add_module(again, other)
    return f"{word} ({act.__name__})", uses[word], shape


def _bilinear(s: Sentence, shape: tuple[int, ...]) -> Any:
    layer = s.add(nn.Bilinear(shape[0], shape[0], 2))
    if s.draw.random() < 0.5:
        return "bilinear of itself", lambda m, h: m.get_submodule(layer)(h, h), (2,)
    return "bilinear", lambda m, h: m.get_submodule(layer)(h.tanh(), h), (2,)


def _vector_norm(s: Sentence, shape: tuple[int, ...]) -> Any:
    d = shape[0]
    kinds: dict[str, Callable[[], nn.Module]] = {
        "BatchNorm1d": lambda: nn.BatchNorm1d(d),
        "BatchNorm1d, no statistics": lambda: nn.BatchNorm1d(d, track_running_stats=False),
        "BatchNorm1d in training": lambda: AlwaysTraining(d),
        "LayerNorm": lambda: nn.LayerNorm(d),
        "GroupNorm": lambda: nn.GroupNorm(1, d),
        "RMSNorm": lambda: nn.RMSNorm(d),
    }
    often = "BatchNorm1d" if s.linear else "LayerNorm"
    word = s.draw.choice([*kinds, often, often, often])
    if "," in word or "training" in word:
        s.faults.add("mixes")
    norm = kinds[word]()
    if "," in word:
        with torch.no_grad():
            norm.weight.uniform_(0.5, 1.5)
        s.network.add_module(layer := f"n{s.layers}", norm)
        s.layers += 1
    else:
        layer = s.add(norm)
    return word, lambda m, h: m.get_submodule(layer)(h), shape


def _experts(s: Sentence, shape: tuple[int, ...]) -> Any:
    d = shape[0]
    first, second = s.add(nn.Linear(d, d)), s.add(nn.Linear(d, d))

    def one_by_one(m: Network, h: Tensor) -> Tensor:
        rows = [m.get_submodule(first if row[0] > 0 else second)(row) for row in h]
        return torch.stack(rows)

    def routed(m: Network, h: Tensor) -> Tensor:
        chosen = h[:, 0] > 0
        found = torch.zeros_like(h)
        found[chosen] = m.get_submodule(first)(h[chosen])
        found[~chosen] = m.get_submodule(second)(h[~chosen])
        return found

    uses: dict[str, Step] = {
        "experts, one example at a time": one_by_one,
        "experts, by masks": routed,
        "experts, both": lambda m, h: torch.where(
            h[:, :1] > 0, m.get_submodule(first)(h), m.get_submodule(second)(h)
        ),
        "gated": lambda m, h: m.get_submodule(first)(h) * m.get_submodule(second)(h).sigmoid(),
        "product of two layers": lambda m, h: (
            m.get_submodule(first)(h) * m.get_submodule(second)(h)
        ),
    }  # fmt: skip
    word = s.pick(uses, LINEAR_USES)
    return word, uses[word], shape


VECTOR = often(
    (linear, 6), (_odd_linear, 2), (_shared, 4), (_bilinear, 1), (_vector_norm, 2), (_experts, 1),
    (activation, 3),
)  # fmt: skip
