# SPDX-License-Identifier: Apache-2.0
"""BDD100K's bitmasks are read as its toolkit reads them."""

import numpy as np
import pytest

from deeplab2_like import errors
from deeplab2_like.labels import descriptor as descriptor_lib

_DATA = descriptor_lib.load("bdd100k_panoptic")


def test_there_are_40_classes_and_10_things():
    assert _DATA.num_classes == 40
    assert _DATA.thing_ids == tuple(range(30, 40))
    assert _DATA.category_ids == tuple(range(1, 41))
    names = {7: "road", 30: "sky", 31: "person", 35: "car", 40: "truck"}
    for key, name in names.items():
        assert _DATA.class_names[key - 1] == name


@pytest.mark.parametrize("inner", ["", "bdd100k"])
def test_attributes_make_crowds_and_void(
    miniatures, prepare, read_records, decode, number, tmp_path, inner
):
    root, out = tmp_path / "root", tmp_path / "out"
    labels = miniatures.write_bdd100k(root / inner, "val", 3)
    prepare("bdd100k", root, out, splits=["val"])
    objects = sorted(
        enumerate(miniatures.BDD_OBJECTS), key=lambda pair: pair[1][2]
    )
    segments = [
        (
            place,
            category - 1
            if category and key and (category > 30 or not attributes & 1)
            else None,
            category > 30 and bool(attributes & 3),
        )
        for place, (category, attributes, key) in objects
    ]
    found = read_records(out, "val")
    assert [*found] == sorted(labels)
    for name, features in found.items():
        np.testing.assert_array_equal(
            decode(features), number(_DATA, labels[name], segments)
        )


def test_what_cannot_be_used_is_named(miniatures, prepare, tmp_path):
    root = tmp_path / "root"
    (name,) = miniatures.write_bdd100k(root, "val", 1)
    path = root / "labels" / "pan_seg" / "bitmasks" / "val" / f"{name}.png"

    def check(pixels, message):
        miniatures.save(path, pixels)
        with pytest.raises(errors.DataError, match=name) as caught:
            prepare("bdd100k", root, tmp_path / "out", splits=["val"])
        assert message in str(caught.value)

    pixels = np.zeros((*miniatures.SIZE, 4), np.uint8)
    check(pixels[..., :3], "not that of the colormaps")
    pixels[0, 0] = (41, 0, 0, 1)
    check(pixels, "has the number 41")
    pixels[0, 0] = (35, 0, 0, 1)
    pixels[0, 1] = (31, 0, 0, 1)
    check(pixels, "object 1 of")
    pixels[0, 1] = (35, 2, 0, 1)
    check(pixels, "has several classes or attributes")
