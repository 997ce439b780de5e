# SPDX-License-Identifier: Apache-2.0
import importlib.util
import pathlib

import numpy as np
import pytest
import rich.console
from PIL import Image

from deeplab2_like import predict
from deeplab2_like.console import progress
from deeplab2_like.exports import exported_model
from deeplab2_like.scenes import scene


@pytest.fixture(scope="session")
def make_image():
    """Returns a function that draws an image."""

    def make(seed=0, size=(80, 120)):
        return scene.make_scene(seed, size).image

    return make


@pytest.fixture(scope="session")
def write_image(make_image):
    """Returns a function that draws an image into a file."""

    def write(path, seed=0, size=(80, 120)):
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(make_image(seed, size)).save(path)
        return path

    return write


@pytest.fixture(scope="session")
def predictor(exported):
    return predict.Predictor.from_saved_model(exported)


@pytest.fixture
def loaded(predictor, monkeypatch):
    """Makes loading fast, from a folder of any name."""
    monkeypatch.setattr(
        predict.Predictor, "from_saved_model", lambda _: predictor
    )
    monkeypatch.setattr(exported_model, "load_info", lambda _: predictor.info)
    monkeypatch.setattr(
        exported_model, "load_descriptor", lambda _: predictor.descriptor
    )


@pytest.fixture(scope="session")
def photos(tmp_path_factory, write_image):
    """A folder with three images and three files that are none."""
    folder = tmp_path_factory.mktemp("photos")
    write_image(folder / "a.png", 1)
    write_image(folder / "b.png", 2, (100, 60))
    write_image(folder / "sub" / "a.png", 3)
    (folder / "text.jpg").write_text("this is no image")
    data = (folder / "a.png").read_bytes()
    (folder / "half.png").write_bytes(data[: len(data) // 2])
    Image.new("L", (6000, 6000)).save(folder / "large.png")
    return folder


def _load(name):
    path = pathlib.Path(__file__).with_name(f"{name}.py")
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def fake_models():
    """Returns the module `fake_model`."""
    return _load("fake_model")


@pytest.fixture(scope="session")
def clips():
    """Returns the module `clips`."""
    return _load("clips")


@pytest.fixture
def fake(fake_models, monkeypatch):
    """Lets every folder hold a model that needs no TensorFlow; returns it."""
    model = fake_models.FakeModel()
    fake_models.install(model, monkeypatch.setattr)
    return model


@pytest.fixture(scope="session")
def write_boxes():
    """Returns a function that writes images with a bright box each.

    They are BMP files, which are decoded without TensorFlow.
    """

    def write(folder, count, size=(20, 30)):
        folder.mkdir(parents=True, exist_ok=True)
        for number in range(count):
            pixels = np.zeros((*size, 3), np.uint8)
            pixels[3 : 8 + number % 9, 5:15] = 255
            Image.fromarray(pixels).save(folder / f"{number:04d}.bmp")
        return folder

    return write


@pytest.fixture(scope="session")
def quiet_report():
    """A progress display that shows nothing."""
    return progress.Progress(rich.console.Console(quiet=True))


@pytest.fixture(name="tracker")
def _tracker(fake, monkeypatch):
    """A model that finds an object in each colour; its numbers change."""
    colors = {200: 1, 150: 2, 100: 3}
    predict_bright = fake.predict_maps

    def predict_maps(image):
        maps = predict_bright(image)
        gray = np.asarray(image)[..., 1]
        divisor = fake.descriptor.label_divisor
        panoptic = np.zeros(gray.shape, np.int32)
        ids = [0]
        for value, number in colors.items():
            # Another number in each frame.
            label = 5 * divisor + 1 + (number + fake.calls) % 3
            is_object = np.abs(gray.astype(int) - value) < 20
            if is_object.any():
                panoptic[is_object] = label
                ids.append(label)
        ids = np.array(ids, np.int32)
        return {
            **maps,
            "semantic": panoptic // divisor,
            "panoptic": panoptic,
            "segment_id": ids,
            "segment_category": ids // divisor,
            "segment_score": np.full(len(ids), 0.5, np.float32),
            "segment_area": np.ones(len(ids), np.int32),
            "segment_is_valid": np.ones(len(ids), bool),
        }

    monkeypatch.setattr(fake, "predict_maps", predict_maps)
    return fake
