# SPDX-License-Identifier: Apache-2.0
"""A small data set of two classes in COCO-panoptic form."""

import json

import numpy as np
import pytest
from PIL import Image

_CATEGORIES = [
    {"id": 1, "name": "ground", "isthing": 0},
    {"id": 2, "name": "car", "isthing": 1},
]


def _make_image(seed):
    random = np.random.default_rng(seed)
    coarse = random.integers(0, 256, (6, 8, 3), np.uint8)
    return Image.fromarray(coarse).resize((64, 48), Image.Resampling.BICUBIC)


def _make_ids(seed):
    random = np.random.default_rng(seed)
    ids = np.full((48, 64), 1, np.uint8)
    for number in range(3):
        ids[4 : 4 + random.integers(5, 20), 20 * number : 20 * number + 9] = (
            number + 2
        )
    return ids


@pytest.fixture
def folder(tmp_path):
    """Returns a folder: 8 images to train, 4 to evaluate."""
    root = tmp_path / "streets"
    seed = 0
    for split, count in (("train", 8), ("val", 4)):
        content = {"images": [], "annotations": [], "categories": _CATEGORIES}
        for name in ("images", "panoptic"):
            (root / name / split).mkdir(parents=True)
        for number in range(count):
            seed += 1
            name = f"{split}{number}"
            _make_image(seed).save(root / "images" / split / f"{name}.png")
            ids = _make_ids(seed)
            rgb = np.zeros((*ids.shape, 3), np.uint8)
            rgb[..., 0] = ids
            Image.fromarray(rgb).save(root / "panoptic" / split / f"{name}.png")
            content["images"].append({"id": name, "file_name": f"{name}.png"})
            content["annotations"].append(
                {
                    "image_id": name,
                    "file_name": f"{name}.png",
                    "segments_info": [
                        {"id": int(i), "category_id": 2 if i > 1 else 1}
                        for i in np.unique(ids)
                    ],
                }
            )
        (root / f"panoptic_{split}.json").write_text(json.dumps(content))
    return root


@pytest.fixture
def label_images(tmp_path):
    """Returns a folder of images/, labels/ and instances/, without splits."""
    root = tmp_path / "photos"
    for name in ("images", "labels", "instances"):
        (root / name).mkdir(parents=True)
    for seed in range(10):
        ids = _make_ids(seed)
        _make_image(seed).save(root / "images" / f"{seed}.png")
        Image.fromarray((ids > 1).astype(np.uint8)).save(
            root / "labels" / f"{seed}.png"
        )
        Image.fromarray(np.where(ids > 1, ids, 0).astype(np.uint8)).save(
            root / "instances" / f"{seed}.png"
        )
    return root
