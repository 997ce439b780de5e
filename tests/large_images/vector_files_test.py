# SPDX-License-Identifier: Apache-2.0
"""GeoJSON and COCO files say which pixels each segment has."""

import json
import uuid

import numpy as np
import pytest

from deeplab2_like.labels import masks
from deeplab2_like.large_images import corners, vector_files
from deeplab2_like.rasters.georeference import Georeference

_SIZE = (90, 120)
_UTM = (0.5, 0.0, 400000.0, 0.0, -0.5, 5800000.0)


@pytest.fixture(name="ids_hw")
def _ids_hw(drawn_results):
    return drawn_results.draw(*_SIZE)


def _fill(geometry, to_pixels=lambda ring: ring):
    """Rasterizes a geometry by the rule for pixel centers."""
    polygons = geometry["coordinates"]
    if geometry["type"] == "Polygon":
        polygons = [polygons]
    mask = np.zeros(_SIZE, bool)
    for rings in polygons:
        for ring in rings:
            assert ring[0] == ring[-1]
            points = to_pixels(np.array(ring[:-1], np.float64))
            mask ^= masks.fill_polygon(points, _SIZE).to_array(_SIZE)
    return mask


def _write(tmp_path, drawn_results, ids_hw, **options):
    path = tmp_path / "a.geojson"
    vector_files.write_outlines(
        drawn_results.make_result(ids_hw),
        drawn_results.DATASET,
        "slide.svs",
        geojson_path=path,
        **options,
    )
    return json.loads(path.read_text())


def test_features_have_the_pixels_of_segments(tmp_path, drawn_results, ids_hw):
    found = _write(tmp_path, drawn_results, ids_hw)
    assert "crs" not in found
    seen = np.zeros(_SIZE, np.int64)
    for feature in found["features"]:
        seen[_fill(feature["geometry"])] += feature["properties"]["segment_id"]
    np.testing.assert_array_equal(seen, ids_hw)


def test_parts_of_long_outlines_have_the_pixels_too(
    tmp_path, drawn_results, ids_hw, monkeypatch
):
    stream = corners.stream_corners

    def cut(*arguments, **options):
        return stream(*arguments, **options, band_rows=7, most_corners=60)

    monkeypatch.setattr(corners, "stream_corners", cut)
    coco = tmp_path / "a.json"
    found = _write(tmp_path, drawn_results, ids_hw, coco_path=coco)
    seen = np.zeros(_SIZE, np.int64)
    for feature in found["features"]:
        seen[_fill(feature["geometry"])] += feature["properties"]["segment_id"]
    np.testing.assert_array_equal(seen, ids_hw)
    assert any(f["properties"]["part"] for f in found["features"])
    assert len({f["id"] for f in found["features"]}) == len(found["features"])
    numbers = [
        one["segment_id"] for one in json.loads(coco.read_text())["annotations"]
    ]
    assert sorted(numbers) == np.unique(ids_hw[ids_hw > 1]).tolist()


def test_features_are_valid_by_rfc_7946(tmp_path, drawn_results, ids_hw):
    models = pytest.importorskip(
        "geojson_pydantic", reason="geojson-pydantic is for tests"
    )
    shapely = pytest.importorskip("shapely", reason="shapely is for tests")
    found = _write(tmp_path, drawn_results, ids_hw)
    collection = models.FeatureCollection.model_validate(found)
    assert len(collection.features) == len(np.unique(ids_hw)) - 1
    for feature in collection.features:
        geometry = shapely.geometry.shape(feature.geometry.model_dump())
        assert geometry.is_valid
        for polygon in getattr(geometry, "geoms", [geometry]):
            # The right-hand rule.
            assert polygon.exterior.is_ccw
            assert not any(hole.is_ccw for hole in polygon.interiors)


