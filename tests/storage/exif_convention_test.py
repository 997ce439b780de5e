# SPDX-License-Identifier: Apache-2.0
"""Which way the labels of a data set were drawn."""

import pytest
from PIL import Image

from deeplab2_like.storage import exif_convention, image_decoding


@pytest.fixture
def make_photo(tmp_path):
    """Returns a function that writes a photo and its label."""

    def make(name, orientation, stored, label=None, size=None):
        """Sizes are (height, width)."""
        tags = Image.Exif()
        if orientation is not None:
            tags[0x0112] = orientation
        path = tmp_path / f"{name}.jpg"
        Image.new("RGB", stored[::-1]).save(path, exif=tags)
        label_path = ""
        if label is not None:
            label_path = str(tmp_path / f"{name}.png")
            Image.new("RGB", label[::-1]).save(label_path)
        return exif_convention.Photo(name, str(path), label_path, size)

    return make


def _decide(photos, rule="auto"):
    warnings = []
    chosen = exif_convention.prefers_upright(photos, rule, warnings.append)
    return chosen, " ".join(warnings)


def test_photos_on_their_side_show_it_for_those_upside_down(make_photo):
    doubtful = [
        make_photo("down", 3, (4, 6), (4, 6)),
        make_photo("mirror", 2, (4, 6), (4, 6)),
        make_photo("square", 6, (5, 5), (5, 5)),
        make_photo("plain", None, (4, 6), (4, 6)),
    ]
    upright = make_photo("upright", 6, (4, 6), (6, 4))
    stored = make_photo("stored", 8, (4, 6), (4, 6))
    assert _decide([*doubtful, upright]) == (True, "")
    assert _decide([*doubtful, stored]) == (False, "")


def test_a_set_that_shows_nothing_is_turned_and_named(make_photo):
    photos = [
        make_photo(name, 3, (4, 6), (4, 6)) for name in ("a", "b", "c", "d")
    ]
    chosen, warning = _decide([*photos, make_photo("plain", 1, (4, 6), (4, 6))])
    assert chosen
    assert "4 photos ('a', 'b', 'c' and 1 more)" in warning
    assert "--exif=ignore takes them as stored" in warning
    assert "plain" not in warning
    assert _decide(photos, "apply") == (True, "")
    assert _decide(photos, "ignore") == (False, "")


def test_photos_that_contradict_each_other_are_named(make_photo):
    photos = [
        make_photo("x", 6, (4, 6), (6, 4)),
        make_photo("y", 6, (4, 6), (4, 6)),
        make_photo("z", 3, (4, 6), (4, 6)),
    ]
    chosen, warning = _decide(photos)
    assert chosen
    assert (
        "The labels of 1 photo ('x') were drawn on the photo turned" in warning
    )
    assert "those of 1 photo ('y') on the photo as stored" in warning
    assert "For 1 photo ('z')" in warning


def test_a_flag_that_the_sizes_contradict_is_named(make_photo):
    photo = make_photo("x", 6, (4, 6), (4, 6))
    chosen, warning = _decide([photo], "apply")
    assert chosen
    assert "--exif=apply is given" in warning
    assert "('x') were drawn on the photo as stored" in warning
    assert _decide([photo], "ignore") == (False, "")


def test_without_labels_the_size_in_the_data_set_counts(make_photo):
    assert _decide([make_photo("x", 6, (4, 6), size=(4, 6))]) == (False, "")
    assert _decide([make_photo("x", 6, (4, 6), size=(6, 4))]) == (True, "")
    assert "'x'" in _decide([make_photo("x", 6, (4, 6))])[1]


def test_files_that_cannot_be_read_show_nothing(tmp_path):
    missing = exif_convention.Photo("m", str(tmp_path / "m.jpg"))
    text = exif_convention.Photo("t", str(tmp_path / "t.jpg"))
    (tmp_path / "t.jpg").write_text("no image")
    assert _decide([missing, text]) == (True, "")


@pytest.mark.parametrize("prefers", [True, False])
def test_each_photo_follows_its_size_or_the_set(make_photo, prefers):
    def choose(photo, label_size):
        with open(photo.path, "rb") as stream:
            image = image_decoding.open_image(stream.read(), "a")
        return exif_convention.is_upright(image, label_size, prefers)

    side = make_photo("x", 6, (4, 6))
    assert choose(side, (6, 4))
    assert not choose(side, (4, 6))
    assert choose(side, None) == prefers
    assert choose(make_photo("y", 3, (4, 6)), (4, 6)) == prefers
