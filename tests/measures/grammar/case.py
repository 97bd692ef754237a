"""Whole sentences: inputs, a network, a loss."""

from __future__ import annotations

import random
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from orchestrator.data import Dataset
from tests.measures.grammar.any_shape import ANY
from tests.measures.grammar.images import IMAGE
from tests.measures.grammar.losses import (
    cross_entropy,
    logit_penalty,
    margin_writer,
    pairwise_logistic,
    smoothed,
    squared,
)
from tests.measures.grammar.sentence import HOOKS, Fault, Network, Rule, Sentence, Step
from tests.measures.grammar.sequences import SEQUENCE
from tests.measures.grammar.vectors import VECTOR

MOST_PARAMETERS = 60
VOCABULARY = 4
LOSSES = (cross_entropy, smoothed, squared, logit_penalty, pairwise_logistic, margin_writer)
_CURVED = frozenset({"_odd_linear", "_bilinear", "_recurrent", "_attention"})
"""Rules that are never piecewise linear in each parameter."""


@dataclass(frozen=True)
class GrammarCase:
    """A sentence of the grammar.

    Attributes:
        seed: Which one.
        text: What it says.
        model: The network, float32, in training mode.
        dataset: Data that fit it.
        loss: Loss of each example.
        loss_name: Its name.
        faults: What it breaks.
        relative_rounding: How precise its numbers are, relative to their size.
    """

    seed: int
    text: str
    model: nn.Module
    dataset: Dataset
    loss: Callable[[Tensor, Tensor], Tensor]
    loss_name: str
    faults: frozenset[Fault]
    relative_rounding: float

    def __str__(self) -> str:
        return f"seed {self.seed}: {self.text}"


def grammar_case(seed: int) -> GrammarCase:
    """The sentence of a seed, with at most ``MOST_PARAMETERS`` parameters, some trainable."""
    for attempt in range(1000):
        draw = random.Random(f"{seed}/{attempt}")
        with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*weight_norm. is deprecated", FutureWarning)
            torch.manual_seed(draw.randrange(2**31))
            before = draw.getstate(), torch.get_rng_state()
            case = _Drawn(draw).case(seed)
            sizes = [p.numel() for p in case.model.parameters() if p.requires_grad]
            if 0 < sum(sizes) <= MOST_PARAMETERS and _can_train(case):
                # Once more: the first one has the marks of a pass.
                draw.setstate(before[0])
                torch.set_rng_state(before[1])
                return _Drawn(draw).case(seed)
    raise AssertionError(f"seed {seed}: no small network")


_LAST: dict[int, Step] = {2: lambda m, h: h[..., -1], 3: lambda m, h: h[:, :, -1, -1]}


def _can_train(case: GrammarCase) -> bool:
    """Whether autograd has a gradient, which some changes in place forbid."""
    x, y = case.dataset.train_x.clone(), case.dataset.train_y
    loss = case.loss(case.model(x).clone(), y).sum()
    try:
        if loss.requires_grad:
            loss.backward()
    except RuntimeError as error:
        if "modified by an inplace operation" not in str(error):
            raise
        return False
    return True


def _clamped(m: Network, x: Tensor) -> Tensor:
    x[x > 1.0] = 1.0
    return x


def _shifted_view(m: Network, x: Tensor) -> Tensor:
    x.view(-1).add_(0.25)
    return x


_INPUT_WRITERS: tuple[tuple[str, Step], ...] = (
    ("input standardized in place", lambda m, x: x.sub_(0.1).div_(1.05)),
    ("input rectified in place", lambda m, x: F.leaky_relu(x, 0.1, inplace=True)),
    ("input clamped by index", _clamped),
    ("input shifted through a view", _shifted_view),
)


