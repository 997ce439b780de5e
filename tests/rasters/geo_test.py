# SPDX-License-Identifier: Apache-2.0
"""GeoTIFF files keep where they lie; pixels without data are void."""

import warnings

import numpy as np
import pytest

from deeplab2_like import errors
from deeplab2_like.rasters import opening

tifffile = pytest.importorskip(
    "tifffile", reason="tifffile is not installed (extra geo)"
)
rasterio = pytest.importorskip(
    "rasterio", reason="rasterio is not installed (extra geo)"
)

_RANDOM = np.random.default_rng(0)
_RGB = _RANDOM.integers(1, 256, (3, 150, 203), dtype=np.uint8)
_PLACE = {
    "crs": "EPSG:32633",
    "transform": rasterio.Affine(0.5, 0, 400000, 0, -0.5, 5800000),
}
_TILED = {"tiled": True, "blockxsize": 64, "blockysize": 32}


def _write(path, values, **options):
    count, height, width = values.shape
    options = {**_PLACE, "driver": "GTiff", **options}
    with rasterio.open(
        path,
        "w",
        width=width,
        height=height,
        count=count,
        dtype=values.dtype,
        **options,
    ) as file:
        file.write(values)


@pytest.mark.parametrize(
    "options",
    [
        {},
        _TILED,
        {**_TILED, "compress": "deflate", "interleave": "band"},
        {"blockysize": 1},
        {"blockysize": 150, "compress": "lzw"},
    ],
)
def test_windows_of_geotiff_files_are_read(tmp_path, options):
    _write(tmp_path / "a.tif", _RGB, **options)
    expected = np.moveaxis(_RGB, 0, -1)
    with opening.open_large(tmp_path / "a.tif") as image:
        assert (image.height, image.width) == (150, 203)
        for box in [(0, 0, 150, 203), (31, 63, 33, 65), (149, 0, 150, 1)]:
            found = image.read(*box)
            part = expected[box[0] : box[2], box[1] : box[3]]
            np.testing.assert_array_equal(found.image, part)
            assert found.void is None
        place = image.place.georeference
    assert place.epsg == 32633
    assert place.transform == (0.5, 0, 400000, 0, -0.5, 5800000)
    assert not place.points


def test_pixels_of_the_nodata_value_are_void(tmp_path):
    values = _RGB.copy()
    values[:, 20:40, 50:90] = 0
    values[0, 100, 100] = 0  # In one band: a dark pixel.
    _write(tmp_path / "a.tif", values, nodata=0, **_TILED)
    with opening.open_large(tmp_path / "a.tif") as image:
        found = image.read(10, 10, 150, 203)
    expected = (values == 0).all(axis=0)
    np.testing.assert_array_equal(found.void, expected[10:, 10:])


def test_the_nodata_value_does_not_count_for_the_range(tmp_path):
    values = _RANDOM.integers(100, 900, (1, 64, 64)).astype(np.int16)
    values[0, :9] = -9999
    _write(tmp_path / "a.tif", values, nodata=-9999)
    with opening.open_large(tmp_path / "a.tif") as image:
        assert image.value_range == (values[0, 9:].min(), values[0, 9:].max())


def test_transparent_pixels_are_void_and_alpha_is_no_channel(tmp_path):
    alpha = np.where(_RANDOM.random((1, 150, 203)) < 0.3, 0, 255)
    values = np.concatenate([_RGB, alpha.astype(np.uint8)])
    _write(tmp_path / "a.tif", values, photometric="RGB", alpha="YES")
    with opening.open_large(tmp_path / "a.tif") as image:
        found = image.read(0, 0, 150, 203)
    np.testing.assert_array_equal(found.void, alpha[0] == 0)
    with pytest.raises(errors.DataError, match="has 3 channel"):
        opening.open_large(tmp_path / "a.tif", channels=[4, 1, 2])


def test_bands_that_are_named_as_colors_are_taken(tmp_path):
    kinds = rasterio.enums.ColorInterp
    values = _RANDOM.integers(0, 256, (4, 40, 50), dtype=np.uint8)
    _write(tmp_path / "a.tif", values)
    with rasterio.open(tmp_path / "a.tif", "r+") as file:
        file.colorinterp = [
            kinds.undefined,
            kinds.blue,
            kinds.green,
            kinds.red,
        ]
    with opening.open_large(tmp_path / "a.tif") as image:
        assert image.channels == (3, 2, 1)
        found = image.read(0, 0, 40, 50).image
    np.testing.assert_array_equal(found, np.moveaxis(values[[3, 2, 1]], 0, -1))
    with opening.open_large(tmp_path / "a.tif", channels=[1]) as image:
        found = image.read(0, 0, 40, 50).image
    np.testing.assert_array_equal(found[..., 1], values[0])


