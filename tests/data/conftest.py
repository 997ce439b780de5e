# SPDX-License-Identifier: Apache-2.0
"""Toy records, and a toy data set in the format of COCO panoptic."""

import dataclasses
import io
import json
import pathlib
from typing import Any

import numpy as np
import pytest
from PIL import Image

from deeplab2_like import errors
from deeplab2_like.data import pipeline
from deeplab2_like.data.coco import entries as coco_entries
from deeplab2_like.data.coco import samples as coco_samples
from deeplab2_like.data.preprocessing import Preprocessing
from deeplab2_like.data.records import features as record_features
from deeplab2_like.data.records import writer as record_writer
from deeplab2_like.labels import descriptor

_SCENE = """
    ..aaaabbbb
    .saaaabbbb
    sssscccccc
    sssscccddd
"""
# Letter: segment id, category, crowd.
_SEGMENTS = {
    "a": (70000, 7, 0),
    "b": (300, 7, 0),
    "c": (5, 9, 1),
    "d": (16_000_000, 9, 0),
    "s": (256, 2, 0),
}
_DATA = descriptor.DatasetDescriptor(
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
_RULES = pipeline.LabelRules(
    num_classes=3, ignore_label=255, label_divisor=1000
)
_LETTERS = np.array([list(row) for row in _SCENE.split()])
_EXPECTED = np.select(
    [letter == _LETTERS for letter in ".abcds"],
    [2550, 11, 12, 20, 21, 0],
)


def _encode_ids(letters):
    ids = np.zeros(letters.shape, np.int64)
    for letter, (key, _, _) in _SEGMENTS.items():
        ids[letters == letter] = key
    return np.stack([ids % 256, ids // 256 % 256, ids // 65536], -1)


def _make_content():
    """Returns the JSON content of two images with the same scene."""
    info = [
        {
            "id": key,
            "category_id": category,
            "iscrowd": crowd,
            "area": int((letter == _LETTERS).sum()),
        }
        for letter, (key, category, crowd) in _SEGMENTS.items()
    ]
    height, width = _LETTERS.shape
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


@dataclasses.dataclass
class ToyCoco:
    """Two images with the same scene, which a test may change.

    Attributes:
        folder: Folder of images/one.png, images/two.png, panoptic/a.png and
            panoptic/b.png.
        content: Content of the JSON file, which `load` writes.
    """

    folder: pathlib.Path
    content: dict[str, Any]
    descriptor = _DATA
    letters = _LETTERS
    expected = _EXPECTED

    def load(self, **options):
        """Writes the JSON file and returns its entries."""
        path = self.folder / "panoptic.json"
        path.write_text(json.dumps(self.content))
        return coco_entries.load_entries(
            str(path),
            str(self.folder / "images"),
            str(self.folder / "panoptic"),
            self.descriptor,
            **options,
        )

    def load_samples(self, **options):
        """Returns the samples of all entries."""
        return [
            coco_samples.load_sample(entry, self.descriptor, **options)
            for entry in self.load()
        ]

    def get_error(self):
        """Returns the message of the error that the data raise."""
        with pytest.raises(errors.DataError) as caught:
            self.load_samples()
        return str(caught.value)


@pytest.fixture
def coco(tmp_path):
    """Returns the toy data set."""
    for name in ("images", "panoptic"):
        (tmp_path / name).mkdir()
    pixels = np.zeros((*_LETTERS.shape, 3), np.uint8)
    for index, name in enumerate(("one", "two")):
        Image.fromarray(pixels + index).save(tmp_path / f"images/{name}.png")
    for name in "ab":
        rgb = _encode_ids(_LETTERS).astype(np.uint8)
        Image.fromarray(rgb).save(tmp_path / f"panoptic/{name}.png")
    return ToyCoco(tmp_path, _make_content())


def _make_record(index, size):
    generator = np.random.default_rng(index)
    image = generator.integers(0, 256, (*size, 3), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, format="PNG")
    return record_features.encode_example(
        name=f"image_{index}",
        image=stream.getvalue(),
        image_format="png",
        size=size,
        panoptic=generator.integers(0, 3, size) * 1000 + index,
    )


def _write_records(folder, count=11, num_shards=3, size=None, split="train"):
    sizes = [size or (20 + index, 45 - index) for index in range(count)]
    data = [_make_record(index, sizes[index]) for index in range(count)]
    record_writer.write_shards(data, count, str(folder), split, num_shards)
    return str(folder / f"{split}-*.tfrecord")


@pytest.fixture(scope="session")
def write_records():
    """Returns a function that writes records and returns their pattern."""
    return _write_records


@pytest.fixture(scope="session")
def pattern(tmp_path_factory):
    """Returns the pattern of eleven records in three files."""
    return _write_records(tmp_path_factory.mktemp("records"))


@pytest.fixture(scope="session")
def make_evaluation():
    """Returns a function that makes the pipeline of evaluation."""

    def make(pattern, options=None, targets=None, **arguments):
        options = options or Preprocessing((49, 49))
        return pipeline.make_evaluation_dataset(
            [pattern], _RULES, options, targets, **arguments
        )

    return make
