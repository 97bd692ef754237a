"""Networks that are written in odd ways, each beside the same network written plainly.

Whatever is trained or measured must come out the same for both. A pair has the same random draws
in the same order, so that equal seeds give equal weights.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from orchestrator.data import Dataset

CLASSES = 3


@dataclass(frozen=True)
class Pair:
    """A network written oddly, and the same written plainly.

    Attributes:
        name: Readable identity, for test ids.
        odd: Makes the one.
        plain: Makes the other.
        input_shape: Of one example.
        vocabulary: How many integers inputs are drawn from; 0 for real inputs.
    """

    name: str
    odd: Callable[[], nn.Module]
    plain: Callable[[], nn.Module]
    input_shape: tuple[int, ...] = (5,)
    vocabulary: int = 0

    def models(self, seed: int = 0) -> tuple[nn.Module, nn.Module]:
        """Both, with the same weights."""
        return seeded(self.odd, seed), seeded(self.plain, seed)

    def dataset(self, examples: int = 14) -> Dataset:
        """Random examples and labels; half as many for testing."""
        generator = torch.Generator().manual_seed(0)
        shape = (examples + examples // 2, *self.input_shape)
        if self.vocabulary:
            x = torch.randint(0, self.vocabulary, shape, generator=generator)
        else:
            x = torch.randn(shape, generator=generator)
        y = torch.arange(len(x)) % CLASSES
        return Dataset("odd", x[:examples], y[:examples], x[examples:], y[examples:], CLASSES, "")


def some(pairs: Sequence[Pair]) -> list[Any]:
    """Pairs as parameters of a test, those that are not in ``OFTEN`` marked as slow."""
    return [
        pytest.param(pair, id=pair.name, marks=() if pair.name in OFTEN else pytest.mark.slow)
        for pair in pairs
    ]


def seeded(build: Callable[[], nn.Module], seed: int = 0) -> nn.Module:
    """A network built under a fixed random seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build()


class Changed(nn.Module):
    """A multilayer perceptron behind some change of its input."""

    def __init__(self, change: Callable[[Tensor], Tensor], activation: type = nn.ReLU) -> None:
        super().__init__()
        self.change = change
        self.layers = nn.Sequential(nn.Linear(5, 6), activation(), nn.Linear(6, CLASSES))

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(self.change(x))


def _by_data(x: Tensor) -> Tensor:
    x.data.sub_(0.1)
    return x / 1.5


def _clamped(x: Tensor) -> Tensor:
    x[x > 1.0] = 1.0
    return x


def _of_view(x: Tensor) -> Tensor:
    x.view(-1)[:].add_(0.25)
    return x


def _rectified(x: Tensor) -> Tensor:
    return F.relu(x, inplace=True)


WRITERS = (
    Pair(
        "standardizes in place",
        lambda: Changed(lambda x: x.sub_(0.1).div_(1.05)),
        lambda: Changed(lambda x: (x - 0.1) / 1.05),
    ),
    Pair("rectifies in place", lambda: Changed(_rectified), lambda: Changed(F.relu)),
    Pair("through a view", lambda: Changed(_of_view), lambda: Changed(lambda x: x + 0.25)),
    Pair("by index", lambda: Changed(_clamped), lambda: Changed(lambda x: x.where(x <= 1.0, 1.0))),
    Pair(
        "first layer in place",
        lambda: nn.Sequential(nn.ReLU(inplace=True), nn.Linear(5, 6), nn.ReLU(), nn.Linear(6, 3)),
        lambda: nn.Sequential(nn.ReLU(), nn.Linear(5, 6), nn.ReLU(), nn.Linear(6, 3)),
    ),
    Pair(
        "smooth, only where it is large",
        lambda: Changed(lambda x: x.mul_(0.5) if x.abs().max() > 1 else x * 0.5, nn.Tanh),
        lambda: Changed(lambda x: x * 0.5, nn.Tanh),
    ),
)
"""They write into their inputs."""

DATA_WRITER = Pair(
    "behind autograd's back", lambda: Changed(_by_data), lambda: Changed(lambda x: (x - 0.1) / 1.5)
)
"""It writes into its inputs so that no version counter counts it."""


class Uses(nn.Module):
    """Layers that are called by a function; parameters of ``plain`` ones are shared by hand."""

    def __init__(self, forward: Callable[[nn.Module, Tensor], Tensor], **layers: nn.Module) -> None:
        super().__init__()
        self._forward = forward
        for name, layer in layers.items():
            setattr(self, name, layer)

    def forward(self, x: Tensor) -> Tensor:
        return self._forward(self, x)


def _twice() -> nn.Module:
    layer = nn.Linear(5, 5)
    return nn.Sequential(layer, nn.ReLU(), layer, nn.ReLU(), nn.Linear(5, CLASSES))


def _blocks(activation: Callable[[], nn.Module] = nn.ReLU) -> nn.Module:
    block = nn.Sequential(nn.Linear(5, 5), activation())
    return nn.Sequential(*[block] * 3, nn.Linear(5, CLASSES))


def _one_prelu() -> nn.Module:
    act = nn.PReLU()
    return nn.Sequential(nn.Linear(5, 6), act, nn.Linear(6, 4), act, nn.Linear(4, CLASSES))


