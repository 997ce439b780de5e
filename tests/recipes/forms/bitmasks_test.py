# SPDX-License-Identifier: Apache-2.0
"""RGBA bitmasks: scenes are read exactly, with crowds."""

import numpy as np
import pytest
from PIL import Image

from deeplab2_like import errors
from deeplab2_like.labels import label_map
from deeplab2_like.scenes import scene as scene_lib

NAMES = scene_lib.CLASS_NAMES


def encode(scene):
    """Returns class, attributes, and a number for each segment."""
    label = scene.panoptic
    classes, instances = np.divmod(label, 1000)
    is_void = classes == 255
    is_crowd = np.isin(classes, scene_lib.THING_IDS) & (instances == 0)
    numbers = 250 + 3 * label_map.number_values(label)[1]
    channels = np.stack(
        [
            np.where(is_void, 0, classes + 1),
            np.where(is_crowd, 2 + 8, 4),
            numbers >> 8,
            numbers & 255,
        ],
        axis=2,
    )
    channels[is_void] = 0
    return channels.astype(np.uint8)


@pytest.fixture
def data(scenes_of_truth, tmp_path):
    folder = tmp_path / "data"
    (folder / "bitmasks").mkdir(parents=True)
    for scene in scenes_of_truth:
        scene.save(folder / "images")
        path = folder / "bitmasks" / f"{scene.name}.png"
        Image.fromarray(encode(scene), "RGBA").save(path)
    return folder


@pytest.fixture
def names(tmp_path):
    path = tmp_path / "names.txt"
    path.write_text("\n".join(f"{i}: {n}" for i, n in enumerate(NAMES, 1)))
    return path


def test_scenes_are_read_exactly(
    data, names, scenes_of_truth, load, check_truth
):
    found = load(data, classes=names, stuff=NAMES[:5])
    assert "RGBA bitmasks" in found.source.title
    check_truth(found, scenes_of_truth, background="void")
    assert found.descriptor.class_names == NAMES


def test_which_classes_are_things_is_asked(data, load):
    found = load(data)
    assert "'class 1'" in found.source.question
    assert "class 0" not in found.descriptor.class_names


def test_ignored_pixels_are_void(data, names, scenes_of_truth, load):
    pixels = encode(scenes_of_truth[0])
    pixels[:9, :9, 1] = 1
    path = data / "bitmasks" / "s19.png"
    Image.fromarray(pixels, "RGBA").save(path)
    found = load(data, classes=names, stuff=NAMES[:5])
    label = found.samples["s19"].panoptic
    assert (label[:9, :9] == found.descriptor.void_id).all()


def test_a_label_of_another_form_is_named(data, names, load):
    path = data / "bitmasks" / "s99.png"
    Image.open(path).convert("RGB").save(path)
    with pytest.raises(
        errors.DataError, match=r"s99.png has colors, but others have four"
    ):
        load(data, classes=names, stuff=NAMES[:5])


def test_opaque_pictures_are_colors(data, load):
    for path in (data / "bitmasks").iterdir():
        Image.open(path).convert("RGB").convert("RGBA").save(path)
    with pytest.raises(errors.DataError, match="which class each is"):
        load(data)
