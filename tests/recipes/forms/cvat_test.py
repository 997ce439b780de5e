# SPDX-License-Identifier: Apache-2.0
"""CVAT's segmentation masks: scenes are read exactly."""

import numpy as np
import pytest
from PIL import Image

from deeplab2_like import errors
from deeplab2_like.labels import label_map
from deeplab2_like.scenes import scene as scene_lib

NAMES = scene_lib.CLASS_NAMES
STUFF = (*NAMES[:5], "background")
COLORS = np.array(
    [(0, 0, 0)] + [(30 * i + 9, 99, 250 - 20 * i) for i in range(len(NAMES))],
    np.uint8,
)


def save(folder, scene, kind):
    path = folder / kind / f"{scene.name}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    classes = scene.panoptic // 1000
    if kind == "SegmentationClass":
        table = COLORS
        index = np.where(classes == 255, 0, classes + 1)
    else:
        table = np.random.default_rng(5).integers(1, 255, (256, 3), np.uint8)
        table[0] = 0
        labels = np.where(classes == 255, -1, scene.panoptic)
        index = label_map.number_values(labels)[1]
        index = index if (labels == -1).any() else index + 1
    Image.fromarray(table[index]).save(path)


@pytest.fixture
def data(scenes_of_truth, tmp_path):
    folder = tmp_path / "data"
    for scene in scenes_of_truth:
        scene.save(folder / "JPEGImages")
        save(folder, scene, "SegmentationClass")
        save(folder, scene, "SegmentationObject")
    lines = ["# label:color_rgb:parts:actions"]
    for name, color in zip(["background", *NAMES], COLORS, strict=True):
        lines.append(f"{name}:{','.join(map(str, color))}::")
    (folder / "labelmap.txt").write_text("\n".join(lines))
    return folder


@pytest.fixture
def drawn(scenes_of_truth):
    """Each shape is an object here, so that a crowd is one, too."""
    drawn = []
    for one in scenes_of_truth:
        label = one.panoptic.copy()
        for index in scene_lib.THING_IDS:
            label[label == index * 1000] = index * 1000 + 999
        drawn.append(type(one)(one.name, one.image, label))
    return drawn


def test_scenes_are_read_exactly(data, drawn, load, check_truth):
    found = load(data, stuff=STUFF)
    assert "CVAT segmentation masks" in found.source.title
    check_truth(found, drawn)
    assert found.descriptor.class_names == ("background", *NAMES)
    assert found.descriptor.colors[1] == tuple(COLORS[1].tolist())
    found = load(data, stuff=STUFF[:5], background="void")
    check_truth(found, drawn, background="void")


def test_which_classes_are_things_is_asked(data, load):
    found = load(data)
    assert "'sky'" in found.source.question
    assert "'background'" not in found.source.question


def test_splits_are_those_of_the_lists(data, load):
    folder = data / "ImageSets" / "Segmentation"
    folder.mkdir(parents=True)
    (folder / "Train.txt").write_text("s19\ns35\n")
    (folder / "Validation.txt").write_text("s73\ns99\n")
    found = load(data)
    assert [*found.splits.values()] == ["train", "train", "val", "val"]


def test_colors_without_a_name_are_refused(data, load):
    path = data / "labelmap.txt"
    lines = path.read_text().splitlines()
    path.write_text("\n".join(line for line in lines if "road" not in line))
    with pytest.raises(
        errors.DataError, match=r"has the colors \(69, 99, 210\) .*labelmap"
    ):
        load(data)


def test_an_export_without_images_is_explained(data, load):
    (data / "JPEGImages").rename(data.parent / "photos")
    with pytest.raises(errors.DataError, match="'Save images'"):
        load(data)
    assert len(load(data, image_dir=data.parent / "photos").samples) == 4
