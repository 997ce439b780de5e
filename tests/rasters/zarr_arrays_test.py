# SPDX-License-Identifier: Apache-2.0
"""Zarr arrays are read in windows, by their axes."""

import numpy as np
import pytest

from deeplab2_like.rasters import opening

zarr = pytest.importorskip(
    "zarr", reason="zarr is not installed (extra large_images)"
)

_RANDOM = np.random.default_rng(0)
_RGB = _RANDOM.integers(0, 256, (150, 203, 3), dtype=np.uint8)


@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize("axes", ["yx", "yxc", "cyx", "tczyx", "xy"])
def test_zarr_arrays_are_read_by_the_names_of_their_axes(
    check_windows, tmp_path, axes, zarr_format
):
    path = tmp_path / "image.zarr"
    base = "yxc" if "c" in axes else "yx"
    values = _RGB if "c" in axes else _RGB[..., 0]
    order = [base.index(name) for name in axes if name in base]
    stored = values.transpose(order)
    for place, name in enumerate(axes):
        if name not in base:
            stored = np.expand_dims(stored, place)
    group = zarr.open_group(str(path), mode="w", zarr_format=zarr_format)
    for level, array in enumerate([stored[..., ::2], stored]):
        chunks = tuple(min(n, 40) for n in array.shape)
        group.create_array(
            str(level), shape=array.shape, chunks=chunks, dtype=array.dtype
        )[:] = array
    entry = {
        "axes": [{"name": name} for name in axes],
        "datasets": [{"path": "0"}, {"path": "1"}],
    }
    content = {"multiscales": [entry]}
    group.attrs.update(content if zarr_format == 2 else {"ome": content})
    expected = values if values.ndim == 3 else np.stack([values] * 3, -1)
    with opening.open_large(path) as image:
        check_windows(image, expected)


@pytest.mark.parametrize(
    "stored", [_RGB, np.moveaxis(_RGB, -1, 0), _RGB[np.newaxis, ..., 0]]
)
def test_zarr_arrays_without_names_are_read(check_windows, tmp_path, stored):
    path = tmp_path / "image.zarr"
    zarr.create_array(
        store=str(path), shape=stored.shape, dtype="uint8", shards=None
    )[:] = stored
    expected = _RGB if stored.size == _RGB.size else _RGB[..., :1]
    with opening.open_large(path) as image:
        check_windows(image, np.broadcast_to(expected, _RGB.shape))


def test_a_damaged_chunk_of_zarr_is_named(tmp_path):
    path = tmp_path / "damaged.zarr"
    array = zarr.create_array(
        store=str(path), shape=_RGB.shape, chunks=(50, 70, 3), dtype="uint8"
    )
    array[:] = _RGB
    (path / "c" / "1" / "2" / "0").write_bytes(b"no chunk")
    with opening.open_large(path) as image:
        found = image.read(0, 0, 150, 203)
        assert found.damaged == ((50, 140, 100, 203),)
        assert "damaged.zarr, rows 50 to 99" in image.problems[0]
