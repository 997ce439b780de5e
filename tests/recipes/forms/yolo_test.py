# SPDX-License-Identifier: Apache-2.0
"""YOLO segmentation: scenes are read exactly, splits as data.yaml says."""

import pytest

from deeplab2_like import errors

NAMES = ["car", "person", "sign", "tree"]


def write_label(path, scene, trace):
    path.parent.mkdir(parents=True, exist_ok=True)
    height, width = scene.panoptic.shape
    lines = []
    for segment in scene.segments:
        if segment.is_thing and not segment.is_crowd:
            numbers = [NAMES.index(segment.name)]
            for x, y in trace(segment.mask):
                numbers += [x / width, y / height]
            lines.append(" ".join(map(str, numbers)))
    path.write_text("\n".join(lines))


def drop_crowds(drawn):
    """The form has no crowds: they are not labeled."""
    return [
        type(one)(
            one.name,
            one.image,
            one.panoptic
            * ~((one.panoptic % 1000 == 0) & (one.panoptic // 1000 > 4)),
        )
        for one in drawn
    ]


@pytest.fixture
def drawn(scenes_of_truth):
    return drop_crowds(scenes_of_truth)


@pytest.fixture
def data(drawn, trace, tmp_path):
    """Returns a folder with images/ and labels/ for each split."""
    folder = tmp_path / "data"
    for number, scene in enumerate(drawn):
        split = ("train", "val")[number % 2]
        scene.save(folder / "images" / split)
        path = folder / "labels" / split / f"{scene.name}.txt"
        write_label(path, scene, trace)
    (folder / "data.yaml").write_text(
        "path: ../datasets/data\ntrain: images/train\nval: images/val\n"
        f"names: {NAMES}\n"
    )
    return folder


def test_scenes_are_read_exactly(data, drawn, load, check_truth):
    for path in (data, data / "data.yaml"):
        found = load(path)
        assert "YOLO segmentation" in found.source.title
        check_truth(found, drawn, keeps_stuff=False)
    assert found.descriptor.class_names == ("background", *NAMES)
    assert [*found.splits.values()] == ["train", "train", "val", "val"]


def test_folders_as_roboflow_writes_them(
    drawn, trace, tmp_path, load, check_truth
):
    folder = tmp_path / "data"
    for number, scene in enumerate(drawn):
        place = folder / ("train", "valid", "train", "test")[number]
        scene.save(place / "images")
        write_label(place / "labels" / f"{scene.name}.txt", scene, trace)
    (folder / "data.yaml").write_text(
        "train: ../train/images\nval: ../valid/images\ntest: ../test/images\n"
        f"nc: 4\nnames: {NAMES}\n"
    )
    found = load(folder)
    assert [*found.splits.values()] == ["train", "train", "val"]
    check_truth(found, drawn[:3], keeps_stuff=False)
    assert any(
        "1 images are in a folder for tests" in w for w in found.warnings
    )


def test_splits_may_be_lists_of_images(data, drawn, load):
    for split in ("train", "val"):
        names = [f"./images/{f}/{d.name}.png" for f, d in zip(
            ("train", "val", "train", "val"), drawn, strict=True
        )]  # fmt: skip
        chosen = names[:3] if split == "train" else names[3:]
        (data / f"{split}.txt").write_text("\n".join(chosen))
    (data / "data.yaml").write_text(
        f"train: train.txt\nval: val.txt\nnames: {NAMES}\n"
    )
    assert [*load(data).splits.values()].count("train") == 3


def test_the_same_images_for_both_are_divided(data, load):
    (data / "data.yaml").write_text(
        f"train: images/train\nval: images/train\nnames: {NAMES}\n"
    )
    assert {*load(data).splits.values()} == {"train", "val"}


def test_images_without_label_file_are_background(data, load):
    (data / "labels" / "train" / "s19.txt").unlink()
    found = load(data)
    assert (found.samples["s19"].panoptic == 0).all()
    assert any("1 images have no label file" in w for w in found.warnings)
    assert "s19" not in load(data, background="void").samples


def test_boxes_are_void(data, load):
    path = data / "labels" / "train" / "s19.txt"
    path.write_text(f"{path.read_text()}\n0 0.5 0.1 0.2 0.1")
    found = load(data)
    assert (found.samples["s19"].panoptic == found.descriptor.void_id).any()
    assert any(
        "1 objects have a box but no outline" in w for w in found.warnings
    )
    for label in data.rglob("s*.txt"):
        label.write_text("0 0.5 0.1 0.2 0.1")
    with pytest.raises(errors.DataError, match="have boxes only"):
        load(data)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0 0 0 1 1 1", r"s19.txt: line 1 has 5 numbers behind the class"),
        ("0 0", r"line 1 has 1 numbers"),
        ("\n9 0 0 1 0 1 1", r"line 2 has the class 9, which .*data.yaml"),
        ("0 0 0 320 0 1 1", r"has the number 320. Corners are shares"),
        ("0 0 0 x 0 1 1", r"has a number that is 'x'"),
        ("0 0 0 nan 0 1 1", r"has a number that is 'nan'"),
        ("0.5 0 0 1 0 1 1", r"has a number that is '0.5'"),
    ],
)
def test_problems_are_named_with_file_and_line(data, load, text, message):
    (data / "labels" / "train" / "s19.txt").write_text(text)
    with pytest.raises(errors.DataError, match=message):
        load(data)


def test_two_files_of_classes_are_asked_about(data, load):
    (data / "other.yaml").write_text("names: [a]")
    with pytest.raises(errors.DataError, match="each name classes"):
        load(data)
    assert load(data / "data.yaml").samples
