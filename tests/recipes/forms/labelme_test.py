# SPDX-License-Identifier: Apache-2.0
"""LabelMe: scenes are read exactly, from each type of shape."""

import base64
import io
import json

import numpy as np
import pytest
from PIL import Image

from deeplab2_like import errors
from deeplab2_like.labels import masks

STUFF = ("sky", "building", "road", "pavement", "vegetation")


def make_shape(segment, kind, trace, group=None):
    shape = {"label": segment.name, "group_id": group, "flags": {}}
    if kind == "polygon":
        points = [[float(x), float(y)] for x, y in trace(segment.mask)]
        return shape | {"shape_type": "polygon", "points": points}
    y, x = np.nonzero(segment.mask)
    window = segment.mask[y.min() : y.max() + 1, x.min() : x.max() + 1]
    stream = io.BytesIO()
    Image.fromarray(window).save(stream, format="PNG")
    return shape | {
        "shape_type": "mask",
        "points": [
            [int(x.min()), int(y.min())], [int(x.max()), int(y.max())]
        ],
        "mask": base64.b64encode(stream.getvalue()).decode(),
    }  # fmt: skip


def make_content(scene, trace, kind="polygon"):
    height, width = scene.panoptic.shape
    shapes = []
    for number, segment in enumerate(scene.segments):
        if segment.is_crowd:
            shape = make_shape(segment, kind, trace)
            shapes.append(shape | {"label": "ignore"})
        elif segment.is_thing and segment.mask[:, ::2].any() and number % 2:
            # Two shapes of one object.
            left = segment.mask.copy()
            middle = int(np.nonzero(left)[1].mean())
            left[:, middle:] = False
            parts = [left, segment.mask & ~left]
            shapes += [
                make_shape(
                    type(segment)(segment.name, part, 1, 0),
                    kind,
                    trace,
                    7 + number,
                )
                for part in parts
                if part.any()
            ]
        else:
            shapes.append(make_shape(segment, kind, trace))
    return {
        "version": "5.5.0",
        "flags": {},
        "shapes": shapes,
        "imagePath": f"{scene.name}.png",
        "imageData": None,
        "imageHeight": height,
        "imageWidth": width,
    }


@pytest.fixture
def data(scenes_of_truth, trace, tmp_path):
    """Returns a function that writes the scenes."""

    def write(kind="polygon", change=None):
        for number, scene in enumerate(scenes_of_truth):
            folder = tmp_path / "data" / ("train", "val")[number % 2]
            scene.save(folder)
            content = make_content(scene, trace, kind)
            if change and not number:
                change(content)
            path = folder / f"{scene.name}.json"
            path.write_text(json.dumps(content))
        return tmp_path / "data"

    return write


@pytest.mark.parametrize("kind", ["polygon", "mask"])
def test_scenes_are_read_exactly(
    data, scenes_of_truth, load, check_truth, kind
):
    found = load(data(kind), stuff=STUFF, background="void")
    assert "LabelMe: 4 JSON files" in found.source.title
    check_truth(found, scenes_of_truth, keeps_crowds=False, background="void")
    assert [*found.splits.values()] == ["train", "train", "val", "val"]
    assert "ignore" not in found.descriptor.class_names


def test_which_classes_are_things_is_asked(data, load):
    found = load(data())
    assert "--things=NAME" in found.source.question
    assert "'sky'" in found.source.question
    assert "'background'" not in found.source.question
    assert not load(data(), things=("all",)).source.question


def test_a_file_may_name_the_classes(data, load, tmp_path):
    names = tmp_path / "names.txt"
    order = ["tree", "sign", "person", "car", *STUFF]
    names.write_text("\n".join(["__ignore__", "_background_", *order]))
    found = load(data(), classes=names, stuff=STUFF)
    assert found.descriptor.class_names == ("background", *order)
    names.write_text("car")
    with pytest.raises(errors.DataError, match=r"names.txt does not name"):
        load(data(), classes=names)


def test_rectangles_and_circles(data, load):
    def change(content):
        content["shapes"] = [
            {"label": "car", "shape_type": "rectangle",
             "points": [[10, 20], [30, 40]]},
            {"label": "tree", "shape_type": "circle",
             "points": [[60, 30], [60, 38.5]]},
            {"label": "sign", "shape_type": "line",
             "points": [[1, 1], [60, 38.5]]},
        ]  # fmt: skip

    found = load(data(change=change), things=("all",))
    label = found.samples["s19"].panoptic // 1000
    names = found.descriptor.class_names
    assert (label[20:40, 10:30] == names.index("car")).all()
    assert (label == names.index("car")).sum() == 400
    circle = masks.fill_ellipse((60, 30), (8.5, 8.5), (65, 97))
    np.testing.assert_array_equal(
        label == names.index("tree"), circle.to_array((65, 97))
    )
    assert any("1 shapes of the type 'line'" in w for w in found.warnings)


def test_images_may_lie_in_another_folder(data, load, tmp_path):
    folder = data(change=lambda c: c.update(imagePath="..\\x\\s19.png"))
    assert load(folder, stuff=STUFF).samples
    (tmp_path / "photos").mkdir()
    for path in folder.rglob("*.png"):
        path.rename(tmp_path / "photos" / path.name)
    with pytest.raises(errors.DataError, match=r"s19.png' does not exist"):
        load(folder)
    found = load(folder, image_dir=tmp_path / "photos", stuff=STUFF)
    assert len(found.samples) == 4


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.update(points=[[1, 2]]), r"has 1 points. A polygon has 3"),
        (lambda s: s.update(points=[[1, "x"]]), r"number that is 'x'"),
        (lambda s: s.update(points=[1, 2]), r"must be a list of \[x, y\]"),
        (
            lambda s: s.update(label=""),
            r"shapes\[0\] has a label that is empty",
        ),
        (lambda s: s.update(label="a\n"), r""),
        (lambda s: s.update(shape_type="blob"), r"shape_type 'blob'"),
        (lambda s: s.update(group_id="x"), r"group_id that is 'x'"),
        (
            lambda s: s.update(
                shape_type="mask", mask="!", points=[[0, 0], [9, 9]]
            ),
            r"s19.json: shapes\[0\]: has a mask that is no PNG in base64",
        ),
    ],
)
def test_problems_are_named_with_file_and_shape(data, load, change, message):
    folder = data(change=lambda content: change(content["shapes"][0]))
    if not message:
        assert "a" in load(folder).descriptor.class_names
        return
    with pytest.raises(errors.DataError, match=message):
        load(folder)


def test_a_size_other_than_that_of_the_image_is_named(data, load):
    folder = data(change=lambda content: content.update(imageHeight=64))
    with pytest.raises(errors.DataError, match="the image 65x97, the label 64"):
        load(folder)
