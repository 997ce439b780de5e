# SPDX-License-Identifier: Apache-2.0
"""Small COCO-panoptic folders of drawn scenes."""

import json
import pathlib
import shutil

import pytest

from deeplab2_like.scenes import records as scenes_records


@pytest.fixture(scope="session")
def _drawn(tmp_path_factory):
    """Returns a folder with 6 scenes to train and 3 to evaluate."""
    folder = tmp_path_factory.mktemp("drawn")
    for split, count in (("train", 6), ("val", 3)):
        scenes_records.write_coco(folder, split, count, size=(65, 97))
    return folder


@pytest.fixture
def scenes(_drawn, tmp_path):
    """Returns a copy: train/, panoptic_train/, panoptic_train.json, ..."""
    return pathlib.Path(shutil.copytree(_drawn, tmp_path / "scenes"))


@pytest.fixture
def photos(scenes, tmp_path):
    """Returns a folder with 6 images in one split: images/, masks/, a JSON."""
    folder = tmp_path / "photos"
    folder.mkdir()
    (scenes / "train").rename(folder / "images")
    (scenes / "panoptic_train").rename(folder / "masks")
    (scenes / "panoptic_train.json").rename(folder / "labels.json")
    return folder


@pytest.fixture
def edit():
    """Returns a function that changes the content of a JSON file."""

    def run(path, change):
        content = json.loads(path.read_text())
        change(content)
        path.write_text(json.dumps(content))

    return run
