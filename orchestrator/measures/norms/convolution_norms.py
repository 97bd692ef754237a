"""The different norms that are called the spectral norm of a convolution."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from math import isfinite, nan

import torch
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

from orchestrator.errors import MeasureError, error_text
from orchestrator.measures.base import CatalogEntry, Measure, Value
from orchestrator.measures.context import MeasureContext
from orchestrator.measures.norms.layer_factors import matrix_layers
from orchestrator.measures.norms.operator_norm import matrix_norm
from orchestrator.study.measure_options.norms import ConvolutionNormsOptions


def reshaped_norm(module: _ConvNd) -> float:
    """Return ‖K‖₂ of the kernel as a matrix of shape (output channels, all else).

    This is the norm of the map from one patch to one position (used by Miyato et al.,
    arXiv:1802.05957). The norm of the convolution on an image is at most sqrt(number of taps)
    times as large.
    """
    return matrix_norm(module.weight.flatten(1))


def circular_norm(module: _ConvNd, input_shape: tuple[int, ...]) -> float:
    """Return the largest singular value of the convolution on a torus instead of an image.

    The Fourier transform of the kernel, taken at the size of the image, is one matrix between
    channels per frequency. The singular values of the operator are those of all these matrices
    (Sedghi, Gupta and Long, arXiv:1805.10408, theorem 6). The result is exact for circular
    padding; for zero padding it is an approximation that improves with the size of the image.

    Args:
        module: A convolution of stride 1 in one group.
        input_shape: Shape of one input, ``(channels, *positions)``.

    Raises:
        MeasureError: If the convolution has a stride or groups, or is transposed.
    """
    if isinstance(module, _ConvTransposeNd) or module.groups > 1 or set(module.stride) != {1}:
        raise MeasureError(
            "the circular norm needs a convolution of stride 1 in one group, got "
            f"stride {module.stride}, {module.groups} groups"
        )
    kernel = module.weight.detach().to(torch.float64)
    if not kernel.isfinite().all():
        return nan
    sizes = input_shape[1:]
    torus = kernel.new_zeros(*sizes, *kernel.shape[:2])
    of_tap = kernel.movedim((0, 1), (-2, -1))
    taps: Iterator[tuple[int, ...]] = product(*[range(size) for size in kernel.shape[2:]])
    for tap in taps:
        # A kernel larger than the image wraps onto itself.
        place = (i * step % n for i, step, n in zip(tap, module.dilation, sizes, strict=True))
        torus[tuple(place)] += of_tap[tap]
    at_frequencies = torch.fft.fftn(torus, dim=tuple(range(len(sizes)))).flatten(0, -3)
    return float(torch.linalg.svdvals(at_frequencies).max())


class ConvolutionNorms(Measure, options=ConvolutionNormsOptions):
    """Three norms of each convolution, ``convolution_norm``.

    The variants are ``layer_1 operator`` and so on, in the order of the calls. ``operator`` is
    the operator norm of the layer with its padding and stride, as in all products of norms here;
    ``reshaped`` is the norm of the kernel as a matrix; ``circular`` is the norm on a torus.
    Published measures use one of the latter two, often without saying which. For a network
    without convolutions the value is NaN.

    Invariances: none under rescaling of layers, as the norms scale with the layer's weights. Lower
    is less complex. Cost: one singular value per norm.
    """

    version = 4
    entries = (
        CatalogEntry(
            measure="convolution_norm",
            family="norm",
            symbol="‖W_l‖₂",
            unit="1",
            direction="lower",
            citation="Sedghi et al., arXiv:1805.10408; Miyato et al., arXiv:1802.05957",
            cost="three singular values per convolution",
        ),
    )

    requires = frozenset()

    def __init__(self, options: ConvolutionNormsOptions) -> None:
        del options  # unused: this measure has no options

    def compute(self, context: MeasureContext) -> Iterator[Value]:
        """Yield the norms for each call of a convolution."""
        try:
            layers = [
                (layer.module, layer.factor)
                for layer in matrix_layers(context)
                if isinstance(layer.module, _ConvNd)
            ]
        except MeasureError as error:
            yield Value("convolution_norm", nan, split=None, reason=error_text(error))
            return
        if not layers:
            reason = "the network has no convolutions"
            yield Value("convolution_norm", nan, split=None, reason=reason)
        for number, (module, factor) in enumerate(layers, start=1):
            yield _value(number, "operator", factor.spectral)
            yield _value(number, "reshaped", reshaped_norm(module))
            try:
                yield _value(number, "circular", circular_norm(module, factor.input_shape))
            except MeasureError as error:
                yield _value(number, "circular", nan, error_text(error))


def _value(number: int, kind: str, norm: float, reason: str | None = None) -> Value:
    if reason is None and not isfinite(norm):
        reason = "the layer's weights are not finite"
    variant = f"layer_{number} {kind}"
    return Value("convolution_norm", norm, variant=variant, split=None, reason=reason)
