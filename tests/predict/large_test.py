# SPDX-License-Identifier: Apache-2.0
"""Live and exported models on images that are cut into tiles."""

import types

import numpy as np
import pytest

from deeplab2_like import errors
from deeplab2_like.large_images.options import LargeOptions
from deeplab2_like.large_images.source import LargeImage, Window
from deeplab2_like.predict import panoptic_model
from deeplab2_like.storage.file_identity import Source


class _Image(LargeImage):
    path = "drawn"

    def __init__(self, pixels):
        self._pixels = pixels
        self.height, self.width = pixels.shape[:2]

    def read(self, top, left, bottom, right):
        return Window(self._pixels[top:bottom, left:right])

    def describe(self):
        return Source(self.path, self._pixels.size, 1)


@pytest.fixture(scope="module")
def model(tiny_run):
    return panoptic_model.load_model(tiny_run, canvas_size="129,129")


def test_an_image_of_a_tile_is_predicted_as_ever(
    model, make_image, quiet_report
):
    image = make_image(3, (129, 120))
    expected = model.predict(image)
    found = model.predict_large(
        _Image(image), LargeOptions(129), report=quiet_report
    )
    labels = found.labels.read(0, 129)
    np.testing.assert_array_equal(labels, expected.segmentation)
    infos = expected.segments_info
    assert found.segments.category.tolist() == [i["label_id"] for i in infos]
    assert found.segments.is_thing.tolist() == [i["isthing"] for i in infos]
    scores = [i["score"] for i in infos]
    np.testing.assert_allclose(found.segments.score, scores, atol=1e-5)
    boxes = [[x, y, r - x, b - y] for y, x, b, r in found.segments.bbox]
    assert boxes == [i["bbox"] for i in infos]
    folder = found.labels.folder
    assert folder.is_dir()
    del found
    assert not folder.exists()


def test_exported_models_agree_with_live_ones(
    model, predictor, make_image, quiet_report
):
    image = _Image(make_image(4, (200, 150)))
    live, exported = (
        one.predict_large(image, LargeOptions(97), report=quiet_report)
        for one in (model, predictor)
    )
    same = live.labels.read(0, 200) == exported.labels.read(0, 200)
    assert same.mean() > 0.99
    assert len(live.segments) > 2


def test_what_cannot_be_tiled_is_one_sentence(
    predictor, model, make_image, quiet_report, monkeypatch
):
    image = _Image(make_image(5, (100, 100)))
    plain = types.SimpleNamespace(signatures={"serving_default": None})
    monkeypatch.setattr(predictor, "_model", plain)
    with pytest.raises(errors.ExportError, match="--tile_function"):
        predictor.predict_large(image, report=quiet_report)
    with pytest.raises(errors.ConfigError, match="take 97 or 113"):
        model.predict_large(image, LargeOptions(100), report=quiet_report)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        "panoptic_fpn",
        "efficientps",
        "efficientps_solov2",
    ],
)
def test_systems_that_find_objects(name, make_image, quiet_report):
    """Of a single tile as ever, but for the limit of stuff."""
    config = f"scenes/{name}_mobilenet_v3_small"
    model = panoptic_model.build_model(config, canvas_size="129,129")
    image = make_image(6, (129, 120))
    found = model.predict_large(
        _Image(image), LargeOptions(129), report=quiet_report
    )
    outputs = model.predict_maps(image)
    rows = np.flatnonzero(outputs["segment_is_valid"])
    assert sorted(found.segments.area) == sorted(outputs["segment_area"][rows])
    large = model.predict_large(
        _Image(make_image(7, (220, 200))), LargeOptions(129, 64)
    )
    assert large.labels.read(0, 220).shape == (220, 200)
