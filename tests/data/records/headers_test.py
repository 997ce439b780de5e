# SPDX-License-Identifier: Apache-2.0
"""Headers of images and labels in records."""

import io

import numpy as np
import pytest
from PIL import Image

from deeplab2_like import errors
from deeplab2_like.data.records import features, headers


def _encode(size=(4, 5), kind="PNG", **more):
    stream = io.BytesIO()
    Image.new("RGB", size[::-1]).save(stream, format=kind, **more)
    return stream.getvalue()


def _record(image=None, **more):
    image = _encode() if image is None else image
    return features.encode_example(
        name="north/1", image=image, image_format="png", size=(4, 5), **more
    )


def test_name_and_size_are_read_and_labels_compared():
    for label in (
        {"panoptic": np.zeros((4, 5), int)},
        {"semantic": np.zeros((4, 5), int)},
    ):
        name, found = headers.measure(_record(**label))
        assert name == "north/1"
        assert found.size == (4, 5)
        assert found.classes is None
        assert not found.is_turned


def test_an_orientation_is_found():
    tags = Image.Exif()
    tags[0x0112] = 6
    image = _encode(kind="JPEG", exif=tags)
    _, found = headers.measure(_record(image), is_label_required=False)
    assert found.is_turned
    assert found.size == (4, 5)


@pytest.mark.parametrize(
    ("record", "part"),
    [
        (b"\xffno example", "is not a tf.train.Example"),
        (_record(b"x"), "'north/1' is not an image"),
        (_record(b""), "'north/1' is not an image"),
        (_record(_encode(kind="GIF")), "is neither a JPEG nor a PNG"),
        (_record(), "has no label"),
        (
            _record(_encode((6, 5)), panoptic=np.zeros((4, 5), int)),
            "has 80 bytes but the image",
        ),
        (
            _record(_encode((6, 5)), semantic=np.zeros((4, 5), int)),
            r"has the \(height, width\) \[6, 5\] but its label has \[4, 5\]",
        ),
    ],
)
def test_each_problem_is_a_sentence(record, part):
    with pytest.raises(errors.DataError, match=part):
        headers.measure(record)


def test_the_name_of_a_bad_record_is_found_where_it_has_one():
    assert headers.read_name(_record(b"x")) == "north/1"
    assert headers.read_name(b"\xffno example") == ""
    assert headers.read_name(b"") == ""


def test_random_changes_of_a_record_raise_nothing_but_sentences():
    record = _record(panoptic=np.zeros((4, 5), int))
    random = np.random.default_rng(0)
    for _ in range(300):
        changed = bytearray(record)
        for place in random.integers(0, len(record), 3):
            changed[place] = random.integers(0, 256)
        changed = bytes(changed[: random.integers(1, len(record) + 1)])
        try:
            name, _ = headers.measure(changed)
        except errors.DataError:
            name = headers.read_name(changed)
        assert isinstance(name, str)
