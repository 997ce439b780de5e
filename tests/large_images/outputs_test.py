# SPDX-License-Identifier: Apache-2.0
"""The files of a large result, and the picture among them."""

import json

import numpy as np
import pytest

from deeplab2_like import errors
from deeplab2_like.large_images import outputs, overlay_files
from deeplab2_like.rasters import opening
from deeplab2_like.rasters.georeference import Georeference
from deeplab2_like.rasters.source import Place
from deeplab2_like.storage import whole_files

tifffile = pytest.importorskip(
    "tifffile", reason="tifffile is not installed (extra large_images)"
)
zarr = pytest.importorskip(
    "zarr", reason="zarr is not installed (extra large_images)"
)

_SIZE = (600, 1100)


@pytest.fixture(name="ids_hw", scope="module")
def _ids_hw(drawn_results):
    return drawn_results.draw(*_SIZE)


@pytest.fixture(name="pixels", scope="module")
def _pixels():
    values = np.add.outer(np.arange(_SIZE[0]), np.arange(_SIZE[1])) % 256
    return np.dstack([values, values[::-1], values[:, ::-1]]).astype(np.uint8)


@pytest.mark.parametrize("kind", ["tif", "zarr"])
def test_all_kinds_are_written(
    tmp_path, drawn_results, quiet, ids_hw, pixels, kind
):
    pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    source = tmp_path / f"image.{kind}"
    if kind == "tif":
        tifffile.imwrite(source, pixels, photometric="rgb", tile=(256, 256))
    else:
        zarr.create_array(
            store=str(source), shape=pixels.shape, dtype="uint8", zarr_format=2
        )[:] = pixels
    out = tmp_path / "out"
    with opening.open_large(source) as image:
        written = outputs.write_outputs(
            drawn_results.make_result(ids_hw),
            image,
            out,
            "deep/image",
            outputs.KINDS,
            drawn_results.DATASET,
            quiet,
        )
    names = outputs.name_files("deep/image", outputs.KINDS, source)
    assert all((out / name).exists() for name in names.values())
    assert sorted(one.name for one in (out / "deep").iterdir()) == sorted(
        name.removeprefix("deep/") for name in names.values()
    )
    assert all((out / name).is_file() for name in written)
    assert len(written) == len(outputs.KINDS)
    if kind == "tif":
        found = tifffile.imread(out / names["labels"])
    else:
        group = zarr.open_group(str(out / names["labels"]), mode="r")
        found = group["0"][:]
        assert group.attrs["image-label"]["source"]["image"] == (
            "../../../image.zarr"
        )
    np.testing.assert_array_equal(found, ids_hw)
    table = json.loads((out / names["table"]).read_text())
    assert table["image"]["file_name"] == f"image.{kind}"


def test_only_what_is_chosen_is_written(
    tmp_path, drawn_results, quiet, ids_hw, pixels
):
    image = drawn_results.ArrayImage(pixels, tmp_path / "a.png")
    written = outputs.write_outputs(
        drawn_results.make_result(ids_hw),
        image,
        tmp_path,
        "a",
        ["coco", "table"],
        drawn_results.DATASET,
        quiet,
    )
    assert written == ["a.segments.json", "a.coco.json"]
    assert sorted(one.name for one in tmp_path.iterdir()) == sorted(written)


@pytest.mark.parametrize("kinds", [[], ["labels", "pdf"]])
def test_kinds_are_checked(kinds):
    with pytest.raises(errors.ConfigError, match="--large_outputs="):
        outputs.check_kinds(kinds)
    outputs.check_kinds(outputs.DEFAULT_KINDS)


def _write_overlay(tmp_path, drawn_results, ids_hw, pixels, place=None):
    path = tmp_path / "a.overlay.tif"
    overlay_files.write_overlay(
        path,
        drawn_results.ArrayImage(pixels, "a.png", place),
        drawn_results.make_result(ids_hw),
        drawn_results.DATASET,
    )
    return path