def test_a_palette_is_resolved(tmp_path):
    values = _RANDOM.integers(0, 3, (1, 40, 50), dtype=np.uint8)
    _write(tmp_path / "a.tif", values, photometric="palette")
    colors = {0: (9, 8, 7, 255), 1: (200, 0, 3, 255), 2: (1, 2, 3, 255)}
    with rasterio.open(tmp_path / "a.tif", "r+") as file:
        file.write_colormap(1, colors)
    with opening.open_large(tmp_path / "a.tif") as image:
        found = image.read(0, 0, 40, 50).image
    table = np.array([color[:3] for color in colors.values()])
    np.testing.assert_array_equal(found, table[values[0]])


def test_damaged_blocks_are_named(tmp_path):
    path = tmp_path / "a.tif"
    _write(path, _RGB, compress="deflate", **_TILED)
    with tifffile.TiffFile(path) as file:
        page = file.pages[0]
        offset, count = page.dataoffsets[5], page.databytecounts[5]
    with open(path, "r+b") as file:
        file.seek(offset)
        file.write(b"\xff" * count)
    with opening.open_large(path) as image:
        found = image.read(0, 0, 150, 203)
        assert found.damaged == ((32, 64, 64, 128),)
        assert "a.tif, rows 32 to 63, columns 64 to 127" in image.problems[0]
    is_good = np.ones((150, 203), bool)
    is_good[32:64, 64:128] = False
    expected = np.where(is_good[..., None], np.moveaxis(_RGB, 0, -1), 0)
    np.testing.assert_array_equal(found.image, expected)


@pytest.mark.parametrize("kept", [0.05, 0.5, 0.9])
def test_a_file_that_was_cut_off_is_read_as_far_as_it_goes(tmp_path, kept):
    path = tmp_path / "a.tif"
    _write(path, _RGB, compress="deflate", **_TILED)
    data = path.read_bytes()
    path.write_bytes(data[: int(kept * len(data))])
    with opening.open_large(path) as image:
        found = image.read(0, 0, 150, 203)
        assert found.damaged
        assert image.problems


def test_jpeg_2000_is_read(tmp_path):
    with rasterio.Env() as env:
        if "JP2OpenJPEG" not in env.drivers():
            pytest.skip("this GDAL has no JPEG 2000")
    _write(
        tmp_path / "a.jp2",
        _RGB,
        driver="JP2OpenJPEG",
        quality=100,
        reversible="YES",
        ycbcr420="NO",
    )
    with opening.open_large(tmp_path / "a.jp2") as image:
        found = image.read(5, 6, 100, 203).image
        assert image.place.georeference.epsg == 32633
    np.testing.assert_array_equal(found, np.moveaxis(_RGB, 0, -1)[5:100, 6:])


def test_control_points_are_kept(tmp_path):
    points = [
        rasterio.control.GroundControlPoint(row, col, 10 + col, 50 - row, 0)
        for row, col in [(0, 0), (0, 200), (140, 0), (140, 200)]
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # It has no transform.
        _write(tmp_path / "a.tif", _RGB, transform=None, crs="EPSG:4326")
    with rasterio.open(tmp_path / "a.tif", "r+") as file:
        file.gcps = (points, rasterio.crs.CRS.from_epsg(4326))
    with opening.open_large(tmp_path / "a.tif") as image:
        place = image.place.georeference
    assert place.transform is None
    assert place.epsg == 4326
    assert len(place.points) == 4
    assert place.points[1][:4] == (0, 200, 210, 50)


@pytest.mark.parametrize(
    "crs",
    ["EPSG:32633", "EPSG:4326", "+proj=laea +lat_0=10 +lon_0=7 +ellps=GRS80"],
)
@pytest.mark.parametrize("is_point", [False, True])
def test_tags_of_the_georeference_say_the_same(tmp_path, crs, is_point):
    transform = rasterio.Affine(0.3, 0.1, 12.5, 0.1, -0.3, 50)
    _write(tmp_path / "a.tif", _RGB, crs=crs, transform=transform)
    if is_point:
        with rasterio.open(tmp_path / "a.tif", "r+") as file:
            file.update_tags(AREA_OR_POINT="Point")
    with opening.open_large(tmp_path / "a.tif") as image:
        place = image.place.georeference
    assert place.is_point == is_point
    tifffile.imwrite(
        tmp_path / "b.tif",
        np.zeros((7, 9), np.uint32),
        metadata=None,
        extratags=place.to_tiff_tags(),
    )
    with (
        rasterio.open(tmp_path / "a.tif") as first,
        rasterio.open(tmp_path / "b.tif") as second,
    ):
        assert second.crs == first.crs
        assert second.transform.almost_equals(first.transform, 1e-9)
        assert second.tags()["AREA_OR_POINT"] == first.tags()["AREA_OR_POINT"]


def test_points_are_placed_as_by_rasterio(tmp_path):
    _write(tmp_path / "a.tif", _RGB)
    with opening.open_large(tmp_path / "a.tif") as image:
        place = image.place.georeference
    points = np.array([[0.0, 0.0], [10.0, 20.0]])
    np.testing.assert_allclose(
        place.to_crs(points), [[400000, 5800000], [400005, 5799990]]
    )
    longitude, latitude = place.to_longitude_latitude(place.to_crs(points))[0]
    assert longitude == pytest.approx(13.54, abs=0.05)
    assert latitude == pytest.approx(52.34, abs=0.05)
