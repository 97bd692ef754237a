import pytest
import torch

from orchestrator.errors import DataError
from orchestrator.training.augmentation import PADDING, Augmentation

IMAGES = torch.rand(40, 2, 6, 5, generator=torch.Generator().manual_seed(0)) + 1


def augmentation(kinds, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return Augmentation(kinds, len(IMAGES), IMAGES.shape[1:], generator)


def shifted(image, down, right):
    """The window of a zero-padded image that begins ``down`` and ``right`` of its corner."""
    out = torch.zeros_like(image)
    _, height, width = image.shape
    for row in range(height):
        for column in range(width):
            source_row, source_column = row + down - PADDING, column + right - PADDING
            if 0 <= source_row < height and 0 <= source_column < width:
                out[:, row, column] = image[:, source_row, source_column]
    return out


def explanations(image, found, kinds):
    """Every (shift down, shift right, flipped) that turns ``image`` into ``found``."""
    shifts = range(2 * PADDING + 1) if "crop" in kinds else [PADDING]
    flips = [False, True] if "flip" in kinds else [False]
    for down in shifts:
        for right in shifts:
            window = shifted(image, down, right)
            for flipped in flips:
                if torch.equal(window.flip(2) if flipped else window, found):
                    yield down, right, flipped


@pytest.mark.parametrize("kinds", [("flip",), ("crop",), ("flip", "crop"), ("crop", "flip")])
def test_augmented_images_are_windows_of_the_padded_original(kinds):
    before = IMAGES.clone()
    found = augmentation(kinds)(IMAGES, 0)
    assert torch.equal(IMAGES, before)
    seen = {next(explanations(a, b, kinds)) for a, b in zip(IMAGES, found, strict=True)}
    assert len({flipped for *_, flipped in seen}) == (2 if "flip" in kinds else 1)
    if "crop" in kinds:
        for shifts in zip(*[(down, right) for down, right, _ in seen], strict=True):
            assert (min(shifts), max(shifts)) == (0, 2 * PADDING)
            assert len(set(shifts)) > PADDING


def test_augmentation_does_not_depend_on_the_batches():
    whole = augmentation(("flip", "crop"))(IMAGES, 0)
    augment = augmentation(("flip", "crop"))
    parts = [augment(IMAGES[start : start + 16], start) for start in (32, 0, 16)]
    assert torch.equal(torch.cat([parts[1], parts[2], parts[0]]), whole)
    assert not torch.equal(augmentation(("flip", "crop"), seed=1)(IMAGES, 0), whole)


@pytest.mark.parametrize("shape", [(40,), (1, 40)])
def test_augmentation_of_flat_inputs_is_refused(shape):
    with pytest.raises(DataError, match=r"\['flip'\] needs images .* have shape"):
        Augmentation(("flip",), 10, shape, torch.Generator())
