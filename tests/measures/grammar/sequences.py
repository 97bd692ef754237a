"""Rules for sequences: activations ``(n, length, features)``."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from tests.measures.grammar.any_shape import activation
from tests.measures.grammar.sentence import Network, Sentence, Step, often
from tests.measures.grammar.vectors import linear


def _recurrent(s: Sentence, shape: tuple[int, ...]) -> Any:
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


def _attention(s: Sentence, shape: tuple[int, ...]) -> Any:
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
        lambda m, h: F.scaled_dot_product_attention(
            h, m.get_submodule(layer)(h), h, is_causal=causal
        ),
        shape,
    )


def _convolution_1d(s: Sentence, shape: tuple[int, ...]) -> Any:
    width = min(3, shape[0])
    padding = s.draw.choice(["same", "valid"]) if width == 3 else "valid"
    layer = s.add(nn.Conv1d(shape[1], 2, width, padding=padding))
    length = shape[0] if padding == "same" else shape[0] - width + 1
    return (
        f"Conv1d, {padding}",
        lambda m, h: m.get_submodule(layer)(h.transpose(1, 2)).transpose(1, 2),
        (length, 2),
    )


def _over_time(s: Sentence, shape: tuple[int, ...]) -> Any:
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


SEQUENCE = often(
    (_recurrent, 3), (_attention, 3), (_convolution_1d, 2), (_over_time, 3), (linear, 2),
    (activation, 1),
)  # fmt: skip