@dataclass
class _Drawn(Sentence):
    """Draws a whole sentence."""

    def case(self, seed: int) -> GrammarCase:
        draw = self.draw
        self.linear = draw.random() < 0.6
        classes = draw.choice([2, 3, 3, 4])
        kind = draw.choice(["vector", "vector", "vector", "image", "sequence", "sequence", "ids"])
        n = draw.randint(5, 8)
        x = self._inputs(kind, n + 4)
        model = self._network(x, classes)
        y = torch.arange(len(x))[torch.randperm(len(x))] % classes
        dataset = Dataset(f"grammar {seed}", x[:n], y[:n], x[n:], y[n:], classes, "")
        loss = draw.choice(LOSSES)
        self.words.append(loss.__name__)
        return GrammarCase(
            seed=seed,
            text=" | ".join(self.words),
            model=model,
            dataset=dataset,
            loss=loss,
            loss_name=loss.__name__,
            faults=frozenset(self.faults),
            relative_rounding=self.rounding,
        )

    def _inputs(self, kind: str, n: int) -> Tensor:
        draw = self.draw
        self.words.append(kind)
        if kind == "vector":
            return torch.randn(n, draw.choice([2, 3, 4]))
        if kind == "image":
            return torch.randn(n, draw.choice([1, 2]), 4, 4)
        length = draw.choice([3, 4, 5])
        if kind == "sequence":
            return torch.randn(n, length, 2)
        return torch.randint(0, VOCABULARY, (n, length))

    def _network(self, x: Tensor, classes: int) -> nn.Module:
        draw, network = self.draw, self.network
        if x.is_floating_point() and draw.random() < 0.2:
            self.say(*draw.choice(_INPUT_WRITERS))
        shape = x.shape[1:]
        if not x.is_floating_point():
            embedding = self.add(nn.Embedding(VOCABULARY, 2))
            self.say("embedding", lambda m, h: m.get_submodule(embedding)(h))
            shape = (*shape, 2)
        for _ in range(draw.randint(1, 4)):
            shape = self._production(shape)
        shape = self._to_vector(shape)
        if draw.random() < 0.3:
            shape = self._production(shape)
        self._head(shape[0], classes)
        if draw.random() < 0.15:
            unused = self.add(nn.Linear(2, 2))
            self.words.append(f"unused {unused}")
        self._root_hook()
        wrap = draw.random()
        if wrap < 0.05:
            self.words.append("in a Sequential")
            return nn.Sequential(network)
        if wrap < 0.1:
            self.words.append("in DataParallel")
            return nn.DataParallel(network)
        return network

    def _production(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        rules: Sequence[Rule] = {1: VECTOR, 2: SEQUENCE, 3: IMAGE}[len(shape)]
        if self.linear and self.draw.random() < 0.8:
            rules = [rule for rule in rules if rule.__name__ not in _CURVED]
        if self.draw.random() < 0.35:
            rules = ANY  # hooks, states, casts and faults among them
        rule = self.draw.choice(rules)
        word, step, shape = rule(self, shape)
        self.say(word, step)
        return shape

    def _to_vector(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        if len(shape) == 1:
            return shape
        axis = self.draw.choice(["mean", "max", "flat", "last"])
        if axis == "mean":
            over = 1 if len(shape) == 2 else (2, 3)
            self.say("mean over positions", lambda m, h: h.mean(over))
            return (shape[1] if len(shape) == 2 else shape[0],)
        if axis == "max":
            if len(shape) == 2:
                self.say("max over time", lambda m, h: h.amax(1))
                return (shape[1],)
            self.say("max over pixels", lambda m, h: F.adaptive_max_pool2d(h, 1).flatten(1))
            return (shape[0],)
        if axis == "last":
            self.say("last position", _LAST[len(shape)])
            return (shape[0],)
        self.say("flatten", lambda m, h: h.flatten(1))
        size = 1
        for extent in shape:
            size *= extent
        return (size,)

    def _head(self, width: int, classes: int) -> None:
        chance = self.draw.random()
        if chance < 0.75:
            head = self.add(nn.Linear(width, classes, bias=self.draw.random() < 0.7))
            self.say("head", lambda m, h: m.get_submodule(head)(h))
        elif chance < 0.85:
            prototypes = self.parameter(classes, width)
            self.say("distances", lambda m, h: -torch.cdist(h, getattr(m, prototypes)))
        else:
            head, scale = self.add(nn.Linear(width, classes)), self.parameter()

            def scaled(m: Network, h: Tensor) -> Tensor:
                logits = m.get_submodule(head)(h)
                logits *= getattr(m, scale)
                return logits

            self.say("head, scaled in place by a scalar", scaled)

    def _root_hook(self) -> None:
        if self.draw.random() < 0.06:
            word, hook = self.draw.choice(HOOKS)
            if "before" not in word or self.words[0] != "ids":
                self.words.append(f"{word} on the network")
                hook(self.network)
