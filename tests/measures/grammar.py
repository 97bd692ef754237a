"""Random small networks, written in all the ways that people write them.

A whole number gives a network, data and a loss, always the same. Sentences are drawn from
productions: each maps activations of one shape to another and says in words what it is. Networks
that break what measures take for granted carry a :data:`Fault`.
"""

from __future__ import annotations

import random
import warnings
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.fx._symbolic_trace import is_fx_symbolic_tracing
from torch.nn import functional as F
from torch.nn.utils import parametrizations
from torch.utils.checkpoint import checkpoint

from orchestrator.data import Dataset

Fault = Literal["random", "mixes", "hides gradients"]
"""What only the trust checks can see: eval mode is random or has a memory, logits depend on the
other examples of a pass, or logits depend on parameters or inputs without a gradient."""

MOST_PARAMETERS = 60
VOCABULARY = 4

Step = Callable[["Network", Tensor], Tensor]


class Network(nn.Module):
    """Steps, one after the other.

    Attributes:
        low_precision: Whether casts to lower precisions are made; without them a reference has
            exact differences.
    """

    def __init__(self) -> None:
        super().__init__()
        self.steps: list[Step] = []
        self.low_precision = True

    def forward(self, x: Tensor) -> Tensor:
        for step in self.steps:
            x = step(self, x)
        return x


class Doubled(torch.autograd.Function):
    """2 x² with a right derivative of its own."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return 2 * x**2

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return 4 * x * gradient


class AlwaysTraining(nn.BatchNorm1d):
    """A batch normalization that stays in training mode."""

    def train(self, mode: bool = True) -> AlwaysTraining:
        del mode
        return super().train(True)


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
        draw = random.Random(f"{seed}/{attempt}")  # noqa: S311 (no secrets)
        with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            torch.manual_seed(draw.randrange(2**31))
            sentence = _Sentence(draw)
            case = sentence.case(seed)
        sizes = [p.numel() for p in case.model.parameters() if p.requires_grad]
        if 0 < sum(sizes) <= MOST_PARAMETERS:
            return case
    raise AssertionError(f"seed {seed}: no small network")


# Losses


def logit_penalty(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy with a price on large logits."""
    return F.cross_entropy(logits, labels, reduction="none") + 0.1 * logits.square().sum(1)


def pairwise_logistic(logits: Tensor, labels: Tensor) -> Tensor:
    """A loss that is no function of the softmax."""
    true = logits.gather(1, labels[:, None])
    return F.softplus(logits - true).sum(1)


def margin_writer(logits: Tensor, labels: Tensor) -> Tensor:
    """Writes into its logits, as losses with additive margins do."""
    logits[torch.arange(len(labels)), labels] -= 0.3
    logits.mul_(1.2)
    return F.cross_entropy(logits, labels, reduction="none")


