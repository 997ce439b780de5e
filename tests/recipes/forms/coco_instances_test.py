# SPDX-License-Identifier: Apache-2.0
"""COCO instances: polygons and run lengths of scenes are read exactly."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image

from deeplab2_like import errors
from deeplab2_like.scenes import scene as scene_lib

NAMES = ["car", "person", "sign", "tree"]


def count_runs(mask_hw):
    """Run lengths by columns, beginning with those outside."""
    flat = mask_hw.T.ravel()
    places = np.flatnonzero(np.diff(np.concatenate([[0], flat]).astype(int)))
    return np.diff([0, *places.tolist(), flat.size]).tolist()


def encode(segment, kind, trace):
    if kind == "polygons":
        points = trace(segment.mask)
        return [[float(v) for point in points for v in point]]
    runs = {"size": list(segment.mask.shape), "counts": None}
    runs["counts"] = count_runs(segment.mask)
    if kind == "compressed":
        mask_lib = pytest.importorskip("pycocotools.mask")
        runs = mask_lib.frPyObjects(runs, *segment.mask.shape)
        runs["counts"] = runs["counts"].decode()
    return runs


def make_content(drawn, trace, kind="polygons"):
    content = {
        "images": [],
        "annotations": [],
        "categories": [
            {"id": 3 * i + 1, "name": name, "supercategory": "x"}
            for i, name in enumerate(NAMES)
        ],
    }
    for number, scene in enumerate(drawn):
        height, width = scene.panoptic.shape
        content["images"].append(
            {
                "id": number,
                "file_name": f"{scene.name}.png",
                "height": height,
                "width": width,
            }
        )
        for segment in scene.segments:
            if not segment.is_thing:
                continue
            y, x = np.nonzero(segment.mask)
            content["annotations"].append(
                {
                    "id": len(content["annotations"]) + 1,
                    "image_id": number,
                    "category_id": 3 * NAMES.index(segment.name) + 1,
                    "segmentation": encode(
                        segment,
                        "runs" if segment.is_crowd else kind,
                        trace,
                    ),
                    "iscrowd": int(segment.is_crowd),
                    "bbox": [
                        int(x.min()), int(y.min()),
                        int(np.ptp(x)) + 1, int(np.ptp(y)) + 1,
                    ],
                    "area": int(segment.mask.sum()),
                }
            )  # fmt: skip
    return content


@pytest.fixture
def data(scenes_of_truth, tmp_path):
    """Returns a function that writes the scenes."""

    def write(content, folder=tmp_path / "data"):
        for scene in scenes_of_truth:
            scene.save(folder / "images")
        (folder / "labels.json").write_text(json.dumps(content))
        return folder

    return write


@pytest.fixture
def content(scenes_of_truth, trace):
    return make_content(scenes_of_truth, trace)


@pytest.mark.parametrize("kind", ["polygons", "runs", "compressed"])
def test_scenes_are_read_exactly(
    data, scenes_of_truth, trace, load, check_truth, kind
):
    folder = data(make_content(scenes_of_truth, trace, kind))
    for path in (folder, folder / "labels.json"):
        found = load(path)
        assert "COCO instances" in found.source.title
        assert not found.source.question
        check_truth(found, scenes_of_truth, keeps_stuff=False)
    assert found.descriptor.class_names == ("background", *NAMES)
    assert found.descriptor.category_ids == (0, 1, 4, 7, 10)


def test_what_no_object_covers_may_be_void(
    data, content, scenes_of_truth, load, check_truth
):
    found = load(data(content), background="void")
    check_truth(found, scenes_of_truth, keeps_stuff=False, background="void")
    assert "background" not in found.descriptor.class_names


def test_the_background_may_have_another_name(data, content, load):
    found = load(data(content), background="ground")
    assert found.descriptor.class_names[0] == "ground"
    assert not found.descriptor.is_thing(0)


def test_classes_may_be_made_stuff(data, content, load, scenes_of_truth):
    found = load(data(content), stuff=("tree", "sign"))
    assert [
        found.descriptor.class_names[i] for i in found.descriptor.thing_ids
    ] == [
        "car",
        "person",
    ]
    for scene in scenes_of_truth:
        panoptic = found.samples[scene.name].panoptic
        for segment in scene.segments:
            if segment.name == "tree":
                tree = found.descriptor.class_names.index("tree") * 1000
                assert (panoptic[segment.mask] == tree).all()


def test_splits_as_roboflow_writes_them(
    scenes_of_truth, trace, tmp_path, load, check_truth
):
    for split, drawn in (
        ("train", scenes_of_truth[:2]),
        ("valid", scenes_of_truth[2:3]),
        ("test", scenes_of_truth[3:]),
    ):
        for scene in drawn:
            scene.save(tmp_path / "data" / split)
        path = tmp_path / "data" / split / "_annotations.coco.json"
        path.write_text(json.dumps(make_content(drawn, trace)))
    found = load(tmp_path / "data")
    assert list(found.splits.values()) == ["train", "train", "val"]
    check_truth(found, scenes_of_truth[:3], keeps_stuff=False)


def test_files_of_coco_itself(scenes_of_truth, trace, tmp_path, load):
    folder = tmp_path / "coco"
    (folder / "annotations").mkdir(parents=True)
    for split, drawn in (
        ("train", scenes_of_truth[:3]),
        ("val", scenes_of_truth[3:]),
    ):
        for scene in drawn:
            scene.save(folder / f"{split}2017")
        text = json.dumps(make_content(drawn, trace))
        for kind in ("instances", "person_keypoints"):
            name = f"{kind}_{split}2017.json"
            (folder / "annotations" / name).write_text(text)
    found = load(folder)
    assert [*found.splits.values()].count("train") == 3
    found = load(folder / "annotations" / "instances_val2017.json")
    assert len(found.samples) == 1


def test_objects_without_an_outline_are_void(data, content, load):
    del content["annotations"][2:]
    content["annotations"][1].update(
        segmentation=[], bbox=[3, 4, 10, 6], iscrowd=0
    )
    content["annotations"][0]["segmentation"] = [[5, 5, 8, 5, 8, 8, 5, 8]]
    found = load(data(content))
    first = found.samples["s19"].panoptic
    assert (first == found.descriptor.void_id).sum() == 60 - 9
    assert any("has a box but no outline" in w for w in found.warnings)


def test_objects_that_are_not_seen_are_counted(data, content, load):
    content["annotations"] = [
        {
            "image_id": 0,
            "category_id": 1,
            "iscrowd": 0,
            "segmentation": [[0, 0, side, 0, side, side, 0, side]],
        }
        for side in (9, 9, 0.2)
    ]
    found = load(data(content))
    note = found.samples["s19"].note
    assert "1 that cover no pixel of it ('annotations[2]')" in note
    assert "1 that others cover completely" in note


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda a: a.update(segmentation={"size": [9, 9], "counts": [81]}),
            r"labels.json, image 's19.png': annotations\[0\]: segmentation is "
            r"of 9 x 9 pixels .*has 65 x 97",
        ),
        (
            lambda a: a.update(segmentation={"size": [65, 97], "counts": [8]}),
            r"has 8 pixels in its run lengths",
        ),
        (
            lambda a: a.update(segmentation={"size": [65, 97], "counts": "~"}),
            r"is no run-length code",
        ),
        (
            lambda a: a.update(segmentation=[[1, 2, 3]]),
            r"annotations\[0\]: segmentation has a polygon of 3 numbers",
        ),
        (lambda a: a.update(segmentation=7), r"is 7 \(a number\)"),
        (lambda a: a.update(segmentation=[], bbox=[1]), r"neither"),
        (lambda a: a.update(category_id=99), r"category_id 99, which"),
        (lambda a: a.update(image_id=99), r"image 99, which"),
        (lambda a: a.update(segmentation=[["x", 1]]), r"number that is 'x'"),
        (
            lambda a: a.update(segmentation=[[float("nan"), 1]]),
            r"not finite",
        ),
    ],
)
def test_problems_are_named_with_file_and_place(
    data, content, load, change, message
):
    change(content["annotations"][0])
    with pytest.raises(errors.DataError, match=message):
        load(data(content))


def test_images_of_another_size_are_named(data, content, load):
    folder = data(content)
    Image.new("RGB", (9, 9)).save(folder / "images" / "s19.png")
    with pytest.raises(errors.DataError, match=r"'s19' has different sizes"):
        load(folder)


def test_missing_images_are_named(data, content, load):
    folder = data(content)
    (folder / "images" / "s19.png").unlink()
    with pytest.raises(errors.DataError, match=r"1 of 4 images do not exist"):
        load(folder)
    shutil.rmtree(folder / "images")
    with pytest.raises(errors.DataError, match="--image_dir"):
        load(folder)


def test_classes_that_do_not_exist_are_refused(data, content, load):
    folder = data(content)
    with pytest.raises(errors.ConfigError, match="--things names 'cat'"):
        load(folder, things=("cat",))
    with pytest.raises(errors.ConfigError, match="--overlap names 'cat'"):
        load(folder, overlap="car,cat")
    with pytest.raises(errors.ConfigError, match="both name 'car'"):
        load(folder, things=("car",), stuff=("car",))


@pytest.mark.parametrize("names", ["ids", "file"])
def test_label_images_have_the_stuff(
    data, scenes_of_truth, trace, load, check_truth, tmp_path, names
):
    content = make_content(scenes_of_truth, trace)
    classes = tmp_path / "names.txt"
    lines = [f"{i}: {n}" for i, n in enumerate(scene_lib.CLASS_NAMES)]
    classes.write_text("\n".join(lines))
    if names == "ids":
        for i, category in enumerate(scene_lib.CLASS_NAMES):
            if category not in NAMES:
                content["categories"].append({"id": 50 + i, "name": category})
    folder = data(content)
    (folder / "labels").mkdir()
    for scene in scenes_of_truth:
        label = scene.panoptic // 1000
        if names == "ids":
            label = np.where(label < 5, label + 50, 255)
        path = folder / "labels" / f"{scene.name}.png"
        Image.fromarray(label.astype(np.uint8)).save(path)
    found = load(
        folder,
        **({"classes": classes} if names == "file" else {}),
    )
    assert "Elsewhere classes as in" in found.source.title
    check_truth(found, scenes_of_truth, background="void")
    path.unlink()
    with pytest.raises(errors.DataError, match="1 of 4 images have no label"):
        load(folder)
