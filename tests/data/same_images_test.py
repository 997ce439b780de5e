# SPDX-License-Identifier: Apache-2.0
"""Images of two sets are compared by their pixels, whatever their files."""

import io

import numpy as np
import pytest
from PIL import Image

from deeplab2_like import errors
from deeplab2_like.data import same_images
from deeplab2_like.data.records import features, writer
from deeplab2_like.storage import image_decoding

_ORIENTATION = 0x0112


def _draw(seed, size=(6, 9)):
    return np.random.default_rng(seed).integers(0, 256, (*size, 3), np.uint8)


def _encode(pixels, kind="PNG", **options):
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, kind, **options)
    return stream.getvalue()


def _write_records(folder, contents):
    records = [
        features.encode_example(
            name=name, image=content, image_format="png", size=(1, 1)
        )
        for name, content in contents.items()
    ]
    writer.write_shards(records, len(records), str(folder), "a", 1)
    return [str(path) for path in folder.glob("a-*")]


def _known(folder, contents):
    places = same_images.list_records(_write_records(folder, contents))
    return same_images.KnownImages.read(places)


def test_a_photo_of_records_is_found_however_it_is_turned(tmp_path):
    exif = Image.Exif()
    exif[_ORIENTATION] = 6
    photo = tmp_path / "photo.png"
    photo.write_bytes(_encode(_draw(1), exif=exif))
    bare = tmp_path / "bare.png"
    bare.write_bytes(_encode(_draw(1)))
    known = _known(tmp_path, {"a": photo.read_bytes()})
    found = known.find(same_images.list_files([str(photo), str(bare)]))
    assert found == [(str(photo), "a"), (str(bare), "a")]


def test_a_turned_photo_is_found_where_it_is_stored_upright(tmp_path):
    exif = Image.Exif()
    exif[_ORIENTATION] = 6
    photo = tmp_path / "photo.jpg"
    photo.write_bytes(_encode(_draw(1), "JPEG", exif=exif))
    upright = image_decoding.open_image(photo.read_bytes(), "a").decode(
        as_in_training=True
    )
    other = tmp_path / "other.png"
    other.write_bytes(_encode(_draw(2, upright.shape[:2])))
    known = _known(
        tmp_path, {"stored": _encode(upright), "b": _encode(_draw(3))}
    )
    found = known.find(same_images.list_files([str(other), str(photo)]))
    assert found == [(str(photo), "stored")]


def test_images_of_records_are_compared_as_stored(tmp_path):
    exif = Image.Exif()
    exif[_ORIENTATION] = 3
    content = _encode(_draw(1), "JPEG", exif=exif)
    stored = image_decoding.open_image(content, "a").decode(
        upright=False, as_in_training=True
    )
    known = _known(tmp_path, {"plain": _encode(stored)})
    (tmp_path / "b").mkdir()
    paths = _write_records(tmp_path / "b", {"turned": content})
    places = same_images.list_records(paths)
    assert known.find(places) == [("turned", "plain")]


def test_only_images_of_a_known_size_are_decoded(tmp_path, monkeypatch):
    known = _known(tmp_path, {"a": _encode(_draw(1))})
    places = []
    for number, size in enumerate([(6, 9), (9, 6), (6, 8), (6, 9)]):
        path = tmp_path / f"{number}.png"
        path.write_bytes(_encode(_draw(10 + number, size)))
        places += same_images.list_files([str(path)])
    decoded = []
    decode = image_decoding.EncodedImage.decode

    def watch(self, **options):
        decoded.append(self.stored_size)
        return decode(self, **options)

    monkeypatch.setattr(image_decoding.EncodedImage, "decode", watch)
    done = []
    assert known.find(places, done.append) == []
    assert decoded == [(6, 9), (6, 9)]
    assert done == [1, 2, 3, 4]


def test_damaged_images_are_equal_to_nothing(tmp_path):
    good = _encode(_draw(1))
    cut = good[: len(good) // 2]
    known = _known(tmp_path, {"cut": cut, "text": b"text", "good": good})
    assert list(known.names.values()) == ["good"]
    for name, content in (("cut", cut), ("good", good)):
        (tmp_path / name).write_bytes(content)
    places = same_images.list_files(
        [str(tmp_path / name) for name in ("cut", "missing", "good")]
    )
    assert known.find(places) == [(str(tmp_path / "good"), "good")]


def test_records_that_are_not_there_are_refused(tmp_path):
    with pytest.raises(errors.DataError, match="Cannot read"):
        same_images.list_records([str(tmp_path / "none")])


def test_size_and_pixels_decide_about_the_digest():
    pixels = _draw(1, (4, 6))
    digest = same_images.compute_digest(pixels)
    assert digest == same_images.compute_digest(pixels.copy(order="F"))
    assert digest != same_images.compute_digest(pixels.reshape(6, 4, 3))
    assert digest != same_images.compute_digest(_draw(2, (4, 6)))
