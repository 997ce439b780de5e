# SPDX-License-Identifier: Apache-2.0
import collections
import io
import json

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from deeplab2_like import errors
from deeplab2_like.data import (
    coco_entries,
    coco_panoptic,
    coco_records,
    descriptor,
    records,
)
from deeplab2_like.testing import reference

SCENE = """
    ..aaaabbbb
    .saaaabbbb
    sssscccccc
    sssscccddd
"""
# Letter: segment id, category, crowd.
SEGMENTS = {
    "a": (70000, 7, 0),
    "b": (300, 7, 0),
    "c": (5, 9, 1),
    "d": (16_000_000, 9, 0),
    "s": (256, 2, 0),
}
DATA = descriptor.DatasetDescriptor(
    name="toy",
    num_classes=3,
    thing_ids=(1, 2),
    stuff_ids=(0,),
    ignore_label=255,
    label_divisor=10,
    class_names=("ground", "tree", "car"),
    colors=((0, 0, 0), (1, 1, 1), (2, 2, 2)),
    category_ids=(2, 7, 9),
)
LETTERS = np.array([list(row) for row in SCENE.split()])
EXPECTED = np.select(
    [letter == LETTERS for letter in ".abcds"],
    [2550, 11, 12, 20, 21, 0],
)


def encode_ids(letters):
    ids = np.zeros(letters.shape, np.int64)
    for letter, (key, _, _) in SEGMENTS.items():
        ids[letters == letter] = key
    return np.stack([ids % 256, ids // 256 % 256, ids // 65536], -1)


def make_content():
    """The JSON content of two images with the same scene."""
    info = [
        {
            "id": key,
            "category_id": category,
            "iscrowd": crowd,
            "area": int((letter == LETTERS).sum()),
        }
        for letter, (key, category, crowd) in SEGMENTS.items()
    ]
    height, width = LETTERS.shape
    return {
        "images": [
            {"id": n, "file_name": name, "height": height, "width": width}
            for n, name in ((5, "two.png"), (3, "one.png"))
        ],
        "annotations": [
            {"image_id": 3, "file_name": "a.png", "segments_info": info},
            {
                "image_id": 5,
                "file_name": "b.png",
                "segments_info": json.loads(json.dumps(info)),
            },
        ],
        "categories": [
            {"id": 2, "name": "ground", "isthing": 0},
            {"id": 7, "name": "tree", "isthing": 1},
            {"id": 9, "name": "car", "isthing": 1},
        ],
    }


@pytest.fixture
def content():
    return make_content()


@pytest.fixture
def folder(tmp_path):
    for name in ("images", "panoptic"):
        (tmp_path / name).mkdir()
    pixels = np.zeros((*LETTERS.shape, 3), np.uint8)
    for index, name in enumerate(("one", "two")):
        Image.fromarray(pixels + index).save(tmp_path / f"images/{name}.png")
    for name in "ab":
        rgb = encode_ids(LETTERS).astype(np.uint8)
        Image.fromarray(rgb).save(tmp_path / f"panoptic/{name}.png")
    return tmp_path


def load(folder, content, data=DATA, **options):
    path = folder / "panoptic.json"
    path.write_text(json.dumps(content))
    return coco_entries.load_entries(
        str(path),
        str(folder / "images"),
        str(folder / "panoptic"),
        data,
        **options,
    )


def load_samples(folder, content, data=DATA, **options):
    return [
        coco_panoptic.load_sample(entry, data, **options)
        for entry in load(folder, content, data)
    ]


def get_error(folder, content, data=DATA):
    with pytest.raises(errors.DataError) as caught:
        load_samples(folder, content, data)
    return str(caught.value)


def test_segments_become_panoptic_ids(folder, content):
    one, two = load_samples(folder, content)
    assert (one.name, two.name) == ("one", "two")
    np.testing.assert_array_equal(one.panoptic, EXPECTED)
    assert one.panoptic.dtype == np.int32
    assert one.image == (folder / "images/one.png").read_bytes()
    assert one.image_format == "png"
    assert one.instances == {1: 2, 2: 1}
    assert one.num_crowds == 1
    assert not one.is_converted


def test_instances_are_numbered_in_the_order_of_the_json(folder, content):
    content["annotations"][0]["segments_info"].reverse()
    one, two = load_samples(folder, content)
    assert set(one.panoptic[LETTERS == "a"]) == {12}
    assert set(one.panoptic[LETTERS == "b"]) == {11}
    np.testing.assert_array_equal(two.panoptic, EXPECTED)


def test_crowds_can_be_ignored(folder, content):
    one, _ = load_samples(folder, content, treat_crowd_as_ignore=True)
    assert set(one.panoptic[LETTERS == "c"]) == {2550}
    assert set(one.panoptic[LETTERS == "d"]) == {21}


def test_an_image_without_segments_is_void(folder, content):
    content["annotations"][0]["segments_info"] = []
    black = np.zeros((*LETTERS.shape, 3), np.uint8)
    Image.fromarray(black).save(folder / "panoptic/a.png")
    assert set(load_samples(folder, content)[0].panoptic.ravel()) == {2550}


def test_a_split_without_labels_needs_images_only(folder, content):
    del content["annotations"]
    entries = load(folder, content, with_labels=False)
    sample = coco_panoptic.load_sample(entries[0], DATA)
    assert sample.panoptic is None
    assert sample.size == LETTERS.shape


# Faults of the JSON file: what is changed, what the error says.


def make_instances_json(content):
    content["annotations"] = [
        {"id": 1, "image_id": 3, "category_id": 7, "bbox": [0, 0, 1, 1]}
    ]


def repeat_image(content):
    content["images"].append(dict(content["images"][0]))


def repeat_annotation(content):
    content["annotations"].append(content["annotations"][0])


def drop_annotation(content):
    content["annotations"].pop()


def drop_image(content):
    content["images"].pop()


def drop_categories(content):
    del content["categories"]


def swap_kind(content):
    content["categories"][0]["isthing"] = 1


def rename_image(content):
    content["images"][0]["file_name"] = "gone.jpg"


def rename_label(content):
    content["annotations"][0]["file_name"] = "gone.png"


def drop_file_name(content):
    del content["annotations"][1]["file_name"]


@pytest.mark.parametrize(
    ("change", "parts"),
    [
        (make_instances_json, ["COCO instances (detection) JSON", "panoptic_"]),
        (repeat_image, ["1 images have the same id as another: 5"]),
        (repeat_annotation, ["more than one annotation: image_id 3"]),
        (drop_annotation, ["1 images have no annotation: 'two.png'"]),
        (drop_image, ["1 annotations are of images", "image_id 3"]),
        (drop_categories, ["has no list categories"]),
        (swap_kind, ["Category 2 ('ground') is a thing here but class 0"]),
        (rename_image, ["1 of 2 images do not exist", "images/gone.jpg"]),
        (rename_label, ["1 of 2 panoptic PNGs do not exist", "gone.png"]),
        (drop_file_name, ["1 annotations have no 'file_name'"]),
    ],
)
def test_faults_of_the_json_are_named(folder, content, change, parts):
    change(content)
    message = get_error(folder, content)
    for part in parts:
        assert part in message
    assert "panoptic.json" in message


def test_all_problems_of_the_json_come_at_once(folder, content):
    repeat_image(content)
    swap_kind(content)
    message = get_error(folder, content)
    assert "same id" in message
    assert "is a thing here" in message


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ('{"images": [', "panoptic.json:1:13: not JSON"),
        ("[]", "no list images and no list categories"),
        ('{"images": [], "categories": []}', "`images` is empty"),
    ],
)
def test_a_file_of_another_kind_is_named(folder, text, part):
    path = folder / "panoptic.json"
    path.write_text(text)
    with pytest.raises(errors.DataError, match=r"panoptic\.json") as caught:
        coco_entries.load_entries(str(path), "", "", DATA)
    assert part in str(caught.value)


