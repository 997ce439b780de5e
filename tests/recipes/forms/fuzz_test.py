# SPDX-License-Identifier: Apache-2.0
"""Random edits of valid folders: each is read, or refused in a sentence."""

import collections
import json
import math
import random

import numpy as np
import pytest
from PIL import Image

from deeplab2_like import errors
from deeplab2_like.labels import descriptor
from deeplab2_like.recipes import forms
from deeplab2_like.testing import json_edits

SIZE = (9, 12)
_VALUES = [
    None, True, False, 0, 1, 3, -1, 2**24, 10**30, 0.5, 3.0, 1e300, -0.0,
    math.nan, math.inf, "", "3", "7.0", "x", "nan", "\0", "../a.png",
    "C:/a.png", ".", "\ud800", "\u00e9\"\n'#", [], {}, "9" * 40, [[]],
    [[1, 1, 5, 1, 5, 5]], [1, 2], {"size": [9, 12], "counts": [100, 8]},
]  # fmt: skip
_TOKENS = [
    "", "0", "1", "-1", "0.5", "1.5", "nan", "inf", "1e400", "x", ":", ",",
    "\t", "\0", "[", "]", "{", "#", "'", '"', "- ", "255", "256", "9" * 30,
]  # fmt: skip


def _draw_images(folder, names=("a", "b")):
    folder.mkdir(parents=True)
    for number, name in enumerate(names):
        pixels = np.random.default_rng(number).integers(
            0, 255, (*SIZE, 3), np.uint8
        )
        Image.fromarray(pixels).save(folder / f"{name}.png")


def write_coco_instances(folder):
    _draw_images(folder / "images")
    content = {
        "images": [
            {"id": i, "file_name": f"{n}.png", "height": 9, "width": 12}
            for i, n in enumerate("ab")
        ],
        "annotations": [
            {
                "id": 1, "image_id": 0, "category_id": 2, "iscrowd": 0,
                "segmentation": [[1, 1, 6, 1, 6.5, 6], [7, 1, 9, 1, 9, 4]],
                "bbox": [1, 1, 8, 5], "area": 9.5,
            },
            {
                "id": 2, "image_id": 0, "category_id": 5, "iscrowd": 1,
                "segmentation": {"size": [9, 12], "counts": [50, 20, 38]},
            },
            {
                "id": 3, "image_id": 1, "category_id": 5, "iscrowd": 0,
                "segmentation": {"size": [9, 12], "counts": "X1:j1"},
            },
            {
                "id": 4, "image_id": 1, "category_id": 2, "iscrowd": 0,
                "segmentation": [], "bbox": [1, 1, 3, 3],
            },
        ],
        "categories": [
            {"id": 2, "name": "car", "supercategory": "x"},
            {"id": 5, "name": "tree"},
        ],
    }  # fmt: skip
    (folder / "labels.json").write_text(json.dumps(content))


def write_label_images(folder):
    _draw_images(folder / "images")
    for kind, dtype in (("labels", np.uint8), ("instances", np.uint16)):
        (folder / kind).mkdir()
        for name in "ab":
            pixels = np.zeros(SIZE, dtype)
            pixels[2:5, 3:9] = 1 if kind == "labels" else 700
            pixels[5:7, 3:9] = 2 if kind == "labels" else 0
            Image.fromarray(pixels).save(folder / kind / f"{name}.png")
    (folder / "names.txt").write_text("0: ground\n1: car\n2: tree\n255: void\n")


def write_yolo(folder):
    _draw_images(folder / "images")
    (folder / "labels").mkdir()
    (folder / "labels" / "a.txt").write_text(
        "0 0.1 0.1 0.6 0.1 0.6 0.7\n1 0.5 0.5 0.9 0.5 0.9 0.9 0.5 0.9\n"
    )
    (folder / "labels" / "b.txt").write_text("1 0.5 0.5 0.2 0.3\n0 0 0 1 0 1 1")
    (folder / "data.yaml").write_text(
        "path: x\ntrain: images\nval: images\nnc: 2\n"
        "names:\n  0: car\n  1: tree\n"
    )