def smoothed(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy with label smoothing."""
    return F.cross_entropy(logits, labels, reduction="none", label_smoothing=0.2)


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Plain cross-entropy."""
    return F.cross_entropy(logits, labels, reduction="none")


def squared(logits: Tensor, labels: Tensor) -> Tensor:
    """Squared distance to one-hot labels, averaged over classes."""
    return (logits - F.one_hot(labels, logits.shape[1])).square().mean(1)


LOSSES = (cross_entropy, smoothed, squared, logit_penalty, pairwise_logistic, margin_writer)


# Sentences


@dataclass
class _Sentence:
    """One sentence while it is drawn."""

    draw: random.Random
    network: Network = field(default_factory=Network)
    words: list[str] = field(default_factory=list)
    faults: set[Fault] = field(default_factory=set)
    rounding: float = 1e-5
    layers: int = 0
    linear: bool = False  # Whether it keeps to what is piecewise linear, but for single words.

    def case(self, seed: int) -> GrammarCase:
        draw = self.draw
        self.linear = draw.random() < 0.5
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
            self._say(*draw.choice(_INPUT_WRITERS))
        shape = x.shape[1:]
        if not x.is_floating_point():
            embedding = self.add(nn.Embedding(VOCABULARY, 2))
            self._say("embedding", lambda m, h: m.get_submodule(embedding)(h))
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

    def add(self, layer: nn.Module) -> str:
        """Register a layer, and give it what training would; return its name."""
        name = f"l{self.layers}"
        self.layers += 1
        for part in layer.modules():
            if isinstance(part, nn.modules.batchnorm._BatchNorm) and part.affine:
                nn.init.uniform_(part.weight, 0.5, 1.5)
                nn.init.uniform_(part.bias, -0.5, 0.5)
                nn.init.uniform_(part.running_mean, -0.5, 0.5)
                nn.init.uniform_(part.running_var, 0.5, 2.0)
        chance = self.draw.random()
        if chance < 0.05 and not isinstance(layer, nn.RNNBase):
            layer.requires_grad_(False)
            self.words.append(f"frozen {name}")
        elif chance < 0.12 and not isinstance(layer, nn.RNNBase | nn.MultiheadAttention):
            word, hook = self.draw.choice(_HOOKS)
            self.words.append(f"{word} on {name}")
            hook(layer)
        self.network.add_module(name, layer)
        return name

    def parameter(self, *shape: int) -> str:
        """Register a parameter; return its name."""
        name = f"p{self.layers}"
        self.layers += 1
        self.network.register_parameter(name, nn.Parameter(torch.randn(shape) * 0.5 + 0.8))
        return name

    def _say(self, word: str, step: Step) -> None:
        self.words.append(word)
        self.network.steps.append(step)

    def pick(self, words: Iterable[str], linear: Collection[str]) -> str:
        """One of ``words``; mostly one that keeps logits piecewise linear where that is wished."""
        among = sorted(words)
        if self.linear and self.draw.random() < 0.85:
            among = [word for word in among if word in linear]
        return self.draw.choice(among)

    def _production(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        rules: Sequence[Rule] = {1: _VECTOR, 2: _SEQUENCE, 3: _IMAGE}[len(shape)]
        if self.linear and self.draw.random() < 0.8:
            rules = [rule for rule in rules if rule in _LINEAR_RULES]
        if self.draw.random() < 0.35:
            rules = _ANY  # hooks, states, casts and faults among them
        rule = self.draw.choice(rules)
        word, step, shape = rule(self, shape)
        self._say(word, step)
        return shape

    def _to_vector(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        if len(shape) == 1:
            return shape
        axis = self.draw.choice(["mean", "max", "flat", "last"])
        if axis == "mean":
            over = 1 if len(shape) == 2 else (2, 3)
            self._say("mean over positions", lambda m, h: h.mean(over))
            return (shape[1] if len(shape) == 2 else shape[0],)
        if axis == "max":
            if len(shape) == 2:
                self._say("max over time", lambda m, h: h.amax(1))
                return (shape[1],)
            self._say("max over pixels", lambda m, h: F.adaptive_max_pool2d(h, 1).flatten(1))
            return (shape[0],)
        if axis == "last":
            self._say("last position", lambda m, h: h[..., -1] if h.ndim == 3 else h[:, :, -1, -1])
            return (shape[0],)
        self._say("flatten", lambda m, h: h.flatten(1))
        size = 1
        for extent in shape:
            size *= extent
        return (size,)

    def _head(self, width: int, classes: int) -> None:
        chance = self.draw.random()
        if chance < 0.75:
            head = self.add(nn.Linear(width, classes, bias=self.draw.random() < 0.7))
            self._say("head", lambda m, h: m.get_submodule(head)(h))
        elif chance < 0.85:
            prototypes = self.parameter(classes, width)
            self._say("distances", lambda m, h: -torch.cdist(h, getattr(m, prototypes)))
        else:
            head, scale = self.add(nn.Linear(width, classes)), self.parameter()

            def scaled(m: Network, h: Tensor) -> Tensor:
                logits = m.get_submodule(head)(h)
                logits *= getattr(m, scale)
                return logits

            self._say("head, scaled in place by a scalar", scaled)

    def _root_hook(self) -> None:
        if self.draw.random() < 0.06:
            word, hook = self.draw.choice(_HOOKS)
            if "before" not in word or self.words[0] != "ids":
                self.words.append(f"{word} on the network")
                hook(self.network)


Rule = Callable[[_Sentence, tuple[int, ...]], tuple[str, Step, tuple[int, ...]]]


def _hook_twice(layer: nn.Module) -> None:
    layer.register_forward_hook(lambda module, args, output: output * output.sigmoid())


def _hook_scale(layer: nn.Module) -> None:
    layer.register_forward_hook(lambda module, args, output: 1.5 * output)


def _hook_watch(layer: nn.Module) -> None:
    layer.register_forward_hook(lambda module, args, output: None)


def _hook_write(layer: nn.Module) -> None:
    def write(module: nn.Module, args: Any, output: Tensor) -> None:
        output.mul_(0.7)

    layer.register_forward_hook(write)


def _hook_before(layer: nn.Module) -> None:
    def change(module: nn.Module, args: tuple[Tensor, ...]) -> Any:
        real = args[0].is_floating_point()
        return (args[0] * 0.5 + 0.1, *args[1:]) if real else None

    layer.register_forward_pre_hook(change)


_HOOKS: tuple[tuple[str, Callable[[nn.Module], None]], ...] = (
    ("hook x σ(x)", _hook_twice),
    ("hook 1.5 x", _hook_scale),
    ("hook that watches", _hook_watch),
    ("hook in place", _hook_write),
    ("hook before", _hook_before),
)


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


# Rules for any shape, whose last axis is the features' unless it is an image.

_ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "ReLU": nn.ReLU,
    "ReLU in place": lambda: nn.ReLU(inplace=True),
    "LeakyReLU": lambda: nn.LeakyReLU(0.2),
    "Tanh": nn.Tanh,
    "GELU": nn.GELU,
    "SiLU": nn.SiLU,
    "ELU in place": lambda: nn.ELU(inplace=True),
    "Hardswish": nn.Hardswish,
    "Hardtanh": nn.Hardtanh,
    "Softplus": nn.Softplus,
    "Sigmoid": nn.Sigmoid,
    "Hardsigmoid": nn.Hardsigmoid,
    "Mish": nn.Mish,
    "PReLU": nn.PReLU,
    "Softmax": lambda: nn.Softmax(-1),
    "Dropout": nn.Dropout,
    "Identity": nn.Identity,
}

_LINEAR_ACTIVATIONS = frozenset(
    {"ReLU", "ReLU in place", "LeakyReLU", "Hardtanh", "PReLU", "Dropout", "Identity"}
)
_LINEAR_FUNCTIONS = frozenset(
    {
        "relu_", "abs", "cumsum", "sort", "relu of a copy", "dropout in eval", "fft", "where",
        "only if a tensor", "linear if traced", "written through a view",
    }
)  # fmt: skip
_LINEAR_USES = frozenset(
    {
        "scaled by a parameter", "shifted by a parameter", "shifted in place",
        "scaled by a sum", "thresholded by a parameter", "a constant written by a parameter",
        "a constant written by a parameter, used twice", "made of a parameter, changed between uses",
        "one feature scaled in place", "a constant that requires grad",
        "a constant multiplied in a loop", "weight used outside", "only outside", "residual",
        "residual in place", "weight minus its mean", "half of the layer", "layer under two names",
        "tied weights", "decoder of the encoder", "experts, one example at a time",
        "experts, by masks", "experts, both",
    }
)  # fmt: skip
"""Those that are, and those that look like it: a proof must tell them apart."""


def _activation(s: _Sentence, shape: tuple[int, ...]) -> Any:
    word = s.pick(_ACTIVATIONS, _LINEAR_ACTIVATIONS)
    name = s.add(_ACTIVATIONS[word]())
    # In place on the input itself, where it is the first step: networks may do that.
    return word, lambda m, h: m.get_submodule(name)(h), shape


def _function(s: _Sentence, shape: tuple[int, ...]) -> Any:
    functions: dict[str, Step] = {
        "relu_": lambda m, h: (h * 1).relu_(),
        "square": lambda m, h: h.square(),
        "doubled": lambda m, h: Doubled.apply(h),
        "abs": lambda m, h: h.abs(),
        "cumsum": lambda m, h: h.cumsum(-1),
        "sort": lambda m, h: h.sort(-1).values,
        "normalize": lambda m, h: F.normalize(h, dim=-1, eps=1e-3),
        "h times its gate": lambda m, h: h * h.flip(-1).sigmoid(),
        "relu of a copy": lambda m, h: h.clone().clamp_(min=0) - 0.1 * h,
        "dropout in eval": lambda m, h: F.dropout(h, 0.3, training=m.training),
        "fft": lambda m, h: torch.fft.fft(h, dim=-1).real + torch.fft.fft(h, dim=-1).imag,
        "modulus of fft": lambda m, h: (torch.fft.fft(h, dim=-1).abs() + 0.1).log(),
        "through complex": lambda m, h: torch.view_as_real(torch.complex(h, h.tanh())).sum(-1),
        "where": lambda m, h: torch.where(h > 0.1, h, 0.3 * h),
        "branch of an example": lambda m, h: torch.where(
            h.flatten(1).sum(1).view(-1, *[1] * (h.ndim - 1)) > 0, h.tanh(), 0.5 * h
        ),
        "only if a tensor": lambda m, h: h.tanh() if isinstance(h, Tensor) else h,
        "linear if traced": lambda m, h: 2 * h if is_fx_symbolic_tracing() else h.sigmoid(),
        "written through a view": _write_view,
        "written by index": _write_index,
        "checkpointed": lambda m, h: checkpoint(torch.tanh, h, use_reentrant=False),
    }  # fmt: skip
    word = s.pick(functions, _LINEAR_FUNCTIONS)
    return word, functions[word], shape


def _write_view(m: Network, h: Tensor) -> Tensor:
    h = h + 0.0
    h.transpose(0, -1)[0].mul_(1.5)
    return h


def _write_index(m: Network, h: Tensor) -> Tensor:
    h = h + 0.0
    h[..., 0] = h[..., -1].clone().sin()
    return h


def _features(shape: tuple[int, ...]) -> int:
    return shape[-1]


def _with_parameter(s: _Sentence, shape: tuple[int, ...]) -> Any:
    p = s.parameter(_features(shape))

    def get(m: Network) -> Tensor:
        return getattr(m, p)

    def constant(m: Network, h: Tensor) -> Tensor:
        c = h.new_ones(h.shape[-1])
        c.mul_(get(m))
        return h * c

    def constant_twice(m: Network, h: Tensor) -> Tensor:
        c = h.new_zeros(h.shape[-1])
        c += get(m)
        return h * c + c * c

    def changed_between(m: Network, h: Tensor) -> Tensor:
        c = get(m) * 1.0
        h = h + c
        c.mul_(2.0)
        return h * c

    def by_index(m: Network, h: Tensor) -> Tensor:
        h = h + 0.0
        h[..., 0] *= get(m)[0]
        return h

    def cumulated(m: Network, h: Tensor) -> Tensor:
        c = h.new_full((h.shape[-1],), 0.5, requires_grad=True)
        return h * (c + get(m))

    def looped(m: Network, h: Tensor) -> Tensor:
        c = h.new_ones(h.shape[-1])
        for _ in range(2):
            c.mul_(get(m))
        return h + c

    uses: dict[str, Step] = {
        "scaled by a parameter": lambda m, h: h * get(m),
        "shifted by a parameter": lambda m, h: h + get(m),
        "shifted in place": lambda m, h: (h * 1).add_(get(m)),
        "scaled twice by a parameter": lambda m, h: (h * get(m)).tanh() * get(m),
        "scaled by a parameter times itself": lambda m, h: h * (get(m) * get(m)),
        "scaled by an exponential": lambda m, h: h * get(m).exp(),
        "divided by a parameter": lambda m, h: h / (1 + get(m) ** 2),
        "scaled by a sum": lambda m, h: h * get(m).sum(),
        "in a power": lambda m, h: h.abs().add(0.1) ** get(m),
        "thresholded by a parameter": lambda m, h: torch.maximum(h, get(m) - 1),
        "a constant written by a parameter": constant,
        "a constant written by a parameter, used twice": constant_twice,
        "made of a parameter, changed between uses": changed_between,
        "one feature scaled in place": by_index,
        "a constant that requires grad": cumulated,
        "a constant multiplied in a loop": looped,
    }
    word = s.pick(uses, _LINEAR_USES)
    return word, uses[word], shape


def _scalar(s: _Sentence, shape: tuple[int, ...]) -> Any:
    p = s.parameter()
    return "scaled by a scalar", lambda m, h: h * getattr(m, p), shape


def _state(s: _Sentence, shape: tuple[int, ...]) -> Any:
    s.network.register_buffer("calls", torch.zeros((), dtype=torch.int64))
    s.network.register_buffer("offset", torch.full((1,), 0.3))

    def counts(m: Network, h: Tensor) -> Tensor:
        m.calls += 1
        return h

    def remembers(m: Network, h: Tensor) -> Tensor:
        m.offset += 0.1
        return h + m.offset

    def refills(m: Network, h: Tensor) -> Tensor:
        m.offset.fill_(0.5)
        return h * m.offset

    step = s.draw.choice([counts, refills, remembers])
    if step is remembers:
        s.faults.add("random")
    return f"buffer that {step.__name__}", step, shape


def _cast(s: _Sentence, shape: tuple[int, ...]) -> Any:
    dtype, rounding = s.draw.choice(
        [(torch.float32, 1e-4), (torch.float32, 1e-4), (torch.bfloat16, 0.2)]
    )
    s.rounding = max(s.rounding, rounding)

    def cast(m: Network, h: Tensor) -> Tensor:
        return h.to(dtype).tanh().to(h.dtype) if m.low_precision else h.tanh()

    return f"tanh in {dtype}", cast, shape


def _fault(s: _Sentence, shape: tuple[int, ...]) -> Any:
    def branch(m: Network, h: Tensor) -> Tensor:
        return h.tanh() if h.mean() > 0 else 0.5 * h

    def without(m: Network, h: Tensor) -> Tensor:
        with torch.no_grad():
            return h.tanh()

    faults: dict[str, tuple[Fault, Step]] = {
        "dropout without training=": ("random", lambda m, h: F.dropout(h, 0.4)),
        "noise": ("random", lambda m, h: h + 0.1 * torch.randn_like(h)),
        "minus the mean over the batch": ("mixes", lambda m, h: h - h.mean(0, keepdim=True)),
        "maximum over the batch": ("mixes", lambda m, h: h - 0.1 * h.amax(0, keepdim=True)),
        "softmax over the batch": ("mixes", lambda m, h: h * h.softmax(0)),
        "branch of the batch": ("mixes", branch),
        "branch of the number": ("mixes", lambda m, h: h.tanh() if len(h) > 2 else h),
        "number of the examples": ("mixes", lambda m, h: h / len(h)),
        "neighbors": ("mixes", lambda m, h: h + 0.3 * h.roll(1, 0)),
        "without gradients": ("hides gradients", without),
        "detached": ("hides gradients", lambda m, h: h * h.detach().sigmoid()),
        "through data": ("hides gradients", lambda m, h: h + h.data.tanh()),
        "rounded": ("hides gradients", lambda m, h: h + (h.round() - h).detach()),
    }
    word = s.draw.choice(list(faults))
    fault, step = faults[word]
    s.faults.add(fault)
    return word, step, shape


def _often(*rules: tuple[Rule, int]) -> tuple[Rule, ...]:
    return tuple(rule for rule, weight in rules for _ in range(weight))


_ANY: tuple[Rule, ...] = _often(
    (_activation, 4), (_function, 4), (_with_parameter, 4), (_scalar, 1), (_state, 1), (_cast, 1),
    (_fault, 1),
)  # fmt: skip


# Rules for vectors


def _linear(s: _Sentence, shape: tuple[int, ...]) -> Any:
    width = s.draw.choice([2, 3, 4])
    layer = s.add(nn.Linear(shape[-1], width, bias=s.draw.random() < 0.7))
    return "linear", lambda m, h: m.get_submodule(layer)(h), (*shape[:-1], width)


def _odd_linear(s: _Sentence, shape: tuple[int, ...]) -> Any:
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


def _shared(s: _Sentence, shape: tuple[int, ...]) -> Any:
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
        "half of the layer": lambda m, h: F.linear(h, torch.cat([get(m).weight[:1], get(m).weight[1:] * 2])),
    }  # fmt: skip
    word = s.pick(uses, _LINEAR_USES)
    if word == "layer under two names":
        s.network.add_module(again, get(s.network))
    if word == "tied weights":
        other = nn.Linear(d, d)
        other.weight = get(s.network).weight
        s.network.add_module(again, other)
    return f"{word} ({act.__name__})", uses[word], shape


def _bilinear(s: _Sentence, shape: tuple[int, ...]) -> Any:
    layer = s.add(nn.Bilinear(shape[0], shape[0], 2))
    if s.draw.random() < 0.5:
        return "bilinear of itself", lambda m, h: m.get_submodule(layer)(h, h), (2,)
    return "bilinear", lambda m, h: m.get_submodule(layer)(h.tanh(), h), (2,)


def _vector_norm(s: _Sentence, shape: tuple[int, ...]) -> Any:
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


def _experts(s: _Sentence, shape: tuple[int, ...]) -> Any:
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
        "product of two layers": lambda m, h: m.get_submodule(first)(h) * m.get_submodule(second)(h),
    }  # fmt: skip
    word = s.pick(uses, _LINEAR_USES)
    return word, uses[word], shape


