# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from deeplab2_like.large_images import blending, tiling, work_folder


def _write(tmp_path, made, maps_of):
    """Writes tiles; returns the maps of the whole."""
    folder = work_folder.WorkFolder(tmp_path / "work", {"for": "a test"})
    for index in range(len(made)):
        row, column = made.place(index)
        top, left = made.rows.starts[row] // 4, made.columns.starts[column] // 4
        folder.write_tile(index, maps_of(index, top, left))
    shape = work_folder.HeadShape(17, 17, {"one": 1, "three": 3})
    return blending.HeadMaps(made, folder, shape, 4)


@pytest.mark.parametrize("overlap", [0, 16, 48])
def test_equal_values_remain_bit_by_bit(tmp_path, overlap):
    made = tiling.make_tiling((120, 100), 65, overlap, 16)
    rng = np.random.default_rng(overlap)
    whole = {
        "one": rng.normal(0, 1e4, (33, 33, 1)).astype(np.float32),
        "three": rng.normal(0, 1e-4, (33, 33, 3)).astype(np.float32),
    }

    def cut(_, top, left):
        return {
            name: values[top : top + 17, left : left + 17]
            for name, values in whole.items()
        }

    maps = _write(tmp_path, made, cut)
    assert (maps.height, maps.width) == (33, 29)
    for name, values in whole.items():
        for top, bottom in ((0, 33), (5, 6), (16, 30)):
            found = maps.read(name, top, bottom)
            np.testing.assert_array_equal(found, values[top:bottom, :29])


def test_values_change_linearly_from_tile_to_tile(tmp_path):
    made = tiling.make_tiling((65, 113), 65, 16, 16)

    def fill(index, *_):
        return {
            name: np.full((17, 17, channels), index, np.float32)
            for name, channels in (("one", 1), ("three", 3))
        }

    maps = _write(tmp_path, made, fill)
    row = maps.read("three", 3, 4)[0, :, 1]
    expected = np.clip((np.arange(29) - 12) / 4, 0, 1)
    np.testing.assert_allclose(row, expected, atol=1e-6)
