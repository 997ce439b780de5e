# SPDX-License-Identifier: Apache-2.0
"""Pictures of COCO-panoptic files: which image, which way up, which name."""

import numpy as np
import pytest
from PIL import Image

from deeplab2_like import errors
from deeplab2_like.labels import descriptor as descriptor_lib
from deeplab2_like.results import coco_writer
from deeplab2_like.results.panoptic_result import PanopticResult
from deeplab2_like.visualize import coco_main

_DATA = descriptor_lib.make(["field"], ["barn"])


def _make_label(height=24, width=36):
    label = np.zeros((height, width), np.int32)
    label[2:12, 3:15] = 1001
    return label


def _make_pixels(label):
    return np.where(
        (label > 0)[..., None], [220, 40, 40], [40, 160, 60]
    ).astype(np.uint8)


@pytest.fixture
def data(tmp_path):
    """Returns a set of images and labels, and a function that draws it."""
    return _Data(tmp_path)


class _Data:
    def __init__(self, folder):
        self.folder = folder
        self._writer = coco_writer.CocoPanopticWriter(folder / "truth", _DATA)

    def add(self, name, label=None, orientation=None, pixels=None):
        """Adds a label and the image that is stored for it."""
        label = _make_label() if label is None else label
        pixels = _make_pixels(label) if pixels is None else pixels
        path = self.folder / "images" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        tags = Image.Exif()
        if orientation:
            tags[0x0112] = orientation
        Image.fromarray(pixels).save(path, exif=tags)
        result = PanopticResult.from_label(label, _DATA)
        self._writer.add(result, name)

    def draw(self, **flags):
        values = {
            "panoptic_json": str(self._writer.close()),
            "panoptic_folder": None,
            "image_folder": str(self.folder / "images"),
            "output_folder": str(self.folder / "out"),
            "exif": "auto",
            "max_images": None,
        }
        for name, value in (values | flags).items():
            coco_main._FLAGS[name].value = value
        coco_main._FLAGS.mark_as_parsed()
        coco_main._main([])
        out = self.folder / "out"
        return {
            path.relative_to(out).as_posix(): np.asarray(Image.open(path))
            for path in out.rglob("*.png")
        }


def test_a_photo_on_its_side_is_drawn_with_its_upright_label(data, capsys):
    label = _make_label()
    upright = _make_pixels(label)
    data.add("side.png", label, 6, np.rot90(upright))
    data.add("plain.png", label)
    pictures = data.draw()
    np.testing.assert_array_equal(pictures["side.png"], pictures["plain.png"])
    assert "2 pictures are in" in capsys.readouterr().out


def test_photos_upside_down_follow_those_on_their_side(data, capsys):
    label = _make_label()
    pixels = _make_pixels(label)
    data.add("down.png", label, 3, pixels)
    data.add("plain.png", label)
    # Its label was drawn on the pixels as stored.
    data.add("side.png", label, 8, pixels)
    pictures = data.draw()
    for name in ("down.png", "side.png"):
        np.testing.assert_array_equal(pictures[name], pictures["plain.png"])
    assert capsys.readouterr().err == ""


def test_a_set_that_shows_nothing_is_named_or_decided_by_the_flag(data, capsys):
    data.add("down.png", None, 3)
    data.add("plain.png")
    turned = data.draw()
    assert "For 1 photo ('down.png')" in capsys.readouterr().err
    assert (turned["down.png"] != turned["plain.png"]).any()
    stored = data.draw(exif="ignore")
    assert capsys.readouterr().err == ""
    np.testing.assert_array_equal(stored["down.png"], stored["plain.png"])


def test_images_of_one_name_have_pictures_of_their_own(data):
    for name in ("north/1.png", "south/1.png", "south/1.bmp"):
        data.add(name)
    assert set(data.draw()) == {
        "north/1.png",
        "south/1.png",
        "south/1.bmp.png",
    }


def test_only_the_first_images_may_be_drawn(data):
    for name in ("a.png", "b.png", "c.png"):
        data.add(name)
    assert set(data.draw(max_images=2)) == {"a.png", "b.png"}


def test_an_image_of_more_than_8_bits_is_refused(data):
    pixels = np.full((24, 36), 4000, np.uint16)
    data.add("deep.png", pixels=pixels)
    with pytest.raises(errors.DataError, match="Scale it to 8 bits first"):
        data.draw()


def test_a_missing_image_is_named(data):
    data.add("a.png")
    (data.folder / "images/a.png").unlink()
    with pytest.raises(
        errors.DataError, match=r"Image a: .*a\.png does not exist"
    ):
        data.draw()
