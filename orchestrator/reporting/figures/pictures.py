"""Examples as small pictures: PNG files in ``data:`` addresses, made without an image library."""

from __future__ import annotations

import base64
import struct
import zlib

import numpy as np
import numpy.typing as npt

FEWEST_OF_SIGNAL = 16
"""A row of fewer numbers than this is treated as features, not as a signal."""


def picture_size(shape: tuple[int, ...]) -> tuple[int, int, int] | None:
    """Return channels, height and width if an example is a picture, else None.

    >>> picture_size((28, 28)), picture_size((3, 32, 32)), picture_size((1, 40))
    ((1, 28, 28), (3, 32, 32), None)
    """
    if len(shape) == 2:
        shape = (1, *shape)
    if len(shape) != 3 or shape[0] not in (1, 3) or min(shape[1:]) < 2:
        return None
    return shape[0], shape[1], shape[2]


def is_signal(shape: tuple[int, ...]) -> bool:
    """Whether an example is one row of enough numbers to draw as a line.

    >>> is_signal((40,)), is_signal((1, 40)), is_signal((4,)), is_signal((2, 40))
    (True, True, False, False)
    """
    longest = max(shape, default=0)
    return longest >= FEWEST_OF_SIGNAL and longest == int(np.prod(shape))


def picture_addresses(inputs: npt.NDArray[np.float64], shape: tuple[int, int, int]) -> list[str]:
    """Return pictures as ``data:`` addresses.

    Networks see standardized inputs. Here each channel is rescaled so that its smallest number
    over all pictures is black and its largest is full intensity.

    Args:
        inputs: Shape ``(n, channels · height · width)``, finite.
        shape: Channels (1 is grey, 3 are red, green and blue), height and width.
    """
    pixels = inputs.reshape(len(inputs), *shape)
    low = pixels.min(axis=(0, 2, 3), keepdims=True)
    span = pixels.max(axis=(0, 2, 3), keepdims=True) - low
    levels = np.rint(255 * (pixels - low) / np.where(span > 0, span, 1)).astype(np.uint8)
    return [
        "data:image/png;base64," + base64.b64encode(png(one.transpose(1, 2, 0))).decode("ascii")
        for one in levels
    ]


def png(pixels: npt.NDArray[np.uint8]) -> bytes:
    """Encode a PNG file (W3C recommendation, second edition, sections 5, 9 and 11).

    Args:
        pixels: Shape ``(height, width, channels)`` with one or three channels.
    """
    height, width, channels = pixels.shape
    colour_type = {1: 0, 3: 2}[channels]
    header = struct.pack(">IIBBBBB", width, height, 8, colour_type, 0, 0, 0)
    # Each row starts with its filter type; 0 is unfiltered.
    rows = b"".join(b"\0" + row.tobytes() for row in pixels)
    return (
        b"\x89PNG\r\n\x1a\n"
        + _chunk(b"IHDR", header)
        + _chunk(b"IDAT", zlib.compress(rows, 9))
        + _chunk(b"IEND", b"")
    )


def _chunk(kind: bytes, content: bytes) -> bytes:
    checked = kind + content
    return struct.pack(">I", len(content)) + checked + struct.pack(">I", zlib.crc32(checked))