def _tied(tie: Callable[[nn.Linear, nn.Linear], None]) -> nn.Module:
    encoder, head = nn.Linear(5, 5), nn.Linear(5, CLASSES)
    with torch.random.fork_rng(devices=[]):
        decoder = nn.Linear(5, 5, bias=False)
    tie(encoder, decoder)
    return Uses(
        lambda m, x: m.head(F.relu(m.decoder(F.relu(m.encoder(x))))),
        encoder=encoder,
        decoder=decoder,
        head=head,
    )


def _tie(encoder: nn.Linear, decoder: nn.Linear) -> None:
    decoder.weight = encoder.weight


def _tie_data(encoder: nn.Linear, decoder: nn.Linear) -> None:
    decoder.weight.data = encoder.weight.data


def _tied_embedding() -> nn.Module:
    embedding, mix = nn.Embedding(CLASSES, 4), nn.Linear(4, 4)
    with torch.random.fork_rng(devices=[]):
        head = nn.Linear(4, CLASSES, bias=False)
    head.weight = embedding.weight
    return Uses(
        lambda m, x: m.head(F.relu(m.mix(m.embedding(x).mean(1)))),
        embedding=embedding,
        mix=mix,
        head=head,
    )


def _same_norm() -> nn.Module:
    norm = nn.BatchNorm1d(5)
    return nn.Sequential(nn.Linear(5, 5), norm, nn.ReLU(), nn.Linear(5, 5), norm, nn.ReLU(),
                         nn.Linear(5, CLASSES))  # fmt: skip


SHARERS = (
    Pair(
        "layer under two names",
        _twice,
        lambda: Uses(
            lambda m, x: m.head(F.relu(m.layer(F.relu(m.layer(x))))),
            layer=nn.Linear(5, 5),
            head=nn.Linear(5, CLASSES),
        ),
    ),
    Pair(
        "block under three names",
        _blocks,
        lambda: Uses(
            lambda m, x: m.head(F.relu(m.a(F.relu(m.a(F.relu(m.a(x))))))),
            a=nn.Linear(5, 5),
            head=nn.Linear(5, CLASSES),
        ),
    ),
    Pair(
        "smooth block under three names",
        lambda: _blocks(nn.Tanh),
        lambda: Uses(
            lambda m, x: m.head(torch.tanh(m.a(torch.tanh(m.a(torch.tanh(m.a(x))))))),
            a=nn.Linear(5, 5),
            head=nn.Linear(5, CLASSES),
        ),
    ),
    Pair(
        "one PReLU",
        _one_prelu,
        lambda: Uses(
            lambda m, x: m.c(m.act(m.b(m.act(m.a(x))))),
            a=nn.Linear(5, 6),
            act=nn.PReLU(),
            b=nn.Linear(6, 4),
            c=nn.Linear(4, CLASSES),
        ),
    ),
    Pair(
        "one batch normalization",
        _same_norm,
        lambda: Uses(
            lambda m, x: m.c(F.relu(m.norm(m.b(F.relu(m.norm(m.a(x))))))),
            a=nn.Linear(5, 5),
            norm=nn.BatchNorm1d(5),
            b=nn.Linear(5, 5),
            c=nn.Linear(5, CLASSES),
        ),
    ),
    *(
        Pair(
            name,
            lambda tie=tie: _tied(tie),
            lambda: Uses(
                lambda m, x: m.head(F.relu(F.linear(F.relu(m.encoder(x)), m.encoder.weight))),
                encoder=nn.Linear(5, 5),
                head=nn.Linear(5, CLASSES),
            ),
        )
        for name, tie in (("tied weights", _tie), ("weights in one memory", _tie_data))
    ),
    Pair(
        "tied embedding",
        _tied_embedding,
        lambda: Uses(
            lambda m, x: F.linear(F.relu(m.mix(m.embedding(x).mean(1))), m.embedding.weight),
            embedding=nn.Embedding(CLASSES, 4),
            mix=nn.Linear(4, 4),
        ),
        input_shape=(4,),
        vocabulary=CLASSES,
    ),
)
"""They use a tensor in several places, under several names."""


def _mlp() -> nn.Sequential:
    return nn.Sequential(nn.Linear(5, 6), nn.ReLU(), nn.Linear(6, CLASSES))


def _compiled_inside() -> nn.Module:
    layers = _mlp()
    return nn.Sequential(torch.compile(layers[0], backend="eager"), layers[1], layers[2])


def _compiled_in_place() -> nn.Module:
    model = _mlp()
    model.compile(backend="eager")
    return model


WRAPPED = (
    Pair("compiled", lambda: torch.compile(_mlp(), backend="eager"), _mlp),
    Pair("compiled inside", _compiled_inside, _mlp),
    Pair("compiled in place", _compiled_in_place, _mlp),
    Pair("data parallel", lambda: nn.DataParallel(_mlp()), _mlp),
    Pair("both", lambda: nn.DataParallel(torch.compile(_mlp(), backend="eager")), _mlp),
)
"""They are wrapped."""

OFTEN = ("standardizes in place", "layer under two names", "weights in one memory", "both")
"""Those that are tried each time; the others are slow."""

PAIRS = (*WRITERS, *SHARERS, *WRAPPED)


def named(input_shape: tuple[int, ...], classes: int, *, pair: str, side: str = "odd") -> nn.Module:
    """One network of a pair, for a study file."""
    del input_shape, classes
    found = {one.name: one for one in (*PAIRS, DATA_WRITER)}[pair]
    return found.odd() if side == "odd" else found.plain()