_VECTOR = _often(
    (_linear, 6), (_odd_linear, 2), (_shared, 4), (_bilinear, 1), (_vector_norm, 2), (_experts, 1),
    (_activation, 3),
)  # fmt: skip


# Rules for sequences (n, length, features)


def _recurrent(s: _Sentence, shape: tuple[int, ...]) -> Any:
    kind = s.draw.choice([nn.GRU, nn.LSTM, nn.RNN])
    batch_first = s.draw.random() < 0.5
    layer = s.add(kind(shape[1], 2, batch_first=batch_first, bias=s.draw.random() < 0.5))
    word = f"{kind.__name__}, {'batch' if batch_first else 'time'} first"
    if batch_first:
        return word, lambda m, h: m.get_submodule(layer)(h)[0], (shape[0], 2)
    if s.draw.random() < 0.1:
        s.faults.add("mixes")
        return f"{word}, by mistake", lambda m, h: m.get_submodule(layer)(h)[0], (shape[0], 2)
    return (
        word,
        lambda m, h: m.get_submodule(layer)(h.transpose(0, 1))[0].transpose(0, 1),
        (shape[0], 2),
    )


def _attention(s: _Sentence, shape: tuple[int, ...]) -> Any:
    d = shape[1]
    word = s.draw.choice(["multihead", "multihead, time first", "scaled dot product", "causal"])
    if word.startswith("multihead"):
        first = word == "multihead"
        layer = s.add(nn.MultiheadAttention(d, 1, batch_first=first, bias=False))

        def attend(m: Network, h: Tensor) -> Tensor:
            tokens = h if first else h.transpose(0, 1)
            found = m.get_submodule(layer)(tokens, tokens, tokens, need_weights=False)[0]
            return found if first else found.transpose(0, 1)

        return word, attend, shape
    layer = s.add(nn.Linear(d, d))
    causal = word == "causal"
    return (
        word,
        lambda m, h: F.scaled_dot_product_attention(h, m.get_submodule(layer)(h), h, is_causal=causal),
        shape,
    )  # fmt: skip