def test_features_have_what_qupath_reads(tmp_path, drawn_results, ids_hw):
    """The form of QuPath's documentation, "Exporting annotations"."""
    found = _write(tmp_path, drawn_results, ids_hw)
    for feature in found["features"]:
        assert str(uuid.UUID(feature["id"])) == feature["id"]
        properties = feature["properties"]
        number = properties["segment_id"]
        assert properties["objectType"] == (
            "annotation" if number == 1 else "detection"
        )
        known = properties["classification"]
        name = "ground" if number == 1 else ["cell", "dot"][number % 2]
        assert known["name"] == name
        assert len(known["color"]) == 3
        assert all(0 <= value <= 255 for value in known["color"])
        assert properties["name"] == f"{name} {number}"
        values = properties["measurements"]
        assert values["Area px"] == (ids_hw == number).sum()
        assert 0.5 <= values["Score"] <= 1


def test_coordinates_are_those_of_the_reference_system(
    tmp_path, drawn_results, ids_hw
):
    place = Georeference(_UTM, "unused", 32633)
    found = _write(tmp_path, drawn_results, ids_hw, georeference=place)
    assert found["crs"]["properties"]["name"] == "urn:ogc:def:crs:EPSG::32633"

    def to_pixels(points):
        return (points - [400000, 5800000]) / [0.5, -0.5]

    seen = np.zeros(_SIZE, np.int64)
    for feature in found["features"]:
        mask = _fill(feature["geometry"], to_pixels)
        seen[mask] += feature["properties"]["segment_id"]
    np.testing.assert_array_equal(seen, ids_hw)


def test_polygons_on_earth_are_rasterized_by_rasterio_to_the_same(
    tmp_path, drawn_results, ids_hw
):
    features = pytest.importorskip(
        "rasterio.features", reason="rasterio is not installed (extra geo)"
    )
    affine = pytest.importorskip("affine")
    shapely = pytest.importorskip("shapely", reason="shapely is for tests")
    place = Georeference(_UTM, "unused", 32633)
    found = _write(tmp_path, drawn_results, ids_hw, georeference=place)
    seen = features.rasterize(
        [
            (feature["geometry"], feature["properties"]["segment_id"])
            for feature in found["features"]
        ],
        out_shape=_SIZE,
        transform=affine.Affine(*_UTM),
        dtype="int32",
    )
    np.testing.assert_array_equal(seen, ids_hw)
    for feature in found["features"]:
        geometry = shapely.geometry.shape(feature["geometry"])
        for polygon in getattr(geometry, "geoms", [geometry]):
            assert polygon.exterior.is_ccw


def test_systems_without_a_number_become_longitude_and_latitude(
    tmp_path, drawn_results, ids_hw
):
    rasterio = pytest.importorskip(
        "rasterio", reason="rasterio is not installed (extra geo)"
    )
    crs = rasterio.crs.CRS.from_string(
        "+proj=laea +lat_0=10 +lon_0=7 +ellps=GRS80"
    )
    place = Georeference((10.0, 0, 0, 0, -10.0, 0), crs.to_wkt(), None)
    found = _write(tmp_path, drawn_results, ids_hw, georeference=place)
    assert "crs" not in found
    points = np.concatenate(
        [
            np.array(ring)
            for feature in found["features"]
            if feature["geometry"]["type"] == "Polygon"
            for ring in feature["geometry"]["coordinates"]
        ]
    )
    np.testing.assert_allclose(points, [[7, 10]] * len(points), atol=0.02)


def test_coco_run_lengths_are_read_by_pycocotools(
    tmp_path, drawn_results, ids_hw
):
    path = tmp_path / "a.json"
    result = drawn_results.make_result(ids_hw)
    vector_files.write_outlines(
        result, drawn_results.DATASET, "slide.svs", coco_path=path
    )
    found = json.loads(path.read_text())
    assert found["images"][0]["height"] == _SIZE[0]
    assert [one["name"] for one in found["categories"]] == ["cell", "dot"]
    things = np.unique(ids_hw[ids_hw > 1]).tolist()
    numbers = [one["segment_id"] for one in found["annotations"]]
    assert sorted(numbers) == things
    coco = pytest.importorskip(
        "pycocotools.mask", reason="pycocotools is not installed (extra train)"
    )
    for entry in found["annotations"]:
        mask = coco.decode(entry["segmentation"])
        expected = ids_hw == entry["segment_id"]
        np.testing.assert_array_equal(mask, expected)
        assert entry["area"] == expected.sum()
        assert entry["bbox"] == coco.toBbox(entry["segmentation"]).tolist()
