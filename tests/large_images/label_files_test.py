# SPDX-License-Identifier: Apache-2.0
"""Label maps are read back as they were written, by others' readers too."""

import numpy as np
import pytest

from deeplab2_like.large_images import label_files
from deeplab2_like.rasters.chunks import PixelScale
from deeplab2_like.rasters.georeference import Georeference
from deeplab2_like.rasters.source import Place

tifffile = pytest.importorskip(
    "tifffile", reason="tifffile is not installed (extra large_images)"
)
zarr = pytest.importorskip(
    "zarr", reason="zarr is not installed (extra large_images)"
)

_MICROMETERS = PixelScale(0.5, 0.25, "micrometer")


def _draw_ids(height, width):
    """Ids up to the largest of 32 bits, in blocks of 8 pixels."""
    random = np.random.default_rng(0)
    size = (-(-height // 8), -(-width // 8))
    ids = random.integers(0, 2**32, size, dtype=np.uint32)
    ids[0, 0] = 2**32 - 1
    return np.kron(ids, np.ones((8, 8), np.uint32))[:height, :width]


@pytest.mark.parametrize("size", [(1100, 700), (512, 512), (1, 1), (3, 2000)])
def test_labels_in_tiff_are_read_back(tmp_path, drawn_results, size):
    ids_hw = _draw_ids(*size)
    labels, path = drawn_results.ArrayMap(ids_hw), tmp_path / "a.labels.tif"
    rows = []
    label_files.write_label_tiff(
        path, labels, place=Place(scale=_MICROMETERS), advance=rows.append
    )
    with tifffile.TiffFile(path) as file:
        page = file.pages[0]
        assert file.is_bigtiff
        assert page.is_tiled
        assert page.dtype == np.uint32
        assert len(file.pages) == 1
        np.testing.assert_array_equal(page.asarray(), ids_hw)
        # Pixels a centimeter.
        assert page.tags["XResolution"].value[0] == 40000
        assert page.tags["YResolution"].value[0] == 20000
    assert labels.most_rows <= label_files.TILE
    assert rows[-1] == size[0]
    assert [file.name for file in tmp_path.iterdir()] == ["a.labels.tif"]


def test_labels_with_a_georeference_are_read_by_rasterio(
    tmp_path, drawn_results
):
    rasterio = pytest.importorskip(
        "rasterio", reason="rasterio is not installed (extra geo)"
    )
    crs = rasterio.crs.CRS.from_epsg(32633)
    transform = (0.5, 0.0, 400000.0, 0.0, -0.5, 5800000.0)
    place = Georeference(transform, crs.to_wkt(), 32633)
    ids_hw = _draw_ids(700, 600)
    path = tmp_path / "a.labels.tif"
    label_files.write_label_tiff(
        path, drawn_results.ArrayMap(ids_hw), place=Place(place)
    )
    with rasterio.open(path) as file:
        np.testing.assert_array_equal(file.read(1), ids_hw)
        assert file.crs == crs
        assert tuple(file.transform)[:6] == transform
        assert file.nodata == 0


@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize("size", [(2500, 1300), (1024, 1024), (5, 7)])
def test_labels_in_zarr_are_a_pyramid_of_the_nearest(
    tmp_path, drawn_results, size, zarr_format
):
    ids_hw = _draw_ids(*size)
    labels, path = drawn_results.ArrayMap(ids_hw), tmp_path / "a.labels.zarr"
    label_files.write_label_zarr(
        path, labels, scale=_MICROMETERS, zarr_format=zarr_format
    )
    group = zarr.open_group(str(path), mode="r")
    assert group.metadata.zarr_format == zarr_format
    levels = len(list(group.array_keys()))
    assert levels == {2500: 3, 1024: 1, 5: 1}[size[0]]
    for level in range(levels):
        found = group[str(level)]
        assert found.dtype == np.uint32
        step = 2**level
        np.testing.assert_array_equal(found[:], ids_hw[::step, ::step])
    assert labels.most_rows <= 1024
    assert [file.name for file in tmp_path.iterdir()] == ["a.labels.zarr"]


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_labels_in_zarr_follow_the_schema_of_ome(
    tmp_path, drawn_results, zarr_format
):
    models = pytest.importorskip(
        "ome_zarr_models", reason="ome-zarr-models is for tests"
    )
    path = tmp_path / "a.labels.zarr"
    label_files.write_label_zarr(
        path,
        drawn_results.ArrayMap(_draw_ids(2500, 1300)),
        scale=_MICROMETERS,
        zarr_format=zarr_format,
        image_label={"source": {"image": "../image.zarr"}},
    )
    version = {2: models.v04, 3: models.v05}[zarr_format]
    group = zarr.open_group(str(path), mode="r")
    found = version.image_label.ImageLabel.from_zarr(group)
    attributes = found.attributes if zarr_format == 2 else found.ome_attributes
    sets = attributes.multiscales[0].datasets
    assert [one.path for one in sets] == ["0", "1", "2"]
    scales = [one.coordinateTransformations[0].scale for one in sets]
    assert scales == [[0.5, 0.25], [1.0, 0.5], [2.0, 1.0]]
    assert attributes.image_label.source.image == "../image.zarr"


@pytest.mark.parametrize("name", ["a.labels.tif", "a.labels.zarr"])
def test_nothing_appears_when_labels_cannot_be_read(
    tmp_path, drawn_results, name
):
    labels = drawn_results.ArrayMap(_draw_ids(1500, 40))
    original = labels.read

    def fail(top, bottom):
        if top:
            raise OSError("the disk is gone")
        return original(top, bottom)

    labels.read = fail
    write = (
        label_files.write_label_zarr
        if name.endswith("zarr")
        else label_files.write_label_tiff
    )
    with pytest.raises(OSError, match="the disk is gone"):
        write(tmp_path / name, labels)
    assert not list(tmp_path.iterdir())
