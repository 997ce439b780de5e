# SPDX-License-Identifier: Apache-2.0
"""Images that are decoded as a whole are read in windows, too."""

import numpy as np
import pytest
from PIL import Image

from deeplab2_like.rasters import opening

_RANDOM = np.random.default_rng(0)
_RGB = _RANDOM.integers(0, 256, (150, 203, 3), dtype=np.uint8)
_DEEP = _RANDOM.integers(0, 5000, (150, 203), dtype=np.uint16)


@pytest.mark.parametrize("name", ["a.png", "a.bmp"])
def test_plain_images_are_read_as_without_tiles(check_windows, tmp_path, name):
    Image.fromarray(_RGB).save(tmp_path / name)
    with opening.open_large(tmp_path / name) as image:
        check_windows(image, _RGB)


def test_a_png_of_16_bits_is_read_with_all_of_them(
    check_windows, to_bytes, tmp_path
):
    Image.fromarray(_DEEP).save(tmp_path / "deep.png")
    with opening.open_large(tmp_path / "deep.png") as image:
        expected = np.stack([to_bytes(_DEEP)] * 3, -1)
        check_windows(image, expected)
        assert image.value_range == (_DEEP.min(), _DEEP.max())
