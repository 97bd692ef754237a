from __future__ import annotations

from math import isnan, prod

import pytest
import torch
from torch import nn

from orchestrator.errors import MeasureError
from orchestrator.measures import circular_norm, reshaped_norm
from orchestrator.measures.norms.convolution_norms import ConvolutionNorms
from orchestrator.study.measure_options.norms import ConvolutionNormsOptions
from tests.measures.cases import case
from tests.measures.norms.test_operator_norm import dense

CIRCULAR = {
    "two_axes": (lambda: nn.Conv2d(2, 3, 3, padding=1, padding_mode="circular"), (2, 6, 5)),
    "signal": (lambda: nn.Conv1d(3, 2, 5, padding=2, padding_mode="circular"), (3, 9)),
    "dilated": (
        lambda: nn.Conv2d(2, 2, 3, padding=2, dilation=2, padding_mode="circular"),
        (2, 6, 6),
    ),
    "volume": (lambda: nn.Conv3d(1, 2, 3, padding=1, padding_mode="circular"), (1, 4, 3, 4)),
}


@pytest.mark.parametrize("name", CIRCULAR)
def test_the_norm_on_a_torus_equals_that_of_the_dense_matrix(name: str) -> None:
    build, shape = CIRCULAR[name]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        module = build()
    expected = torch.linalg.matrix_norm(dense(module, shape), ord=2).item()
    assert circular_norm(module, shape) == pytest.approx(expected, rel=1e-9)


def test_a_kernel_of_one_tap_has_the_norm_of_its_matrix() -> None:
    module = nn.Conv2d(4, 3, 1)
    norm = torch.linalg.matrix_norm(module.weight.detach().double().flatten(1), ord=2).item()
    assert circular_norm(module, (4, 5, 5)) == pytest.approx(norm)
    assert reshaped_norm(module) == pytest.approx(norm)


def test_a_delta_kernel_has_norm_1() -> None:
    module = nn.Conv2d(1, 1, 3, padding=1)
    with torch.no_grad():
        module.weight.zero_()
        module.weight[0, 0, 1, 1] = 1
    assert circular_norm(module, (1, 7, 7)) == pytest.approx(1)
    assert reshaped_norm(module) == pytest.approx(1)


def test_a_kernel_larger_than_the_image_wraps_around() -> None:
    module = nn.Conv1d(1, 1, 5, bias=False)
    with torch.no_grad():
        module.weight.fill_(1.0)
    # On a ring of three positions: 2, 2, 1 of five ones, which add up to 5 at frequency 0.
    assert circular_norm(module, (1, 3)) == pytest.approx(5)


@pytest.mark.parametrize(
    "module",
    [nn.Conv2d(2, 2, 3, stride=2), nn.Conv2d(2, 2, 3, groups=2), nn.ConvTranspose2d(2, 2, 3)],
    ids=["stride", "groups", "transposed"],
)
def test_strided_grouped_and_transposed_convolutions_are_refused(module: nn.Conv2d) -> None:
    with pytest.raises(MeasureError, match="stride 1 in one group"):
        circular_norm(module, (2, 8, 8))


def test_the_operator_norm_lies_between_the_two_bounds() -> None:
    options = ConvolutionNormsOptions(name="convolution_norms")
    context = case("cnn").context()
    found = {row.variant: row.value for row in ConvolutionNorms(options).compute(context)}
    kernels = [m.weight for m in context.model.modules() if isinstance(m, nn.Conv2d)]
    assert len(found) == 3 * len(kernels) > 0
    for number, kernel in enumerate(kernels, start=1):
        reshaped = found[f"layer_{number} reshaped"]
        assert found[f"layer_{number} circular"] <= reshaped * prod(kernel.shape[2:]) ** 0.5 + 1e-9


def test_a_network_without_convolutions_gives_a_reason() -> None:
    options = ConvolutionNormsOptions(name="convolution_norms")
    (row,) = ConvolutionNorms(options).compute(case("mlp").context())
    assert isnan(row.value)
    assert row.reason == "the network has no convolutions"
