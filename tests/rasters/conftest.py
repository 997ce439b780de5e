# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest


@pytest.fixture(scope="session")
def check_windows():
    """Returns the function that compares windows of an image with an array."""
    return _check_windows


def _check_windows(image, expected):
    """Compares windows at all borders, and the whole, with the array."""
    height, width = expected.shape[:2]
    assert (image.height, image.width) == (height, width)
    for box in [
        (0, 0, height, width),
        (0, 0, 1, 1),
        (height - 1, width - 1, height, width),
        (31, 47, 65, 97),
        (10, 3, 140, 200),
    ]:
        found = image.read(*box)
        assert found.damaged == ()
        assert found.image.dtype == np.uint8
        part = expected[box[0] : box[2], box[1] : box[3]]
        difference = np.abs(found.image.astype(int) - part)
        # Floats of 32 and of 64 bits round a few values to different sides.
        assert difference.max() <= (image.value_range is not None)
        assert (difference != 0).mean() < 0.01
    assert image.problems == []


@pytest.fixture(scope="session")
def damage_tile():
    """Returns the function that overwrites a tile of a TIFF file."""
    return _damage_tile


def _damage_tile(path, page_number=0, tile=5):
    import tifffile

    with tifffile.TiffFile(path) as file:
        page = file.pages[page_number]
        offset, count = page.dataoffsets[tile], page.databytecounts[tile]
    with open(path, "r+b") as file:
        file.seek(offset)
        file.write(b"\xff" * count)


@pytest.fixture(scope="session")
def to_bytes():
    """Returns the function that scales values to 0..255, by their range."""
    return _to_bytes


def _to_bytes(values):
    low, high = float(values.min()), float(values.max())
    return np.floor(
        (values.astype(np.float64) - low) * 255 / (high - low) + 0.5
    ).astype(np.uint8)