def _convolution_1d(s: _Sentence, shape: tuple[int, ...]) -> Any:
    width = min(3, shape[0])
    padding = s.draw.choice(["same", "valid"]) if width == 3 else "valid"
    layer = s.add(nn.Conv1d(shape[1], 2, width, padding=padding))
    length = shape[0] if padding == "same" else shape[0] - width + 1
    return (
        f"Conv1d, {padding}",
        lambda m, h: m.get_submodule(layer)(h.transpose(1, 2)).transpose(1, 2),
        (length, 2),
    )


def _over_time(s: _Sentence, shape: tuple[int, ...]) -> Any:
    d = shape[1]
    norm = s.add(nn.LayerNorm(d))
    uses: dict[str, tuple[Step, tuple[int, ...]]] = {
        "mean over time": (lambda m, h: h.mean(1), (d,)),
        "max over time": (lambda m, h: h.amax(1), (d,)),
        "log-sum-exp over time": (lambda m, h: h.logsumexp(1), (d,)),
        "LayerNorm": (lambda m, h: m.get_submodule(norm)(h), shape),
        "time first, linear in time": (
            lambda m, h: m.get_submodule(norm)(h.transpose(0, 1)).transpose(0, 1), shape
        ),
        "pooled by AvgPool1d": (
            lambda m, h: F.avg_pool1d(h.transpose(1, 2), 2, 1).transpose(1, 2), (shape[0] - 1, d)
        ),
        "folded into the batch": (
            lambda m, h: m.get_submodule(norm)(h.reshape(-1, d)).tanh().view_as(h), shape
        ),
    }  # fmt: skip
    word = s.draw.choice([w for w in uses if shape[0] > 1 or "Pool" not in w])
    return word, *uses[word]


