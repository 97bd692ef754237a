from __future__ import annotations

from math import isnan, nan

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call, jacrev

from orchestrator.errors import MeasureError
from orchestrator.measures.norms.operator_norm import (
    TOLERANCE,
    convolution_norm,
    matrix_norm,
    operator_norm,
)

CPU = torch.device("cpu")


def seeded(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def dense(module: nn.Module, shape: tuple[int, ...]) -> Tensor:
    """The matrix of the layer's linear part."""
    module = module.double()
    weight = {"weight": module.weight.detach()}
    if module.bias is not None:
        weight["bias"] = torch.zeros_like(module.bias)
    zero = torch.zeros(shape, dtype=torch.float64)
    image = functional_call(module, weight, (zero[None],))
    jacobian = jacrev(lambda x: functional_call(module, weight, (x[None],)))(zero)
    return jacobian.reshape(image.numel(), zero.numel())


CONVOLUTIONS = {
    "padded": (lambda: nn.Conv2d(2, 3, 3, padding=1), (2, 6, 6)),
    "circular": (lambda: nn.Conv2d(2, 3, 3, padding=1, padding_mode="circular"), (2, 6, 5)),
    "reflected": (lambda: nn.Conv2d(1, 2, 3, padding=1, padding_mode="reflect"), (1, 5, 5)),
    "strided": (lambda: nn.Conv2d(2, 3, 3, stride=2, bias=False), (2, 7, 7)),
    "dilated_grouped": (lambda: nn.Conv2d(4, 4, 2, dilation=2, groups=2), (4, 6, 6)),
    "depthwise": (lambda: nn.Conv2d(4, 4, 3, groups=4, padding="same"), (4, 5, 5)),
    "signal": (lambda: nn.Conv1d(2, 4, 5, padding=2), (2, 9)),
    "volume": (lambda: nn.Conv3d(1, 2, 2), (1, 4, 4, 4)),
    "transposed": (lambda: nn.ConvTranspose2d(3, 2, 3, stride=2), (3, 4, 4)),
}


@pytest.mark.parametrize("name", CONVOLUTIONS)
@pytest.mark.parametrize("seed", [0, 1])
def test_the_norm_of_a_convolution_equals_that_of_its_dense_matrix(name: str, seed: int) -> None:
    build, shape = CONVOLUTIONS[name]
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        module = build()
    expected = torch.linalg.matrix_norm(dense(module, shape), 2).item()
    assert convolution_norm(module, shape, tolerance=1e-9) == pytest.approx(expected, rel=1e-12)
    assert convolution_norm(module, shape) == pytest.approx(expected, rel=1e-6)


def test_the_norm_of_a_circular_convolution_is_the_largest_fourier_coefficient() -> None:
    """Sedghi et al., arXiv:1805.10408, theorem 6."""
    module = nn.Conv2d(2, 3, 3, padding=1, padding_mode="circular", bias=False).double()
    with torch.no_grad():
        module.weight.copy_(seeded(3, 2, 3, 3))
    blocks = torch.fft.fft2(module.weight.detach(), s=(8, 8)).permute(2, 3, 0, 1)
    expected = torch.linalg.matrix_norm(blocks, 2).max().item()
    assert convolution_norm(module, (2, 8, 8)) == pytest.approx(expected, rel=1e-6)


def test_the_norm_of_a_1_by_1_kernel_is_that_of_its_matrix() -> None:
    module = nn.Conv2d(4, 3, 1)
    expected = torch.linalg.matrix_norm(module.weight.detach()[:, :, 0, 0].double(), 2).item()
    assert convolution_norm(module, (4, 5, 5)) == pytest.approx(expected, rel=1e-6)


def test_the_norm_of_a_delta_kernel_is_1() -> None:
    module = nn.Conv2d(3, 3, 3, padding=1)
    nn.init.dirac_(module.weight)
    assert convolution_norm(module, (3, 6, 6)) == pytest.approx(1, rel=1e-12)


def test_the_norm_of_zero_weights_is_0_and_of_nan_weights_nan() -> None:
    module = nn.Conv2d(3, 3, 3)
    nn.init.zeros_(module.weight)
    assert convolution_norm(module, (3, 6, 6)) == 0
    assert matrix_norm(torch.zeros(3, 4)) == 0
    nn.init.constant_(module.weight, nan)
    assert isnan(convolution_norm(module, (3, 6, 6)))
    assert isnan(matrix_norm(torch.tensor([[nan, 1.0]])))


@pytest.mark.parametrize("shape", [(300, 300), (700, 260), (3, 500), (1, 1)])
def test_the_norm_of_small_and_large_matrices_is_exact(shape: tuple[int, int]) -> None:
    matrix = seeded(*shape)
    expected = torch.linalg.svdvals(matrix)[0].item()
    assert matrix_norm(matrix) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("gap", [0.0, 1e-10, 1e-6, 1e-4, 1e-3, 1e-2])
def test_close_largest_singular_values_do_not_hinder_convergence(gap: float) -> None:
    top = torch.tensor([1.0, 1 - gap, 1 - 2 * gap], dtype=torch.float64)
    values = torch.cat([top, torch.linspace(0, 0.99, 397, dtype=torch.float64)])
    found = operator_norm(lambda x: values * x, (400,), CPU)
    assert found == pytest.approx(1, rel=TOLERANCE / 2)


@pytest.mark.parametrize("rank", [1, 3])
@pytest.mark.parametrize("scale", [1e-150, 1e-20, 1e100])
def test_tiny_and_huge_operators_of_low_rank_have_exact_norms(scale: float, rank: int) -> None:
    matrix = seeded(20, rank) @ seeded(rank, 30, seed=1)
    expected = scale * torch.linalg.matrix_norm(matrix, 2).item()
    found = operator_norm(lambda x: scale * (matrix @ x), (30,), CPU)
    assert found == pytest.approx(expected, rel=1e-9)


def test_a_search_that_does_not_converge_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orchestrator.measures.norms.operator_norm.MOST_STEPS", 20)
    values = torch.linspace(0, 1, 5000, dtype=torch.float64)
    with pytest.raises(MeasureError, match="did not converge in 20 steps"):
        operator_norm(lambda x: values * x, (5000,), CPU)