def write_labelme(folder):
    _draw_images(folder)
    bitmap = (
        "iVBORw0KGgoAAAANSUhEUgAAAAQAAAADAQAAAACcj5NrAAAADklEQVR4nGPY"
        "wPCAoQAABoYCAevV2UMAAAAASUVORK5CYII="
    )
    for name in "ab":
        content = {
            "imagePath": f"{name}.png",
            "imageHeight": 9,
            "imageWidth": 12,
            "shapes": [
                {"label": "car", "points": [[1, 1], [6, 1], [6, 6]],
                 "group_id": 1, "shape_type": "polygon"},
                {"label": "car", "points": [[7, 1], [9, 3]],
                 "group_id": 1, "shape_type": "rectangle"},
                {"label": "tree", "points": [[4, 5], [4, 7.5]],
                 "group_id": None, "shape_type": "circle"},
                {"label": "tree", "points": [[8, 5], [11, 7]],
                 "mask": bitmap, "shape_type": "mask"},
                {"label": "__ignore__", "points": [[0, 0], [1, 1]],
                 "shape_type": "line"},
            ],
        }  # fmt: skip
        (folder / f"{name}.json").write_text(json.dumps(content))


def write_cvat(folder):
    _draw_images(folder / "JPEGImages")
    for kind in ("SegmentationClass", "SegmentationObject"):
        (folder / kind).mkdir()
        for name in "ab":
            pixels = np.zeros((*SIZE, 3), np.uint8)
            pixels[2:5, 3:9] = (9, 0, 0)
            pixels[5:7, 3:9] = (9, 0, 7) if kind.endswith("Object") else 9
            Image.fromarray(pixels).save(folder / kind / f"{name}.png")
    (folder / "labelmap.txt").write_text(
        "# label:color_rgb:parts:actions\nbackground:0,0,0::\n"
        "car:9,0,0::\ntree:9,9,9::\n"
    )


def write_bitmasks(folder):
    _draw_images(folder / "images")
    (folder / "labels").mkdir()
    for name in "ab":
        pixels = np.zeros((*SIZE, 4), np.uint8)
        pixels[2:5, 3:9] = (1, 0, 2, 7)
        pixels[5:7, 3:9] = (2, 2, 0, 5)
        Image.fromarray(pixels).save(folder / "labels" / f"{name}.png")


WRITERS = {
    "bitmasks": write_bitmasks,
    "cvat": write_cvat,
    "labelme": write_labelme,
    "yolo": write_yolo,
    "coco-instances": write_coco_instances,
    "label-images": write_label_images,
}
# Files that are named by a flag.
CLASSES = {"label-images": "names.txt"}


def _edit_text(path, rng):
    lines = path.read_text().splitlines()
    row = rng.randrange(max(1, len(lines)))
    kind = rng.randrange(5)
    if kind == 0 or not lines:
        lines.insert(row, rng.choice(_TOKENS))
    elif kind == 1:
        del lines[row]
    elif kind == 2:
        lines.insert(row, lines[row])
    else:
        words = lines[row].split(" ")
        words[rng.randrange(len(words))] = rng.choice(_TOKENS)
        lines[row] = " ".join(words)
    path.write_text("\n".join(lines) + "\n" * rng.randrange(2))


def _edit_bytes(path, rng):
    data = path.read_bytes()
    place = rng.randrange(max(1, len(data)))
    kind = rng.randrange(4)
    if kind == 0:
        data = data[:place]
    elif kind == 1:
        data = b""
    else:
        data = data[:place] + rng.randbytes(1) + data[place + 1 :]
    path.write_bytes(data)


