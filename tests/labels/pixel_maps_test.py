# SPDX-License-Identifier: Apache-2.0
"""Label images of each pixel format."""

import numpy as np
import pytest
from PIL import Image

from deeplab2_like import errors
from deeplab2_like.labels import pixel_maps
from deeplab2_like.labels.pixel_maps import Kind

RNG = np.random.default_rng(0)
COLORS = RNG.integers(0, 255, (5, 7, 4), np.uint8)


@pytest.mark.parametrize(
    ("pixels", "kind"),
    [
        (COLORS[..., 0], Kind.GREY),
        (COLORS[..., 0] > 100, Kind.GREY),
        (COLORS[..., 0].astype(np.uint16) * 200, Kind.GREY),
        (COLORS[..., :3], Kind.COLOR),
        (COLORS, Kind.FOUR_CHANNELS),
    ],
)
@pytest.mark.parametrize("ending", ["png", "tif"])
def test_the_number_of_each_pixel(tmp_path, pixels, kind, ending):
    path = tmp_path / f"a.{ending}"
    Image.fromarray(pixels).save(path)
    found = pixel_maps.load(path)
    values = pixels.astype(np.int64)
    if values.ndim == 3:
        values = values @ 256 ** np.arange(values.shape[-1])
    if pixels.dtype == bool:
        assert {*np.unique(found.values)} <= {0, 1, 255}
        values, found_values = values > 0, found.values > 0
    else:
        found_values = found.values
    np.testing.assert_array_equal(found_values, values)
    assert found.kind is kind
    assert found.size == (5, 7)


def test_colors_of_all_kinds(tmp_path):
    index = Image.fromarray(COLORS[..., 0] % 3)
    index.putpalette([9, 8, 7, 6, 5, 4, 3, 2, 1])
    index.save(tmp_path / "a.png")
    found = pixel_maps.load(tmp_path / "a.png")
    assert found.kind is Kind.PALETTE
    rgb = np.asarray(index.convert("RGB")).astype(np.int64)
    np.testing.assert_array_equal(
        found.to_colors(), rgb @ np.array([1, 256, 65536])
    )
    grey = pixel_maps.PixelMap(np.array([[3]]), Kind.GREY)
    assert grey.to_colors() == pixel_maps.encode_color((3, 3, 3))
    assert pixel_maps.decode_color(0x030201) == (1, 2, 3)


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (lambda p: p.write_bytes(b""), r"a.png cannot be read .*\(0 bytes\)"),
        (
            lambda p: Image.new("RGB", (4, 4)).save(p, format="JPEG"),
            "of the kind JPEG",
        ),
        (
            lambda p: Image.new("F", (4, 4)).save(p, format="TIFF"),
            "a.png has the pixel format F",
        ),
        (lambda p: p.mkdir(), "a.png cannot be read"),
    ],
)
def test_what_is_no_label_image_is_refused(tmp_path, write, message):
    write(tmp_path / "a.png")
    with pytest.raises(errors.DataError, match=message):
        pixel_maps.load(tmp_path / "a.png")
