# SPDX-License-Identifier: Apache-2.0
import pytest
from PIL import Image

from deeplab2_like import predict
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