def test_a_missing_json_is_named(tmp_path):
    path = str(tmp_path / "gone.json")
    with pytest.raises(errors.DataError, match=r"'.*gone.json': No such file"):
        coco_entries.load_entries(path, "", "", DATA)


# Faults between the JSON file and the PNG.


def drop_segment(segments):
    segments.pop(1)


def add_segment(segments):
    segments.append({"id": 999, "category_id": 2, "area": 1})


def change_area(segments):
    segments[0]["area"] = 9


def change_category(segments):
    segments[0]["category_id"] = 8


def repeat_segment(segments):
    segments.append(segments[0])


@pytest.mark.parametrize(
    ("change", "part"),
    [
        (drop_segment, "segment 300 (8 pixels) is in the PNG but not in the J"),
        (add_segment, "segment 999 is in the JSON but not in the PNG"),
        (change_area, "segment 70000 has the area 9 in the JSON but 8 pixels"),
        (change_category, "segment 70000 has the category_id 8, which data s"),
        (repeat_segment, "segment 70000 is listed more than once"),
    ],
)
def test_disagreements_name_image_and_segment(folder, content, change, part):
    change(content["annotations"][0]["segments_info"])
    message = get_error(folder, content)
    assert message.startswith("Image 'one': ")
    assert part in message


def test_an_area_may_be_left_out(folder, content):
    del content["annotations"][0]["segments_info"][0]["area"]
    assert len(load_samples(folder, content)) == 2


