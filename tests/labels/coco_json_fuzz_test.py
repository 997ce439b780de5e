# SPDX-License-Identifier: Apache-2.0
"""Random edits of valid JSON files: each is read, or refused in a sentence."""

import collections
import copy
import functools
import json
import math
import random

import numpy as np
import pytest
from PIL import Image

from deeplab2_like import errors
from deeplab2_like.data.coco import descriptions, entries, samples
from deeplab2_like.labels import coco_format, descriptor
from deeplab2_like.metrics import coco_panoptic
from deeplab2_like.predict import files as predict_files
from deeplab2_like.results.panoptic_result import PanopticResult
from deeplab2_like.testing import json_edits

_IDS = np.array([[1, 1, 1, 0], [1, 300, 300, 70000], [1, 300, 300, 70000]])
_VALUES = [
    None, True, False, 0, 1, 3, -1, 2**24, 10**30, 0.5, 3.0, 7.0, 1e300, -0.0,
    math.nan, math.inf, "", "3", "7.0", "0", "false", "True", "x", "nan", "\0",
    "one.png", "sub\\two.png", "../one.png", "/one.png", "C:/one.png", ".",
    "#5aa03c", "red", [1, 0, 0], [0.5, 1, 0], "\ud800", "\u00e9\"\n'#", [], {},
    "9" * 40, "a" * 400,
]  # fmt: skip


def _make_content(ids):
    segments = [
        {"id": 1, "category_id": 3, "area": 5, "iscrowd": 0, "bbox": [0, 0]},
        {"id": 300, "category_id": 7, "area": 4, "iscrowd": 0},
        {"id": 70000, "category_id": 7, "area": 2, "iscrowd": 1, "score": 0.5},
    ]
    names = ("one.png", "sub/two.png")
    return {
        "info": {"year": 2020},
        "images": [
            {"id": i, "file_name": name, "height": 3, "width": 4}
            for i, name in zip(ids, names, strict=True)
        ],
        "annotations": [
            {
                "image_id": i,
                "file_name": name,
                "segments_info": copy.deepcopy(segments),
            }
            for i, name in zip(ids, names, strict=True)
        ],
        "categories": [
            {"id": 3, "name": "field", "isthing": 0, "color": [90, 160, 60]},
            {"id": 7, "name": "barn", "isthing": 1, "color": [200, 40, 40]},
        ],
    }


def _write(path, content, rng):
    """Writes a file, sometimes in another encoding or damaged."""
    data = json.dumps(content).encode()
    kind = rng.randrange(40)
    if kind == 0:
        data = data[: rng.randrange(len(data))]
    elif kind == 1:
        place = rng.randrange(len(data))
        data = data[:place] + rng.randbytes(1) + data[place + 1 :]
    elif kind == 2:
        data = data.decode().encode(rng.choice(["utf-8-sig", "utf-16"]))
    path.write_bytes(data)


class _Programs:
    """What reads a JSON file, with pictures that are read once."""

    def __init__(self, folder):
        self.folder = folder
        for kind in ("images", "panoptic"):
            for name in ("one.png", "sub/two.png"):
                (folder / kind / "sub").mkdir(parents=True, exist_ok=True)
                picture = Image.fromarray(coco_format.encode_ids(_IDS))
                picture.save(folder / kind / name)
        self.path = folder / "edited.json"
        self.valid = folder / "valid.json"
        self.valid.write_text(json.dumps(_make_content((5, 9))))
        self.descriptor = self._describe(self.valid)
        self._load_sample = functools.cache(
            lambda entry: samples.load_sample(entry, self.descriptor)
        )

    def _describe(self, path):
        text = descriptions.describe_categories(str(path), "toy")
        file = self.folder / "toy.textproto"
        file.write_text(text, encoding="utf-8")
        try:
            return descriptor.load(str(file))
        except errors.UserError as error:
            raise AssertionError(f"does not load back: {text}") from error

    def describe(self):
        self._describe(self.path)

    def convert(self):
        for entry in entries.load_entries(
            str(self.path),
            str(self.folder / "images"),
            str(self.folder / "panoptic"),
            self.descriptor,
            warn=str,
        ):
            self._load_sample(entry)

    def score_truth(self):
        self._score(self.path, self.valid)

    def score_prediction(self):
        self._score(self.valid, self.path)

    def _score(self, true, predicted):
        folder = self.folder / "panoptic"
        coco_panoptic.compute_panoptic_quality(
            true,
            predicted,
            true_folder=folder,
            predicted_folder=folder,
            num_threads=1,
        )

    def find_ids(self):
        predict_files.load_image_ids(self.path)

    def draw(self):
        content = coco_format.load_annotations(self.path)
        for annotation in content.annotations.values():
            PanopticResult.from_coco(_IDS, annotation, self.descriptor)

    def choose(self, seed):
        """Chooses programs; the rarer ones share most of their code."""
        score = (self.score_truth, self.score_prediction)[seed % 2]
        more = [[self.find_ids], [self.draw], [], []][seed % 4]
        return [self.describe, self.convert, score, *more]


def _run(program):
    """Returns whether a program succeeds; it may fail with a sentence."""
    try:
        program()
    except errors.UserError as error:
        message = str(error)
        assert 20 < len(message) < 4000, message
        assert message.rstrip().endswith((".", ".)")), message
        return False
    return True


@pytest.mark.parametrize(
    "seeds",
    [
        range(1000),
        pytest.param(range(1000, 5000), marks=pytest.mark.slow),
    ],
)
def test_edited_files_are_read_or_refused_in_a_sentence(
    tmp_path, monkeypatch, seeds
):
    monkeypatch.setattr(
        coco_format,
        "load_segment_ids",
        functools.cache(coco_format.load_segment_ids),
    )
    programs = _Programs(tmp_path)
    outcomes = collections.defaultdict(list)
    for seed in seeds:
        rng = random.Random(seed)
        content = _make_content(rng.choice([(5, 9), ("a", "b"), ("5", "9")]))
        for _ in range(rng.choice([1, 1, 1, 2, 4])):
            if content:
                json_edits.edit_value(content, rng, _VALUES)
        _write(programs.path, content, rng)
        for program in programs.choose(seed):
            try:
                outcomes[program.__name__].append(_run(program))
            except Exception as error:
                error.add_note(f"seed {seed}, {program.__name__}")
                raise
    assert len(outcomes) == 6
    for name, read in outcomes.items():  # Neither all is read, nor nothing.
        assert 0.1 < sum(read) / len(read) < 0.95, name