_SEQUENCE = _often(
    (_recurrent, 3), (_attention, 3), (_convolution_1d, 2), (_over_time, 3), (_linear, 2),
    (_activation, 1),
)  # fmt: skip


# Rules for images (n, channels, height, width)


def _convolution(s: _Sentence, shape: tuple[int, ...]) -> Any:
    if min(shape[1:]) < 2:
        return _activation(s, shape)
    out = s.draw.choice([1, 2])
    mode = s.draw.choice(["zeros", "zeros", "circular", "reflect"])
    padding = s.draw.choice([0, 0, 1])
    conv = nn.Conv2d(
        shape[0], out, 2, stride=s.draw.choice([1, 2]), padding=padding, padding_mode=mode
    )
    with torch.no_grad():
        after = tuple(conv(torch.zeros(1, *shape)).shape[1:])
    if s.draw.random() < 0.15:
        conv = parametrizations.weight_norm(conv)
        mode += ", weight_norm"
    layer = s.add(conv)
    return f"Conv2d ({mode})", lambda m, h: m.get_submodule(layer)(h), after


def _image_layer(s: _Sentence, shape: tuple[int, ...]) -> Any:
    c = shape[0]
    kinds: dict[str, Callable[[], nn.Module]] = {
        "BatchNorm2d": lambda: nn.BatchNorm2d(c),
        "GroupNorm": lambda: nn.GroupNorm(1, c),
        "InstanceNorm2d": lambda: nn.InstanceNorm2d(c, affine=True),
        "PReLU of channels": lambda: nn.PReLU(c),
        "Dropout2d": lambda: nn.Dropout2d(),
        "AdaptiveAvgPool2d": lambda: nn.AdaptiveAvgPool2d(2),
        "MaxPool2d": lambda: nn.MaxPool2d(2, 1),
        "AvgPool2d": lambda: nn.AvgPool2d(2, 1),
        "Upsample": lambda: nn.Upsample(size=(3, 3), mode="bilinear"),
        "1 × 1": lambda: nn.Conv2d(c, 2, 1),
    }
    small = min(shape[1:]) < 2
    word = s.draw.choice([w for w in kinds if not small or "Pool" not in w and "Inst" not in w])
    built = kinds[word]().eval()
    with torch.no_grad():
        after = tuple(built(torch.zeros(2, *shape)).shape[1:])
    layer = s.add(built.train())
    return word, lambda m, h: m.get_submodule(layer)(h), after


def _flatten(s: _Sentence, shape: tuple[int, ...]) -> Any:
    kept = shape[0]
    return "sum over pixels", lambda m, h: h.sum((-2, -1)), (kept,)


_IMAGE = _often((_convolution, 5), (_image_layer, 4), (_activation, 2), (_flatten, 1))

_LINEAR_RULES = frozenset(
    {_linear, _shared, _vector_norm, _experts, _activation, _convolution, _convolution_1d,
     _over_time, _image_layer, _flatten}
)  # fmt: skip
