"""The largest singular value of a linear operator given as a function."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.modules.conv import _ConvNd

from orchestrator.errors import MeasureError
from orchestrator.models.shared_tensors import copy_with_ties
from orchestrator.random_streams import stream_seed

TOLERANCE = 1e-5
_DENSE_UP_TO = 256
MOST_STEPS = 4000


def matrix_norm(matrix: Tensor) -> float:
    """Return ‖W‖₂ of a matrix, in float64."""
    weight = matrix.detach().to(torch.float64)
    if not weight.isfinite().all():
        return float("nan")
    if min(weight.shape) <= _DENSE_UP_TO:
        return float(torch.linalg.matrix_norm(weight, ord=2))
    return operator_norm(lambda x: weight @ x, (weight.shape[1],), weight.device)


def convolution_norm(
    module: _ConvNd, input_shape: tuple[int, ...], tolerance: float = TOLERANCE
) -> float:
    """Return ‖A‖₂ of the linear map A that a convolution applies to inputs of one shape.

    This is the operator norm in float64, with the layer's own padding, stride, dilation and groups,
    at the image size it receives. It is not the norm of the kernel reshaped to a matrix, which is
    smaller or larger by a factor that depends on the kernel. Nor is it the norm of the circular
    convolution (Sedghi et al., arXiv:1805.10408), which it approaches for large images.

    Args:
        module: A convolution or transposed convolution with one to three axes.
        input_shape: Shape of one input, ``(channels, *positions)``.
        tolerance: As for ``operator_norm``.

    Raises:
        MeasureError: As ``operator_norm``.
    """
    layer = copy_with_ties(module, "the layer").to(torch.float64).requires_grad_(False)
    layer.register_parameter("bias", None)
    if not layer.weight.isfinite().all():
        return float("nan")
    return operator_norm(lambda x: layer(x[None]), input_shape, layer.weight.device, tolerance)


def operator_norm(
    operator: Callable[[Tensor], Tensor],
    input_shape: tuple[int, ...],
    device: torch.device,
    tolerance: float = TOLERANCE,
) -> float:
    """Return ‖A‖₂ by the locally optimal conjugate gradient method on AᵀA.

    Knyazev, SIAM J. Sci. Comput. 23 (2001), algorithm 4.1 for one vector and no preconditioner:
    each step maximizes the Rayleigh quotient over the vector x, its residual r = AᵀA x − λ x and
    the last direction. It converges about as fast as the Lanczos method, with the memory of only
    a few vectors. The distance of λ to an eigenvalue of AᵀA is at most ‖r‖, or ‖r‖² divided by
    its gap to the others if that is smaller (Parlett, The Symmetric Eigenvalue Problem,
    chapter 11). The value therefore usually has many more correct digits than ``tolerance`` asks.

    Args:
        operator: Linear and differentiable; maps float64 tensors of ``input_shape`` to any shape.
        input_shape: Shape of the operator's input.
        device: Device to compute on.
        tolerance: Stop when ‖r‖ ≤ tolerance · λ.

    Raises:
        MeasureError: If this is not reached after thousands of products.
    """
    generator = torch.Generator().manual_seed(stream_seed(0, "operator_norm"))
    start = torch.randn(input_shape, generator=generator, dtype=torch.float64).to(device)
    with torch.enable_grad():
        variable = start.clone().requires_grad_()
        image = operator(variable)
    # Norms of A are squared below, so A is scaled to order 1 first.
    scale = image.detach().abs().amax()
    if scale == 0:
        return 0.0

    def gram(flat: Tensor) -> Tensor:
        with torch.no_grad():
            forth = operator(flat.view(input_shape)) / scale
        (back,) = torch.autograd.grad(image, variable, forth, retain_graph=True)
        return back.reshape(-1) / scale

    return float(scale) * math.sqrt(_largest_eigenvalue(gram, start.reshape(-1), tolerance))


def _largest_eigenvalue(gram: Callable[[Tensor], Tensor], start: Tensor, tolerance: float) -> float:
    x = start / torch.linalg.vector_norm(start)
    image = gram(x)
    last: tuple[Tensor, Tensor] | None = None  # the last direction and its image
    for step in range(1, MOST_STEPS + 1):
        value = x @ image
        residual = image - value * x
        size = torch.linalg.vector_norm(residual)
        if size <= tolerance * value:
            return float(value)
        residual = residual / size
        residual = residual - (x @ residual) * x
        residual = residual / torch.linalg.vector_norm(residual)
        basis, images = torch.stack([x, residual]), torch.stack([image, gram(residual)])
        if last is not None:
            direction, of_direction = last
            for _ in range(2):  # orthogonalizing once is not enough in floating point
                parts = basis @ direction
                direction, of_direction = direction - parts @ basis, of_direction - parts @ images
            length = torch.linalg.vector_norm(direction)
            if length > 0:
                basis = torch.cat([basis, direction[None] / length])
                images = torch.cat([images, of_direction[None] / length])
        projected = basis @ images.T
        _, vectors = torch.linalg.eigh((projected + projected.T) / 2)
        weights = vectors[:, -1]
        last = weights[1:] @ basis[1:], weights[1:] @ images[1:]
        x = weights @ basis
        x = x / torch.linalg.vector_norm(x)
        # The recurrence for the image loses digits slowly; a product restores them.
        image = gram(x) if step % 20 == 0 else weights @ images
    raise MeasureError(
        f"the operator norm of a layer did not converge in {MOST_STEPS} steps: "
        f"relative residual {float(size / value):.1g}, expected {tolerance:.1g}"
    )
