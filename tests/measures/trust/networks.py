"""Networks that keep what measures take for granted, and networks that break one thing each."""

import random

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils.parametrizations import weight_norm

from tests.measures.cases import cnn, mlp


class Made(nn.Module):
    """A network from a function and its parts."""

    def __init__(self, function, **parts):
        super().__init__()
        self.function = function
        for name, part in parts.items():
            setattr(self, name, part)

    def forward(self, x):
        return self.function(self, x)


def two_layers():
    return {"a": nn.Linear(5, 6), "b": nn.Linear(6, 3)}


def zero_head():
    """As networks are often initialized: a last layer of zeros, which hides all before it."""
    model = mlp(5, 6, 3)
    nn.init.zeros_(model[-1].weight)
    return model


def zero_biases():
    model = cnn()
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):
            nn.init.zeros_(parameter)
    return model


class Recurrent(nn.Module):
    def __init__(self, kind):
        super().__init__()
        self.r, self.o = kind(3, 4, batch_first=True), nn.Linear(4, 3)

    def forward(self, x):
        return self.o(self.r(x)[0][:, -1])


class SelfAttention(nn.Module):
    """Written out: the fused kernel of a CPU has no second derivative."""

    def __init__(self):
        super().__init__()
        self.qkv, self.o = nn.Linear(3, 12), nn.Linear(4, 3)

    def forward(self, x):
        q, k, v = self.qkv(x).chunk(3, dim=-1)
        weights = (q @ k.transpose(1, 2) / 2).softmax(dim=-1)
        return self.o((weights @ v).mean(dim=1))


HONEST = {
    "mlp": (lambda: mlp(5, 6, 3), (5,)),
    "tanh": (lambda: mlp(5, 6, 3, activation=nn.Tanh), (5,)),
    "zero_head": (zero_head, (5,)),
    "cnn_on_blank_images": (zero_biases, (1, 6, 6)),
    "batch_norm": (lambda: nn.Sequential(nn.Linear(5, 6), nn.BatchNorm1d(6), mlp(6, 6, 3)), (5,)),
    "group_norm": (lambda: nn.Sequential(nn.Linear(5, 6), nn.GroupNorm(2, 6), mlp(6, 6, 3)), (5,)),
    "weight_norm": (
        lambda: nn.Sequential(weight_norm(nn.Linear(5, 6)), nn.ReLU(), nn.Linear(6, 3)),
        (5,),
    ),
    "layer_norm": (lambda: nn.Sequential(nn.LayerNorm(5), mlp(5, 6, 3)), (5,)),
    "dropout": (lambda: nn.Sequential(nn.Linear(5, 9), nn.Dropout(0.5), nn.Linear(9, 3)), (5,)),
    "lstm": (lambda: Recurrent(nn.LSTM), (4, 3)),
    "gru": (lambda: Recurrent(nn.GRU), (4, 3)),
    "attention": (SelfAttention, (4, 3)),
    "max_pool": (lambda: nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.MaxPool2d(4), nn.Flatten(),
                                       nn.Linear(4, 3)), (1, 6, 6)),
    "scaled_up": (lambda: nn.Sequential(mlp(5, 6, 3), Made(lambda s, x: 1e4 * x)), (5,)),
    "frozen_start": (lambda: _frozen(mlp(5, 6, 3)), (5,)),
}  # fmt: skip


def _frozen(model):
    model[0].requires_grad_(False)
    return model


def _drawing(draw):
    return lambda: Made(lambda s, x: s.b(F.relu(s.a(x)) * draw(x)), **two_layers())


class _Counting(nn.Module):
    """Gives other logits with each pass."""

    def __init__(self):
        super().__init__()
        self.o, self.passes = nn.Linear(5, 3), 0

    def forward(self, x):
        self.passes += 1
        return self.o(x) * self.passes


def _lambda(function, **more):
    return lambda: Made(function, **two_layers(), **more)


class _Halved(torch.autograd.Function):
    """A backward pass that is not that of the forward pass."""

    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, gradient):
        return 0.5 * gradient


class _Squared(torch.autograd.Function):
    """Right at the first derivative, wrong at the second."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * x

    @staticmethod
    def backward(ctx, gradient):
        (x,) = ctx.saved_tensors
        return 2 * x.detach() * gradient


def _no_grad_features(s, x):
    with torch.no_grad():
        h = F.relu(s.a(x))
    return s.b(h)


REPEATABLE = {
    "functional_dropout": _lambda(lambda s, x: s.b(F.dropout(F.relu(s.a(x)), 0.5))),
    "torch_noise": _drawing(lambda x: 1 + 1e-6 * torch.randn_like(x[:, :1])),
    "python_noise": _drawing(lambda x: 1 + random.random()),
    "counts_its_passes": _Counting,
}
SEPARATE = {
    "centred_by_the_batch": _lambda(lambda s, x: s.b(F.relu(s.a(x - x.mean(0))))),
    "slightly": _lambda(lambda s, x: s.b(F.relu(s.a(x))) + 1e-4 * x.mean()),
    "batch_statistics": lambda: nn.Sequential(
        nn.Linear(5, 6), nn.BatchNorm1d(6, track_running_stats=False), mlp(6, 6, 3)
    ),
    "attends_over_examples": _lambda(lambda s, x: s.b((s.a(x) @ s.a(x).T).softmax(1) @ s.a(x))),
    "shifted": _lambda(lambda s, x: s.b(F.relu(s.a(x)).roll(1, 0))),
    "branches_on_an_average": _lambda(
        lambda s, x: s.b(s.a(x).relu() if x.mean() > 0.3 else s.a(x))
    ),
    "branches_on_an_extreme": _lambda(lambda s, x: s.b(s.a(x).relu() if x.max() > 2.2 else s.a(x))),
    "by_its_size": _lambda(lambda s, x: s.b(F.relu(s.a(x))) / len(x)),
}
PARAMETERS = {
    "no_grad_features": _lambda(_no_grad_features),
    "detached_gate": _lambda(lambda s, x: s.b((h := s.a(x)) * torch.sigmoid(h).detach())),
    "wrong_backward": _lambda(lambda s, x: s.b(_Halved.apply(s.a(x)))),
    "straight_through": _lambda(lambda s, x: s.b((h := s.a(x)) + (h.sign() - h).detach())),
}
INPUTS = {
    "detached_input": _lambda(lambda s, x: s.b(F.relu(s.a(x.detach())))),
    "detached_for_some": _lambda(
        lambda s, x: s.b(F.relu(s.a(torch.where(x[:, :1] > 1.0, x.detach(), x))))
    ),
    "rounded_input": _lambda(lambda s, x: s.b(F.relu(s.a(x.mul(20).round())))),
    "embedded": lambda: Made(
        lambda s, x: s.b(s.e(x.mul(3).long().clamp(-9, 9) + 9).sum(1)),
        e=nn.Embedding(19, 6), b=nn.Linear(6, 3),
    ),
}  # fmt: skip
SECOND = {
    "wrong_second": _lambda(lambda s, x: s.b(_Squared.apply(s.a(x)))),
}
