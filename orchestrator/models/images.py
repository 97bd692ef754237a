"""Requirements of convolutional networks on the shape of examples."""

from __future__ import annotations

from orchestrator.errors import ModelError


def require_images(
    model: str, input_shape: tuple[int, ...], smallest: int, hint: str
) -> tuple[int, int, int]:
    """Return channels, height and width of the examples if they suit a convolutional network.

    Args:
        model: Name of the network, for messages.
        input_shape: Shape of one example.
        smallest: Minimum height and width.
        hint: Hint on a model or option for smaller images.

    Raises:
        ModelError: If examples are not images or are too small.
    """
    if len(input_shape) != 3:
        raise ModelError(
            f"model {model!r}: got examples of shape {input_shape}, expected images "
            "(channels, height, width)",
            "model 'mlp' takes examples of any shape",
        )
    channels, height, width = input_shape
    if min(height, width) < smallest:
        raise ModelError(
            f"model {model!r}: got images of {height} × {width}, expected at least "
            f"{smallest} × {smallest}",
            hint,
        )
    return channels, height, width