def _edit_picture(path, rng):
    with Image.open(path) as image:
        image.load()
    kind = rng.randrange(6)
    if kind == 0:
        image = image.resize((7, 7), Image.Resampling.NEAREST)
    elif kind == 1:
        image = image.convert(rng.choice(["L", "RGB", "RGBA", "P", "1"]))
    elif kind == 2:
        image = Image.fromarray(
            np.full(SIZE, rng.choice([0, 9, 300, 65535]), np.uint16)
        )
    elif kind == 3:
        return image.convert("RGB").save(path, format="JPEG")
    else:
        place = (rng.randrange(image.width), rng.randrange(image.height))
        old = image.getpixel(place)
        new = rng.choice([0, 1, 2, 7, 255])
        image.putpixel(
            place, new if not isinstance(old, tuple) else (new, *old[1:])
        )
    return image.save(path)


def edit(folder, rng):
    """Edits one file of a folder."""
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    labels = [p for p in files if "images" not in p.parts]
    path = rng.choice(labels if rng.random() < 0.85 and labels else files)
    kind = rng.randrange(20)
    if kind == 0:
        return path.unlink()
    if kind == 1:
        return path.rename(path.with_name(f"{path.stem}-2{path.suffix}"))
    if kind == 2:
        return path.write_bytes(rng.choice(files).read_bytes())
    if kind < 5:
        return _edit_bytes(path, rng)
    try:
        if path.suffix == ".json":
            content = json.loads(path.read_text())
            json_edits.edit_value(content, rng, _VALUES)
            return path.write_text(json.dumps(content))
        if path.suffix == ".png":
            return _edit_picture(path, rng)
        return _edit_text(path, rng)
    except (ValueError, OSError, TypeError):  # Damaged before.
        return _edit_bytes(path, rng)


def read(folder, key):
    """Reads a folder as the programs do; returns whether all is in order."""
    try:
        classes = folder / CLASSES[key] if key in CLASSES else None
        reading = forms.Reading(classes=classes)
        source = forms.find_source(forms.Request(folder, reading=reading))
        text, _ = source.describe("edited")
        path = folder.with_name("edited.textproto")
        path.write_text(text, encoding="utf-8")
        data = descriptor.load(str(path))
        warnings = []
        for example in source.list_examples(data, warnings.append):
            sample = example.load()
            assert sample.panoptic.shape == sample.size
            classes = {*(sample.panoptic // data.label_divisor).ravel()}
            assert classes <= {*range(data.num_classes), data.ignore_label}
        assert all(isinstance(warning, str) for warning in warnings)
    except errors.UserError as error:
        message = str(error)
        assert 20 < len(message) < 4000, message
        assert message.rstrip().endswith((".", ".)")), message
        return False
    return True


def restore(folder, files):
    """Undoes edits of a folder; deleting all files would take most time."""
    for path in folder.rglob("*"):
        name = path.relative_to(folder).as_posix()
        if path.is_file() and name not in files:
            path.unlink()
    for name, data in files.items():
        path = folder / name
        if not path.exists() or path.read_bytes() != data:
            path.write_bytes(data)


@pytest.mark.parametrize(
    "seeds",
    [range(500), pytest.param(range(500, 5500), marks=pytest.mark.slow)],
)
def test_edited_folders_are_read_or_refused_in_a_sentence(tmp_path, seeds):
    contents = {}
    for key, write in WRITERS.items():
        folder = tmp_path / key
        write(folder)
        assert read(folder, key), key
        contents[key] = {
            path.relative_to(folder).as_posix(): path.read_bytes()
            for path in folder.rglob("*")
            if path.is_file()
        }
    outcomes = collections.defaultdict(list)
    keys = sorted(contents)
    for seed in seeds:
        rng = random.Random(seed)
        key = keys[seed % len(keys)]
        folder = tmp_path / key
        restore(folder, contents[key])
        try:
            for _ in range(rng.choice([1, 1, 1, 2, 4])):
                if any(path.is_file() for path in folder.rglob("*")):
                    edit(folder, rng)
            outcomes[key].append(read(folder, key))
        except Exception as error:
            error.add_note(f"seed {seed}, {key}")
            raise
    assert {*outcomes} == {*keys}
    for key, good in outcomes.items():  # Neither all is read, nor nothing.
        assert 0.02 < sum(good) / len(good) < 0.95, key
