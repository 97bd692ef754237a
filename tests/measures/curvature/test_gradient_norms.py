import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from orchestrator.measures.curvature.gradient_norms import AffineNorms, ScaleNorms, patches
from tests.measures.cases import randomize_batch_norm

N = 3


def check(accumulator_class, module, inputs, *, signed=True):
    """Compare with the gradients themselves, one example and one scalar at a time."""
    module = module.double().eval()
    outputs = module(inputs)
    generator = torch.Generator().manual_seed(1)
    deltas = [torch.randn(outputs.shape, generator=generator).double() for _ in range(2)]
    signs = [None, torch.tensor([1.0, -1.0, 0.0]).double() if signed else None]
    accumulator = accumulator_class(module, inputs)
    expected = {name: torch.zeros(N).double() for name, _ in module.named_parameters()}
    for delta, sign in zip(deltas, signs, strict=True):
        accumulator.add(delta, sign)
        for i in range(N):
            scalar = (module(inputs[i : i + 1]) * delta[i : i + 1]).sum()
            gradients = torch.autograd.grad(scalar, list(module.parameters()))
            for name, gradient in zip(expected, gradients, strict=True):
                factor = 1.0 if sign is None else sign[i]
                expected[name][i] += factor * gradient.square().sum()
    found = accumulator.squared_norms()
    for name, values in expected.items():
        torch.testing.assert_close(found[name], values, rtol=1e-12, atol=1e-12)
    return accumulator


def inputs_of(*shape):
    return torch.randn(N, *shape, generator=torch.Generator().manual_seed(0)).double()


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("positions", [(), (1,), (2,), (9,), (2, 3)])
def test_norms_of_linear_layers_equal_autograd(positions, bias):
    check(AffineNorms, nn.Linear(4, 5, bias=bias), inputs_of(*positions, 4))


@pytest.mark.parametrize(
    ("module", "shape"),
    [
        (nn.Conv1d(2, 3, 3), (2, 9)),
        (nn.Conv1d(2, 3, 3, stride=2, padding=1, dilation=2), (2, 9)),
        (nn.Conv1d(2, 4, 2, groups=2, padding="same"), (2, 6)),
        (nn.Conv2d(1, 2, 3, padding=1), (1, 6, 6)),
        (nn.Conv2d(8, 2, 3), (8, 4, 4)),  # fewer positions than weights: by Gram matrices
        (nn.Conv2d(2, 2, 3, bias=False), (2, 3, 3)),  # a single position
        (nn.Conv2d(4, 6, (3, 2), stride=(1, 2), padding=(2, 0), groups=2), (4, 5, 6)),
        (nn.Conv2d(3, 3, 3, groups=3, dilation=(2, 1), padding="same"), (3, 6, 5)),
        (nn.Conv2d(2, 3, 2, padding="valid"), (2, 4, 4)),
        (nn.Conv2d(2, 3, 3, padding=1, padding_mode="circular"), (2, 4, 5)),
        (nn.Conv2d(2, 3, 3, padding=(2, 1), padding_mode="reflect"), (2, 4, 5)),
        (nn.Conv2d(2, 3, 3, padding=1, padding_mode="replicate"), (2, 4, 5)),
        (nn.Conv3d(1, 2, (1, 2, 3), stride=(1, 2, 1), padding=(0, 1, 1)), (1, 3, 4, 4)),
    ],
    ids=lambda value: str(value)[:60],
)
@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel:UserWarning")
def test_norms_of_convolutions_equal_autograd(module, shape):
    check(AffineNorms, module, inputs_of(*shape))


def test_convolutions_use_the_cheaper_of_two_ways():
    ways = {
        check(AffineNorms, nn.Conv2d(channels, 2, 3), inputs_of(channels, 5, 5)).by_gram
        for channels in (1, 4)
    }
    assert ways == {True, False}


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_norms_of_random_convolutions_equal_autograd(data):
    draw = data.draw
    axes = draw(st.integers(1, 2))
    groups = draw(st.integers(1, 2))
    sizes = [draw(st.integers(1, 6)) for _ in range(axes)]
    kernel = [draw(st.integers(1, 3)) for _ in range(axes)]
    stride = [draw(st.integers(1, 3)) for _ in range(axes)]
    dilation = [draw(st.integers(1, 2)) for _ in range(axes)]
    padding = [draw(st.integers(0, 2)) for _ in range(axes)]
    reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True)]
    assume(all(s + 2 * p >= r for s, p, r in zip(sizes, padding, reach, strict=True)))
    module = (nn.Conv1d, nn.Conv2d)[axes - 1](
        2 * groups,
        3 * groups,
        tuple(kernel),
        stride=tuple(stride),
        padding=tuple(padding),
        dilation=tuple(dilation),
        groups=groups,
        bias=draw(st.booleans()),
    )
    check(AffineNorms, module, inputs_of(2 * groups, *sizes))


def test_patches_equal_those_of_unfold():
    module = nn.Conv2d(3, 2, (3, 2), stride=(2, 1), padding=(1, 2), dilation=(1, 2))
    inputs = inputs_of(3, 7, 6)
    expected = F.unfold(inputs, (3, 2), dilation=(1, 2), padding=(1, 2), stride=(2, 1))
    assert torch.equal(patches(module, inputs)[:, 0], expected)


@pytest.mark.parametrize(
    ("module", "shape"),
    [
        (nn.BatchNorm1d(4), (4,)),
        (nn.BatchNorm1d(4), (4, 5)),
        (nn.BatchNorm2d(3), (3, 4, 2)),
        (nn.BatchNorm3d(2, eps=0.1), (2, 2, 3, 2)),
    ],
)
def test_norms_of_batch_normalization_equal_autograd(module, shape):
    check(ScaleNorms, randomize_batch_norm(module), inputs_of(*shape))


def test_norms_of_linear_layers_on_vectors_equal_the_closed_form():
    inputs, delta = inputs_of(4), inputs_of(6)
    accumulator = AffineNorms(nn.Linear(4, 6).double(), inputs)
    accumulator.add(delta, None)
    norms = accumulator.squared_norms()
    expected = delta.square().sum(1) * (inputs.square().sum(1) + 1)
    torch.testing.assert_close(norms["weight"] + norms["bias"], expected)
