# SPDX-License-Identifier: Apache-2.0
"""Windows: ranges of values, damage, and the chunks that are kept."""

import concurrent.futures

import numpy as np
import pytest

from deeplab2_like import errors
from deeplab2_like.rasters import chunked_image, chunks, opening, tiff_planes

tifffile = pytest.importorskip(
    "tifffile", reason="tifffile is not installed (extra large_images)"
)
zarr = pytest.importorskip(
    "zarr", reason="zarr is not installed (extra large_images)"
)

_RANDOM = np.random.default_rng(0)
_RGB = _RANDOM.integers(0, 256, (150, 203, 3), dtype=np.uint8)
_DEEP = _RANDOM.integers(0, 5000, (150, 203), dtype=np.uint16)
_TILED = {"tile": (32, 48), "photometric": "rgb"}


def test_a_range_is_taken_as_given_and_saves_reading_the_file(tmp_path):
    path = tmp_path / "gray.tif"
    tifffile.imwrite(path, _DEEP, tile=(32, 48))
    log = []
    with opening.open_large(
        path, value_range=(1000, 2000), log=log.append
    ) as image:
        found = image.read(0, 0, 150, 203).image[..., 0]
    assert not log
    assert (found[_DEEP <= 1000] == 0).all()
    assert (found[_DEEP >= 2000] == 255).all()
    assert found[_DEEP == 1500].tolist() == [128] * (_DEEP == 1500).sum()


def test_pixels_that_are_no_numbers_are_void(tmp_path):
    values = _DEEP.astype(np.float32)
    values[20:30, 40:60] = np.nan
    tifffile.imwrite(tmp_path / "a.tif", values)
    with opening.open_large(tmp_path / "a.tif") as image:
        found = image.read(0, 0, 150, 203)
    np.testing.assert_array_equal(found.void, np.isnan(values))


def test_only_the_tiles_of_a_window_are_decoded(tmp_path, monkeypatch):
    path = tmp_path / "tiled.tif"
    tifffile.imwrite(path, _RGB, compression="zlib", **_TILED)
    decoded = []
    original = tiff_planes.PagePlane.read

    def count(self, box, samples):
        decoded.append(tuple(box))
        return original(self, box, samples)

    monkeypatch.setattr(tiff_planes.PagePlane, "read", count)
    with opening.open_large(path) as image:
        image.read(33, 50, 60, 90)
        assert decoded == [(32, 48, 64, 96)]
        image.read(33, 50, 60, 97)
        assert decoded[1:] == [(32, 96, 64, 144)]


def test_memory_of_decoded_chunks_is_bounded(tmp_path):
    path = tmp_path / "tiled.tif"
    tifffile.imwrite(path, _RGB, compression="zlib", **_TILED)
    limit = 3 * 32 * 48 * 3
    with opening.open_large(path, cache_bytes=limit) as image:
        image.read(0, 0, 150, 203)
        kept = image._cache.sizes
        assert 0 < sum(kept) <= limit


def test_a_huge_strip_is_read_by_rows_or_refused(
    check_windows, tmp_path, monkeypatch
):
    monkeypatch.setattr(tiff_planes, "_ROW_BYTES", 10 * 203 * 3)
    monkeypatch.setattr(chunks, "MAX_CHUNK_BYTES", 50_000)
    options = {"photometric": "rgb", "rowsperstrip": 150}
    tifffile.imwrite(tmp_path / "plain.tif", _RGB, **options)
    with opening.open_large(tmp_path / "plain.tif") as image:
        check_windows(image, _RGB)
        assert max(image._cache.sizes) == 10 * 203 * 3
    tifffile.imwrite(tmp_path / "zlib.tif", _RGB, compression="zlib", **options)
    with pytest.raises(errors.DataError, match="pieces of 150 x 203 pixels"):
        opening.open_large(tmp_path / "zlib.tif")
    zarr.create_array(
        store=str(tmp_path / "a.zarr"),
        shape=_RGB.shape,
        chunks=_RGB.shape,
        dtype="uint8",
    )
    with pytest.raises(errors.DataError, match="Save it in tiles"):
        opening.open_large(tmp_path / "a.zarr")


def test_a_damaged_tile_is_named_and_has_no_pixels(damage_tile, tmp_path):
    path = tmp_path / "damaged.tif"
    tifffile.imwrite(path, _RGB, compression="zlib", **_TILED)
    damage_tile(path)  # The first of the second row, of five in a row.
    with opening.open_large(path) as image:
        found = image.read(30, 3, 100, 203)
        again = image.read(0, 0, 40, 50)
        assert len(image.problems) == 1
        problem = image.problems[0]
    assert found.damaged == ((32, 3, 64, 48),)
    assert again.damaged == ((32, 0, 40, 48),)
    assert "damaged.tif, rows 32 to 63, columns 0 to 47" in problem
    expected = _RGB.copy()
    expected[32:64, :48] = 0
    np.testing.assert_array_equal(found.image, expected[30:100, 3:203])


def test_values_of_damaged_tiles_do_not_count_for_the_range(
    damage_tile, tmp_path
):
    values = np.full((64, 96), 100, np.uint16)
    values[32:, :48] = 60000
    values[0, 0] = 0
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, values, compression="zlib", tile=(32, 48))
    damage_tile(path, tile=2)
    with opening.open_large(path) as image:
        assert image.value_range == (0, 100)
        assert len(image.problems) == 1
        image.read(0, 0, 64, 96)
        assert len(image.problems) == 1


def test_a_source_states_the_version_of_a_file_or_folder(tmp_path):
    path = tmp_path / "a.zarr"
    array = zarr.create_array(store=str(path), shape=(9, 9), dtype="uint8")
    with opening.open_large(path) as image:
        before = image.describe()
        array[:] = 7
        assert image.describe() != before
        assert before.path == str(path)


def test_the_image_is_the_same_by_threads_with_a_small_cache(tmp_path):
    path = tmp_path / "tiled.tif"
    tifffile.imwrite(path, _RGB, compression="zlib", **_TILED)
    boxes = [(n, 2 * n, n + 60, 2 * n + 60) for n in range(70)]
    with (
        opening.open_large(path, cache_bytes=1) as image,
        concurrent.futures.ThreadPoolExecutor(4) as pool,
    ):
        for box, found in zip(
            boxes, pool.map(lambda b: image.read(*b), boxes), strict=True
        ):
            part = _RGB[box[0] : box[2], box[1] : box[3]]
            np.testing.assert_array_equal(found.image, part)


def test_the_cache_is_of_the_stated_size():
    assert chunked_image.CACHE_BYTES == 2**28
