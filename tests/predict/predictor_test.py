# SPDX-License-Identifier: Apache-2.0
import concurrent.futures
import multiprocessing
import pathlib
import pickle
import resource
import shutil
import sys
import types

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from deeplab2_like import errors, predict
from deeplab2_like.scenes import scene


def test_files_of_several_sizes_are_predicted_in_one_call(
    predictor, tmp_path, write_image
):
    paths = [
        write_image(tmp_path / "a.png", 1),
        write_image(tmp_path / "b.png", 2, (100, 60)),
    ]
    data = [paths[0].read_bytes(), b"hello", paths[1].read_bytes()]
    first, refused, second = predictor.predict_encoded(data)
    for path, found in zip(paths, (first, second), strict=True):
        expected = predictor.predict(path)
        np.testing.assert_array_equal(found.segmentation, expected.segmentation)
        assert found.segments_info == expected.segments_info
    assert isinstance(refused, errors.DataError)
    assert "neither a JPEG nor a PNG" in str(refused)
    with pytest.raises(errors.DataError, match="has no image"):
        predictor.predict_encoded([])


def test_models_without_the_compact_signature_say_so(predictor):
    model = types.SimpleNamespace(signatures={"serving_default": None})
    old = predict.Predictor(model, predictor.info, predictor.descriptor)
    with pytest.raises(errors.ExportError, match="--compact_signature=true"):
        old.predict_encoded([b""])


def test_the_result_has_the_size_of_the_image_and_named_segments(
    predictor, make_image
):
    found = predictor.predict(make_image())
    assert found.segmentation.shape == (80, 120)
    assert found.segments_info
    for info in found.segments_info:
        area = np.sum(found.segmentation == info["id"])
        assert info["area"] == area
        assert info["category_name"] in scene.CLASS_NAMES
        assert info["score"] >= 0


def test_pixels_files_and_pillow_images_give_the_same(
    predictor, tmp_path, make_image, write_image
):
    pixels = make_image()
    expected = predictor.predict(pixels)
    path = write_image(tmp_path / "a.png")
    for image in (path, str(path), Image.open(path)):
        found = predictor.predict(image)
        np.testing.assert_array_equal(found.segmentation, expected.segmentation)
        assert found.segments_info == expected.segments_info


def test_transformers_tools_can_read_the_result(predictor, make_image):
    found = predictor.predict(make_image()).to_transformers()
    assert set(found) == {"segmentation", "segments_info"}


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((5, 5), np.uint8), r"dimensions \[5, 5\]"),
        (np.zeros((5, 5, 4), np.uint8), r"uint8 \[H, W, 3\]"),
        (np.zeros((5, 5, 3), np.float32), "type float32"),
        (np.zeros((1, 5, 5, 3), np.uint8), r"uint8 \[H, W, 3\]"),
        (np.zeros((0, 5, 3), np.uint8), "5 x 0 pixels"),
        (np.zeros((5000, 5000, 3), np.uint8), "5000 x 5000 pixels"),
        ("nothing.jpg", "does not exist"),
        (None, r"uint8 \[H, W, 3\]"),
    ],
)
def test_what_is_no_image_is_one_sentence(predictor, image, message):
    with pytest.raises(errors.DataError, match=message):
        predictor.predict(image)


def test_threads_may_share_a_predictor(predictor, make_image):
    images = [make_image(seed) for seed in range(4)] * 2
    expected = [predictor.predict_maps(image) for image in images[:4]] * 2
    with concurrent.futures.ThreadPoolExecutor(4) as executor:
        found = list(executor.map(predictor.predict_maps, images))
    for maps, others in zip(found, expected, strict=True):
        for key in others:
            np.testing.assert_array_equal(maps[key], others[key])