def test_an_overlay_is_a_pyramid(tmp_path, drawn_results, ids_hw, pixels):
    path = _write_overlay(tmp_path, drawn_results, ids_hw, pixels)
    with tifffile.TiffFile(path) as file:
        levels = file.series[0].levels
        assert [one.shape for one in levels] == [
            (600, 1100, 3),
            (300, 550, 3),
            (150, 275, 3),
        ]
        assert all(one.keyframe.is_tiled for one in levels)
        assert file.is_bigtiff
        whole, half = levels[0].asarray(), levels[1].asarray()
    mean = whole.reshape(300, 2, 550, 2, 3).mean(axis=(1, 3))
    # JPEG changes each level by itself.
    assert np.abs(half - mean).mean() < 4
    assert [one.name for one in tmp_path.iterdir()] == ["a.overlay.tif"]
    with opening.open_large(path) as image:
        assert (image.height, image.width) == _SIZE


def test_an_overlay_has_overviews_for_gdal(
    tmp_path, drawn_results, ids_hw, pixels
):
    rasterio = pytest.importorskip(
        "rasterio", reason="rasterio is not installed (extra geo)"
    )
    crs = rasterio.crs.CRS.from_epsg(32633)
    place = Georeference((0.5, 0.0, 4e5, 0.0, -0.5, 5e6), crs.to_wkt(), 32633)
    path = _write_overlay(tmp_path, drawn_results, ids_hw, pixels, Place(place))
    with rasterio.open(path) as file:
        assert file.crs == crs
        assert file.count == 3
        assert file.overviews(1) == [2, 4]
        small = file.read(out_shape=(3, 150, 275))
    with tifffile.TiffFile(path) as file:
        expected = file.series[0].levels[2].asarray()
    difference = np.abs(np.moveaxis(small, 0, -1).astype(int) - expected)
    assert difference.mean() < 3


def test_segments_are_painted_over_the_image(
    tmp_path, drawn_results, ids_hw, pixels, monkeypatch
):
    monkeypatch.setattr(
        overlay_files.optional_packages, "is_installed", lambda _: False
    )
    path = _write_overlay(tmp_path, drawn_results, ids_hw, pixels)
    found = tifffile.imread(path).astype(int)
    changes = np.zeros(_SIZE, bool)
    changes[1:] |= ids_hw[1:] != ids_hw[:-1]
    changes[:, 1:] |= ids_hw[:, 1:] != ids_hw[:, :-1]
    assert (found[changes] >= 191).all()
    for number in np.unique(ids_hw).tolist():
        inside = (ids_hw == number) & ~changes
        color = found[inside] - 0.45 * pixels[inside]
        assert np.ptp(color, axis=0).max() <= 3, number


def test_colors_of_large_ids_are_the_same(drawn_results, ids_hw, monkeypatch):
    segments = drawn_results.make_result(ids_hw).segments
    part = ids_hw[:21, :31].astype(np.uint32)
    gray = np.full((20, 30, 3), 99, np.uint8)
    first = overlay_files.Painter(segments, drawn_results.DATASET)
    monkeypatch.setattr(overlay_files, "_MOST_TABLE", 1)
    second = overlay_files.Painter(segments, drawn_results.DATASET)
    np.testing.assert_array_equal(
        first.paint(gray, part), second.paint(gray, part)
    )


def test_nothing_is_left_when_an_overlay_fails(
    tmp_path, drawn_results, ids_hw, pixels, monkeypatch
):
    def fail(*_):
        raise OSError("the disk is full")

    monkeypatch.setattr(overlay_files.Painter, "paint", fail)
    with pytest.raises(OSError, match="the disk is full"):
        _write_overlay(tmp_path, drawn_results, ids_hw, pixels)
    assert not list(tmp_path.iterdir())
    assert not whole_files.partial_path(tmp_path / "a.overlay.tif").exists()
