# SPDX-License-Identifier: Apache-2.0
"""Label maps are read in windows as they were written."""

import numpy as np
import pytest
from PIL import Image

from deeplab2_like import errors
from deeplab2_like.rasters import opening

tifffile = pytest.importorskip(
    "tifffile", reason="tifffile is not installed (extra large_images)"
)
zarr = pytest.importorskip(
    "zarr", reason="zarr is not installed (extra large_images)"
)

_IDS = np.random.default_rng(0).integers(0, 2**32, (90, 70), dtype=np.uint32)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int32", "uint32"])
@pytest.mark.parametrize("kind", ["tif", "zarr"])
def test_windows_of_labels_are_read(tmp_path, kind, dtype):
    path, ids = tmp_path / f"a.{kind}", _IDS.astype(dtype)
    ids = ids & np.iinfo(dtype).max
    if kind == "tif":
        tifffile.imwrite(path, ids, tile=(32, 32), compression="zlib")
    else:
        zarr.create_array(
            store=str(path), shape=ids.shape, chunks=(40, 40), dtype=dtype
        )[:] = ids
    with opening.open_labels(path) as labels:
        assert (labels.height, labels.width) == ids.shape
        for box in [(0, 0, 90, 70), (31, 31, 33, 65), (89, 69, 90, 70)]:
            found = labels.read(*box)
            assert found.ids.dtype == np.uint32
            assert found.damaged == ()
            part = ids[box[0] : box[2], box[1] : box[3]]
            np.testing.assert_array_equal(found.ids, part)


def test_damaged_labels_are_named_and_0(tmp_path):
    path = tmp_path / "a.zarr"
    array = zarr.create_array(
        store=str(path), shape=_IDS.shape, chunks=(40, 40), dtype="uint32"
    )
    array[:] = _IDS
    (path / "c" / "1" / "0").write_bytes(b"no chunk")
    with opening.open_labels(path) as labels:
        found = labels.read(30, 0, 90, 70)
        assert found.damaged == ((40, 0, 80, 40),)
        assert len(labels.problems) == 1
    expected = _IDS.copy()
    expected[40:80, :40] = 0
    np.testing.assert_array_equal(found.ids, expected[30:])


def test_what_is_no_label_map_is_refused(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((9, 9), np.float32))
    with pytest.raises(errors.DataError, match="is no label map"):
        opening.open_labels(tmp_path / "a.tif")
    Image.fromarray(np.zeros((9, 9, 3), np.uint8)).save(tmp_path / "a.png")
    with pytest.raises(errors.DataError, match=r"3 channel\(s\) of uint8"):
        opening.open_labels(tmp_path / "a.png")


@pytest.mark.parametrize("value", [-1, 2**32])
def test_labels_out_of_range_are_refused(tmp_path, value):
    ids = np.zeros((40, 40), np.int64)
    ids[35, 3] = value
    tifffile.imwrite(tmp_path / "a.tif", ids, tile=(32, 32))
    with opening.open_labels(tmp_path / "a.tif") as labels:
        labels.read(0, 0, 32, 40)
        with pytest.raises(errors.DataError, match=f"the label {value}, rows"):
            labels.read(0, 0, 40, 40)
        assert labels.problems == []


def test_windows_lie_in_the_map(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", _IDS)
    with opening.open_labels(tmp_path / "a.tif") as labels:
        for box in [(0, 0, 91, 70), (-1, 0, 5, 5), (5, 5, 5, 9)]:
            with pytest.raises(IndexError):
                labels.read(*box)