def _measure_memory():
    """Returns the resident memory of this process in MB."""
    pages = int(pathlib.Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 1e6


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="memory is read in /proc")
def test_images_of_240_sizes_take_no_more_memory_than_of_a_few(
    predictor, make_image
):
    sizes = [(40 + n % 16, 50 + n // 16) for n in range(240)]
    images = [make_image(n, size) for n, size in enumerate(sizes)]
    for image in images[:40]:
        predictor.predict(image)
    before = _measure_memory()
    for image in images[40:]:
        assert predictor.predict(image).segmentation.shape == image.shape[:2]
    assert _measure_memory() - before < 150


@pytest.mark.slow
def test_a_pickled_predictor_loads_its_folder_again(
    predictor, exported, monkeypatch, make_image
):
    monkeypatch.chdir(exported.parent)
    relative = predict.Predictor.from_saved_model(exported.name)
    monkeypatch.chdir("/")
    again = pickle.loads(pickle.dumps(relative))
    image = make_image()
    np.testing.assert_array_equal(
        again.predict(image).segmentation, predictor.predict(image).segmentation
    )
    loose = predict.Predictor(
        predictor._model, predictor.info, predictor.descriptor
    )
    with pytest.raises(errors.ExportError, match="cannot be pickled"):
        pickle.dumps(loose)


@pytest.mark.slow
def test_a_spawned_worker_predicts_with_a_pickled_predictor(
    predictor, make_image
):
    image = make_image()
    spawn = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(1, spawn) as executor:
        maps = executor.submit(predictor.predict_maps, image).result()
    np.testing.assert_array_equal(
        maps["panoptic"], predictor.predict_maps(image)["panoptic"]
    )


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_a_served_photo_has_the_map_of_the_predicted_file(
    predictor, tmp_path, kind, make_image
):
    serve = predictor._model.signatures["encoded"]
    image = Image.fromarray(make_image())
    for orientation in range(1, 9):
        tags = Image.Exif()
        tags[0x0112] = orientation
        path = tmp_path / f"{orientation}.{kind.lower()}"
        image.save(path, kind, exif=tags)
        served = serve(image_bytes=tf.constant([path.read_bytes()]))
        panoptic = served["panoptic"].numpy()[0]
        assert panoptic.shape == ((120, 80) if orientation > 4 else (80, 120))
        np.testing.assert_array_equal(
            panoptic, predictor.predict_maps(path)["panoptic"]
        )


def test_a_folder_that_is_no_export_is_one_sentence(tmp_path, exported):
    with pytest.raises(errors.ExportError, match="is not a folder"):
        predict.Predictor.from_saved_model(tmp_path / "nothing")
    with pytest.raises(errors.ExportError, match="is no SavedModel"):
        predict.Predictor.from_saved_model(tmp_path)
    copy = tmp_path / "copy"
    shutil.copytree(exported, copy)
    shutil.rmtree(copy / "variables")
    with pytest.raises(errors.ExportError, match="cannot be loaded"):
        predict.Predictor.from_saved_model(copy)
    (copy / "saved_model.pb").write_bytes(b"nonsense")
    with pytest.raises(errors.ExportError, match="cannot be loaded"):
        predict.Predictor.from_saved_model(copy)


def test_a_model_without_instances_gives_a_segment_for_each_class(predictor):
    class Semantic(predict.Predictor):
        def _run(self, pixels):
            assert pixels.shape == (2, 3, 3)
            return {
                "semantic": np.array([[0, 0, 5], [2, 2, 255]], np.int32),
                "segment_id": np.array([0, 5000, 0, 0], np.int32),
                "segment_score": np.array([0.5, 0.25, 0, 0], np.float32),
                "segment_is_valid": np.array([True, True, False, False]),
            }

    semantic = Semantic(predictor._model, predictor.info, predictor.descriptor)
    found = semantic.predict(np.zeros((2, 3, 3), np.uint8))
    segments = [(i["label_id"], i["score"]) for i in found.segments_info]
    assert segments == [(0, 0.5), (5, 0.25)]
    np.testing.assert_array_equal(found.segmentation, [[1, 1, 2], [0, 0, 0]])
