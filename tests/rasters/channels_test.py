# SPDX-License-Identifier: Apache-2.0
"""Channels become colors by a stated rule, or are refused."""

import numpy as np
import pytest

from deeplab2_like import errors
from deeplab2_like.rasters import opening

tifffile = pytest.importorskip(
    "tifffile", reason="tifffile is not installed (extra large_images)"
)
zarr = pytest.importorskip(
    "zarr", reason="zarr is not installed (extra large_images)"
)

_RANDOM = np.random.default_rng(0)
_RGB = _RANDOM.integers(0, 256, (150, 203, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    ("count", "channels", "expected"),
    [
        (1, None, (0, 0, 0)),
        (2, None, (0, 1, 1)),
        (3, None, (0, 1, 2)),
        (4, None, (0, 1, 2)),
        (4, [4, 3, 2], (3, 2, 1)),
        (13, [8, 4, 3], (7, 3, 2)),
        (3, [2], (1, 1, 1)),
    ],
)
def test_channels_become_colors_by_a_stated_rule(
    tmp_path, count, channels, expected
):
    values = _RANDOM.integers(0, 256, (40, 50, count), dtype=np.uint8)
    for name in ("a.zarr", "a.tif"):
        path = tmp_path / name
        if name == "a.zarr":
            array = zarr.create_array(
                store=str(path),
                shape=values.shape,
                dtype="uint8",
                dimension_names=["y", "x", "c"],
            )
            array[:] = values
        else:
            tifffile.imwrite(
                path,
                values if count > 1 else values[..., 0],
                photometric="minisblack",
                planarconfig="contig" if count > 1 else None,
                extrasamples=["unspecified"] * (count - 1),
            )
        with opening.open_large(path, channels=channels) as image:
            found = image.read(0, 0, 40, 50).image
        np.testing.assert_array_equal(found, values[..., list(expected)])


@pytest.mark.parametrize("channels", [[], [1, 2], [0, 1, 2], [1, 2, 3, 4]])
def test_channels_are_one_or_three_numbers_from_one(tmp_path, channels):
    with pytest.raises(errors.ConfigError, match="--channels"):
        opening.open_large(tmp_path / "any.tif", channels=channels)


def test_channels_that_are_not_there_are_refused(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", _RGB, photometric="rgb")
    with pytest.raises(errors.DataError, match="asks for number 4"):
        opening.open_large(tmp_path / "a.tif", channels=[4, 3, 2])
    zarr.create_array(
        store=str(tmp_path / "a.zarr"),
        shape=(13, 40, 50),
        dtype="uint8",
        dimension_names=["c", "y", "x"],
    )
    with pytest.raises(errors.DataError, match="has 13 channels"):
        opening.open_large(tmp_path / "a.zarr")
