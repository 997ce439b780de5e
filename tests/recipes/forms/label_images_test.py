# SPDX-License-Identifier: Apache-2.0
"""Label images: scenes in each coding are read exactly."""

import numpy as np
import pytest
from PIL import Image

from deeplab2_like import errors
from deeplab2_like.labels import label_map
from deeplab2_like.scenes import scene as scene_lib

NAMES = scene_lib.CLASS_NAMES
DIVISOR = scene_lib.LABEL_DIVISOR
COLORS = np.array(
    [(20 * i + 5, 200 - 9 * i, 7 * i) for i in range(len(NAMES))], np.uint8
)


def number_objects(scene):
    """Returns a number for each object of the image, 0 elsewhere."""
    ids = np.where(
        (scene.panoptic % DIVISOR > 0), scene.panoptic.astype(np.int64), 0
    )
    return label_map.number_values(ids)[1]


def save_classes(path, scene, kind):
    path.parent.mkdir(parents=True, exist_ok=True)
    classes = (scene.panoptic // DIVISOR).astype(np.uint8)
    if kind == "grey":
        image = Image.fromarray(classes)
    elif kind == "grey as RGB":
        image = Image.fromarray(np.repeat(classes[..., None], 3, 2))
    else:
        table = np.zeros((256, 3), np.uint8)
        table[: len(COLORS)] = COLORS
        table[255] = (224, 224, 192)
        if kind == "palette":
            image = Image.fromarray(classes)
            image.putpalette(table.ravel().tolist())
        else:
            image = Image.fromarray(table[classes])
    image.save(path)


def save_instances(path, scene, kind):
    path.parent.mkdir(parents=True, exist_ok=True)
    numbers = number_objects(scene)
    if kind == "8 bits":
        Image.fromarray(numbers.astype(np.uint8)).save(path)
    elif kind == "16 bits":
        numbers = np.where(numbers, 300 + 7 * numbers, 0)
        Image.fromarray(numbers.astype(np.uint16)).save(path)
    elif kind == "Cityscapes":
        label = scene.panoptic
        coded = np.where(label % DIVISOR > 0, label - 1, label // DIVISOR)
        Image.fromarray(coded.astype(np.uint16)).save(path)
    else:
        table = np.random.default_rng(3).integers(1, 255, (256, 3), np.uint8)
        table[0] = 0
        Image.fromarray(table[numbers]).save(path)


def write_names(path, kind="numbers"):
    lines = [f"{i}: {name}" for i, name in enumerate(NAMES)]
    if kind == "colors":
        colors = [*COLORS.tolist(), (224, 224, 192)]
        lines = [
            f"{name}: {', '.join(map(str, color))}"
            for name, color in zip([*NAMES, "void"], colors, strict=True)
        ]
    path.write_text("# the classes\n" + "\n".join(lines))
    return path


@pytest.mark.parametrize(
    ("classes", "instances", "names"),
    [
        ("grey", "16 bits", "numbers"),
        ("grey as RGB", "8 bits", "numbers"),
        ("palette", "8 bits", "numbers"),
        ("palette", "colors", "colors"),
        ("colors", "16 bits", "colors"),
        ("grey", "Cityscapes", "numbers"),
    ],
)
def test_scenes_are_read_exactly(
    scenes_of_truth, tmp_path, load, check_truth, classes, instances, names
):
    folder = tmp_path / "data"
    for scene in scenes_of_truth:
        scene.save(folder / "images")
        name = f"{scene.name}.png"
        save_classes(folder / "labels" / name, scene, classes)
        save_instances(folder / "instances" / name, scene, instances)
    file = write_names(tmp_path / "names.txt", names)
    found = load(folder, classes=file)
    assert not found.source.question
    assert "Label images: 4 images as" in found.source.title
    check_truth(
        found,
        scenes_of_truth,
        keeps_crowds=instances == "Cityscapes",
        background="void",
    )
    assert found.descriptor.class_names == NAMES


def test_labels_beside_their_images(
    scenes_of_truth, tmp_path, load, check_truth
):
    folder = tmp_path / "data"
    for number, scene in enumerate(scenes_of_truth):
        split = ("train", "val")[number % 2]
        scene.save(folder / split)
        place = folder / split
        save_classes(place / f"{scene.name}_mask.png", scene, "grey")
        save_instances(place / f"{scene.name}-instance.png", scene, "8 bits")
    found = load(folder, classes=write_names(tmp_path / "names.txt"))
    assert [*found.splits.values()] == ["train", "train", "val", "val"]
    check_truth(found, scenes_of_truth, keeps_crowds=False, background="void")


def test_folders_may_be_named(scenes_of_truth, tmp_path, load, check_truth):
    for scene in scenes_of_truth:
        scene.save(tmp_path / "data" / "one")
        name = f"{scene.name}.png"
        save_classes(tmp_path / "data" / "two" / name, scene, "grey")
        save_instances(tmp_path / "three" / name, scene, "8 bits")
    found = load(
        tmp_path / "data",
        image_dir=tmp_path / "data" / "one",
        label_dir=tmp_path / "data" / "two",
        instance_dir=tmp_path / "three",
        classes=write_names(tmp_path / "names.txt"),
    )
    check_truth(found, scenes_of_truth, keeps_crowds=False, background="void")
    with pytest.raises(errors.DataError, match="--label_dir="):
        load(tmp_path / "data", label_dir=tmp_path / "four")


@pytest.fixture
def semantic(scenes_of_truth, tmp_path):
    """Returns a folder of images and labels without instances."""
    folder = tmp_path / "data"
    for scene in scenes_of_truth:
        scene.save(folder / "images")
        save_classes(folder / "masks" / f"{scene.name}.png", scene, "grey")
    return folder


def test_classes_alone_are_stuff(semantic, scenes_of_truth, tmp_path, load):
    found = load(semantic, classes=write_names(tmp_path / "names.txt"))
    assert not found.source.question
    for scene in scenes_of_truth:
        label = found.samples[scene.name].panoptic
        np.testing.assert_array_equal(label // 1000, scene.panoptic // DIVISOR)
        assert (label % 1000 == 0).all()
    found = load(semantic)
    assert found.descriptor.class_names[:2] == ("class 0", "class 1")
    assert any("have no names but their numbers" in n for n in found.notes)
    assert any("number 255 are not scored" in n for n in found.notes)


def test_regions_become_objects_when_asked_for(
    semantic, scenes_of_truth, tmp_path, load
):
    names = write_names(tmp_path / "names.txt")
    with pytest.raises(errors.ConfigError, match="--loose=components"):
        load(semantic, classes=names, things=("car",))
    found = load(semantic, classes=names, things=("car",), loose="components")
    car = NAMES.index("car")
    for scene in scenes_of_truth:
        label = found.samples[scene.name].panoptic
        of_cars = label[scene.panoptic // DIVISOR == car]
        assert (of_cars // 1000 == car).all()
        assert (of_cars % 1000 > 0).all()


def test_instances_alone_are_one_class(scenes_of_truth, tmp_path, load):
    folder = tmp_path / "data"
    for scene in scenes_of_truth:
        scene.save(folder / "images")
        name = f"{scene.name}.png"
        save_instances(folder / "instances" / name, scene, "16 bits")
    found = load(folder)
    assert found.descriptor.class_names == ("background", "object")
    assert found.descriptor.thing_ids == (1,)
    for scene in scenes_of_truth:
        label = found.samples[scene.name].panoptic
        np.testing.assert_array_equal(label > 0, number_objects(scene) > 0)
        assert len(np.unique(label)) == len(np.unique(number_objects(scene)))
    found = load(folder, things=("cell",), background="void")
    assert found.descriptor.class_names == ("cell",)


def test_numbers_for_every_pixel_leave_things_open(
    scenes_of_truth, tmp_path, load
):
    folder = tmp_path / "data"
    for scene in scenes_of_truth:
        scene.save(folder / "images")
        name = f"{scene.name}.png"
        save_classes(folder / "labels" / name, scene, "grey")
        numbers = label_map.number_values(scene.panoptic)[1] + 1
        (folder / "instances").mkdir(exist_ok=True)
        Image.fromarray(numbers.astype(np.uint8)).save(
            folder / "instances" / name
        )
    names = write_names(tmp_path / "names.txt")
    assert "'sky', 'building'" in load(folder, classes=names).source.question
    found = load(folder, classes=names, things=("car", "person"))
    assert not found.source.question


def test_colors_without_names_are_asked_for(scenes_of_truth, tmp_path, load):
    for scene in scenes_of_truth:
        scene.save(tmp_path / "data" / "images")
        path = tmp_path / "data" / "labels" / f"{scene.name}.png"
        save_classes(path, scene, "colors")
    with pytest.raises(errors.DataError, match=r"colors, .*\(5, 200, 0\)"):
        load(tmp_path / "data")


def test_zero_and_255_alone_are_two_classes(tmp_path, load):
    folder = tmp_path / "data"
    for kind in ("images", "masks"):
        (folder / kind).mkdir(parents=True)
    Image.new("RGB", (6, 4)).save(folder / "images" / "a.jpg")
    mask = np.zeros((4, 6), np.uint8)
    mask[1:3] = 255
    Image.fromarray(mask).save(folder / "masks" / "a.png")
    found = load(folder)
    assert found.descriptor.class_names == ("class 0", "class 255")
    np.testing.assert_array_equal(
        found.samples["a"].panoptic // 1000, mask // 255
    )


def spoil_number(folder):
    path = folder / "masks" / "s73.png"
    pixels = np.array(Image.open(path))
    pixels[:2, :3] = 77
    Image.fromarray(pixels).save(path)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (spoil_number, r"masks/s73.png has the numbers 77 \(6 pixels\), which"),
        (
            lambda f: (f / "masks" / "s73.png").write_bytes(b"x"),
            r"masks/s73.png cannot be read as a picture \(1 bytes\)",
        ),
        (
            lambda f: Image.open(f / "masks" / "s73.png").save(
                f / "masks" / "s73.png", format="JPEG"
            ),
            r"masks/s73.png is of the kind JPEG",
        ),
        (
            lambda f: Image.new("L", (9, 9)).save(f / "masks" / "s73.png"),
            r"different sizes.*the image 65x97, the label 9x9",
        ),
        (
            lambda f: Image.new("L", (9, 9)).save(f / "masks" / "s73.tif"),
            r"may each be the label of 's73'. Say with --label_dir",
        ),
    ],
)
def test_problems_are_named_with_the_file(
    semantic, tmp_path, load, spoil, message
):
    names = write_names(tmp_path / "names.txt")
    spoil(semantic)
    with pytest.raises(errors.DataError, match=message):
        load(semantic, classes=names)


def test_images_and_labels_alone_are_counted(semantic, tmp_path, load):
    (semantic / "masks" / "s73.png").rename(semantic / "masks" / "x.png")
    found = load(semantic, classes=write_names(tmp_path / "names.txt"))
    assert len(found.samples) == 3
    assert any("1 images have no label image" in w for w in found.warnings)
    assert any("1 label images have no image" in w for w in found.warnings)


def test_missing_instances_are_named(semantic, scenes_of_truth, load):
    path = semantic / "instances" / "s19.png"
    save_instances(path, scenes_of_truth[0], "8 bits")
    with pytest.raises(errors.DataError, match="3 of 4 images have no inst"):
        load(semantic)