def test_different_sizes_are_named(folder, content):
    Image.new("RGB", (10, 5)).save(folder / "images/one.png")
    content["images"][1]["width"] = 11
    message = get_error(folder, content)
    assert "Image 'one' has different sizes" in message
    assert "the image 5x10, the PNG 4x10, the JSON 4x11" in message


def test_more_instances_than_the_divisor_allows_are_named(folder, content):
    rows = np.arange(1, 12)[:, None] * np.ones((1, 3), int)
    rgb = np.stack([rows, rows * 0, rows * 0], -1).astype(np.uint8)
    Image.fromarray(rgb).save(folder / "panoptic/a.png")
    Image.new("RGB", (3, 11)).save(folder / "images/one.png")
    content["images"][1] |= {"height": 11, "width": 3}
    content["annotations"][0]["segments_info"] = [
        {"id": key, "category_id": 9, "area": 3} for key in range(1, 12)
    ]
    message = get_error(folder, content)
    assert "Image 'one' has 11 instances of 'car'" in message
    assert "label_divisor 10 of data set 'toy' allows 9" in message


@pytest.mark.parametrize("path", ["images/one.png", "panoptic/a.png"])
@pytest.mark.parametrize("text", [b"", b"<html>not found</html>", None])
def test_files_that_are_not_images_are_named(folder, content, path, text):
    if text is None:
        content_of_file = (folder / path).read_bytes()
        text = content_of_file[: len(content_of_file) // 2]
    (folder / path).write_bytes(text)
    assert path in get_error(folder, content)


@pytest.mark.parametrize("mode", ["L", "P", "I;16"])
def test_a_label_of_another_kind_is_named(folder, content, mode):
    Image.new(mode, LETTERS.shape[::-1]).save(folder / "panoptic/a.png")
    assert "a.png" in get_error(folder, content)


def test_a_16_bit_image_is_refused(folder, content):
    Image.new("I;16", LETTERS.shape[::-1]).save(folder / "images/one.png")
    message = get_error(folder, content)
    assert "Image 'one' has more than 8 bits a channel" in message


@pytest.mark.parametrize(
    ("mode", "file_format"),
    [("RGBA", "PNG"), ("P", "PNG"), ("CMYK", "JPEG"), ("RGB", "BMP")],
)
def test_other_images_are_rewritten_as_rgb(folder, content, mode, file_format):
    image = Image.new("RGB", LETTERS.shape[::-1], (250, 130, 20)).convert(mode)
    image.save(folder / "images/one.png", format=file_format)
    one, two = load_samples(folder, content)
    assert one.is_converted
    assert not two.is_converted
    decoded = tf.io.decode_png(one.image).numpy()
    assert decoded.shape == (*LETTERS.shape, 3)
    with Image.open(folder / "images/one.png") as saved:
        np.testing.assert_array_equal(decoded, np.asarray(saved.convert("RGB")))


def test_exif_orientation_is_applied_where_the_label_has_it(folder, content):
    height, width = LETTERS.shape
    for size, expected in (
        ((height, width), True),  # Stored lying, upright as the label.
        ((width, height), False),  # Stored as the label was drawn.
    ):
        exif = Image.Exif()
        exif[0x0112] = 6
        path = folder / "images/one.png"
        Image.new("RGB", size).save(path, format="JPEG", exif=exif)
        one = load_samples(folder, content)[0]
        assert one.size == (height, width)
        assert one.is_converted == expected


# Writing.


def test_records_hold_the_samples(folder, content):
    done = []
    summary = coco_records.write_coco_records(
        load(folder, content),
        DATA,
        str(folder / "records"),
        "val",
        2,
        report=done.append,
    )
    assert done == [1, 2]
    assert summary.num_images == 2
    assert summary.instances == {1: 4, 2: 2}
    assert summary.max_instances == 2
    assert summary.pixels == {255: 6, 0: 18, 1: 32, 2: 24}
    parsed = [
        records.parse_example(record)
        for record in tf.data.TFRecordDataset(summary.paths)
    ]
    assert [part["name"].numpy() for part in parsed] == [b"one", b"two"]
    label = tf.io.decode_raw(parsed[0]["label"], tf.int32)
    np.testing.assert_array_equal(label, EXPECTED.ravel())


def test_nothing_is_written_when_an_image_is_bad(folder, content):
    for annotation in content["annotations"]:
        change_area(annotation["segments_info"])
    with pytest.raises(errors.DataError) as caught:
        coco_records.write_coco_records(
            load(folder, content), DATA, str(folder / "records"), "val", 1
        )
    assert "Image 'one'" in str(caught.value)
    assert "Image 'two'" in str(caught.value)
    assert not list((folder / "records").iterdir())


# Real data, where it is.

REAL = [
    ("nuclei_dsb2018", "nuclei", "val"),
    ("camvid", "camvid", "train"),
    ("coco128_things", "coco128_things", "train"),
    ("coco_panoptic_sample", "coco_panoptic", "val"),
]


@pytest.mark.parametrize(("name", "dataset", "split"), REAL)
def test_real_data_sets_are_read_to_the_pixel(name, dataset, split):
    root = reference.folder().parent / "realdata" / name
    if not root.is_dir():
        pytest.skip(f"no real data: {root} is absent")
    data = descriptor.load(dataset)
    json_path = root / f"panoptic_{split}.json"
    entries = coco_entries.load_entries(
        str(json_path),
        str(root / "images" / split),
        str(root / "panoptic" / split),
        data,
    )
    content = json.loads(json_path.read_text())
    assert len(entries) == len(content["images"])
    for sample in coco_records.load_samples(entries[:40], data):
        assert isinstance(sample, coco_panoptic.Sample), sample
        entry = next(e for e in entries if e.name == sample.name)
        check_by_segment(sample, entry, data)


def check_by_segment(sample, entry, data):
    """Compares with one mask a segment, as slow and plain as can be."""
    with Image.open(entry.label_path) as image:
        rgb = np.asarray(image).astype(np.int64)
    ids = rgb[..., 0] + 256 * rgb[..., 1] + 65536 * rgb[..., 2]
    expected = np.full(ids.shape, data.void_id)
    counts = collections.Counter()
    for segment in entry.segments:
        index = data.category_ids.index(segment["category_id"])
        instance = 0
        if data.is_thing(index) and not segment["iscrowd"]:
            counts[index] += 1
            instance = counts[index]
        expected[ids == segment["id"]] = index * data.label_divisor + instance
    np.testing.assert_array_equal(sample.panoptic, expected)
    assert sample.instances == counts
    with Image.open(io.BytesIO(sample.image)) as image:
        assert image.size == sample.size[::-1] == ids.shape[::-1]
