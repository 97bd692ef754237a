import base64
import struct
import zlib

import numpy as np
import pytest

from orchestrator.reporting.figures.pictures import is_signal, picture_addresses, picture_size, png


def decoded(file):
    """Pixels of a PNG file, with its checksums verified."""
    assert file[:8] == b"\x89PNG\r\n\x1a\n"
    chunks, at = {}, 8
    while at < len(file):
        (length,) = struct.unpack(">I", file[at : at + 4])
        kind, content = file[at + 4 : at + 8], file[at + 8 : at + 8 + length]
        (checksum,) = struct.unpack(">I", file[at + 8 + length : at + 12 + length])
        assert checksum == zlib.crc32(kind + content)
        chunks[kind] = content
        at += 12 + length
    width, height, bits, colour, *rest = struct.unpack(">IIBBBBB", chunks[b"IHDR"])
    assert (bits, rest) == (8, [0, 0, 0])
    channels = {0: 1, 2: 3}[colour]
    rows = np.frombuffer(zlib.decompress(chunks[b"IDAT"]), np.uint8).reshape(height, -1)
    assert not rows[:, 0].any()
    return rows[:, 1:].reshape(height, width, channels)


@pytest.mark.parametrize("shape", [(5, 7, 1), (4, 3, 3)])
def test_png_files_contain_the_pixels(shape):
    pixels = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    np.testing.assert_array_equal(decoded(png(pixels)), pixels)


def test_channels_are_stretched_over_all_pictures():
    inputs = np.array([[-1.0, 0.0, 10.0, 10.0, 0.0, 0.0], [1.0, 3.0, 20.0, 10.0, 0.0, 0.0]])
    one, other = (
        decoded(base64.b64decode(address.removeprefix("data:image/png;base64,")))
        for address in picture_addresses(inputs, (3, 1, 2))
    )
    assert one[0].tolist() == [[0, 0, 0], [64, 0, 0]]
    assert other[0].tolist() == [[128, 255, 0], [255, 0, 0]]


@pytest.mark.parametrize(
    ("shape", "size"),
    [
        ((1, 28, 28), (1, 28, 28)),
        ((8, 8), (1, 8, 8)),
        ((3, 32, 32), (3, 32, 32)),
        ((1, 40), None),
        ((4, 8, 8), None),
        ((), None),
    ],
)
def test_pictures_are_recognized_by_their_shape(shape, size):
    assert picture_size(shape) == size


@pytest.mark.parametrize(
    ("shape", "signal"),
    [((40,), True), ((1, 40), True), ((4,), False), ((2, 40), False), ((), False)],
)
def test_signals_are_recognized_by_their_shape(shape, signal):
    assert is_signal(shape) == signal
