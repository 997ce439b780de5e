# SPDX-License-Identifier: Apache-2.0
"""What is no large image is refused in one sentence."""

import numpy as np
import pytest

from deeplab2_like import errors
from deeplab2_like.rasters import opening

tifffile = pytest.importorskip(
    "tifffile", reason="tifffile is not installed (extra large_images)"
)
pytest.importorskip("zarr", reason="zarr is not installed (large_images)")

_RANDOM = np.random.default_rng(0)
_RGB = _RANDOM.integers(0, 256, (150, 203, 3), dtype=np.uint8)
_DEEP = _RANDOM.integers(0, 5000, (150, 203), dtype=np.uint16)
_CHANNELS = _RANDOM.integers(0, 5000, (3, 150, 203), dtype=np.uint16)
_TILED = {"tile": (32, 48), "photometric": "rgb"}


def _write_stack(path):
    tifffile.imwrite(path, _CHANNELS, metadata={"axes": "ZYX"}, ome=True)


def _write_turned(path):
    tifffile.imwrite(
        path, _RGB, photometric="rgb", extratags=[(274, "H", 1, 6, True)]
    )


def _write_complex(path):
    tifffile.imwrite(path, _DEEP.astype(np.complex64))


def _write_cmyk(path):
    tifffile.imwrite(
        path, np.dstack([_RGB, _RGB[..., :1]]), photometric="separated"
    )


def _write_lying(path):
    """Claims a width of which no tiles are listed."""
    tifffile.imwrite(path, _RGB, **_TILED)
    with tifffile.TiffFile(path) as file:
        offset = file.pages[0].tags["ImageWidth"].valueoffset
    with open(path, "r+b") as file:
        file.seek(offset)
        file.write((65000).to_bytes(2, "little"))


def _write_cut_tags(path):
    with tifffile.TiffWriter(path) as writer:
        writer.write(_RGB, **_TILED)
    data = path.read_bytes()
    path.write_bytes(data[:100])


@pytest.mark.parametrize(
    ("name", "write", "text"),
    [
        ("missing.tif", lambda _: None, "does not exist"),
        ("empty.tif", lambda p: p.write_bytes(b""), "is empty"),
        ("text.tif", lambda p: p.write_text("hello"), "text.tif"),
        ("magic.tif", lambda p: p.write_bytes(b"II*\0"), "cut off or damaged"),
        ("tags.tif", _write_cut_tags, "cut off or damaged"),
        ("stack.ome.tif", _write_stack, "holds several images"),
        ("turned.tif", _write_turned, "tag Orientation is 6"),
        ("complex.tif", _write_complex, "type complex64"),
        ("cmyk.tif", _write_cmyk, "color space SEPARATED"),
        ("lying.tif", _write_lying, "cannot be read as a TIFF file"),
        ("folder", lambda p: p.mkdir(), "ends in .zarr"),
        ("empty.zarr", lambda p: p.mkdir(), "cannot be read as a Zarr"),
    ],
)
def test_what_is_no_large_image_is_refused_in_one_sentence(
    tmp_path, name, write, text
):
    write(tmp_path / name)
    with pytest.raises(errors.DataError, match=text) as caught:
        opening.open_large(tmp_path / name)
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)
