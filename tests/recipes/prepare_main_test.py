# SPDX-License-Identifier: Apache-2.0
"""The command deeplab2-prepare."""

import json
import pathlib
import subprocess
import sys

import pytest
from PIL import Image

_ROOT = pathlib.Path(__file__).resolve().parents[2]


def run(folder, *arguments):
    return subprocess.run(
        [sys.executable, str(_ROOT / "data" / "prepare.py"), *arguments],
        cwd=folder,
        env={"HOME": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    for name in "ab":
        Image.new("RGB", (40, 30)).save(folder / f"{name}.png")
    content = {
        "images": [{"id": n, "file_name": f"{n}.png"} for n in "ab"],
        "annotations": [
            {
                "image_id": n,
                "category_id": 1,
                "segmentation": [[3, 3, 20, 3, 20, 20]],
            }
            for n in "ab"
        ],
        "categories": [{"id": 1, "name": "car"}],
    }
    (folder / "labels.json").write_text(json.dumps(content))
    return folder


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ([], 2, "Give one folder, or one JSON file, not 0"),
        (["a", "b"], 2, "not 2"),
        (["nothing"], 3, "nothing does not exist"),
        ([".", "--from=x"], 2, "is not one of auto, coco-panoptic"),
        (["photos", "--out=mi*ne"], 2, "contains '*'"),
        (["photos", "--things=cat"], 2, "--things names 'cat', which is no"),
        (["photos", "--overlap="], 2, "--overlap is empty"),
        (["cityscapes"], 2, "--root is missing: the folder into which"),
        (["--root=photos"], 2, "--root needs the name of one data set"),
        (["photos", "--root=photos"], 2, "Known are cityscapes, cityscapes-c"),
        (["coco", "--root=x"], 3, "--root=x is no folder"),
        (["coco", "--root=photos"], 3, "has no folder of the images of split"),
        (["coco", "--root=x", "--things=a"], 2, "--things is of no use with"),
        (["coco", "--root=x", "--split=a"], 2, "has train, val, test"),
        (["coco", "--root=x", "--from=cvat"], 2, "is read from coco-panoptic"),
    ],
)
def test_wrong_use_gives_a_sentence(photos, arguments, code, message):
    done = run(photos.parent, *arguments)
    assert done.returncode == code, done.stderr
    assert done.stderr.startswith("Error: ")
    assert message in done.stderr
    assert [path.name for path in photos.parent.iterdir()] == ["photos"]


def test_looking_says_what_is_found(photos):
    done = run(photos.parent, "photos")
    assert done.returncode == 0, done.stderr
    for text in (
        "Found     COCO instances: photos/labels.json with photos.",
        "Images    1 to train, 1 to evaluate, 30 x 40 pixels",
        "car         thing       2        2",
        "Picture   photos-prepared.png",
        "Nothing is written yet: --write writes photos-prepared.",
    ):
        assert text in done.stdout
    assert (photos.parent / "photos-prepared.png").exists()
    assert not (photos.parent / "photos-prepared").exists()


@pytest.mark.slow
def test_writing_says_what_a_config_needs(photos):
    done = run(photos.parent, "photos", "--out=mine", "--write")
    assert done.returncode == 0, done.stderr
    place = photos.parent / "mine"
    assert f'dataset: "{place}/dataset.textproto"' in done.stdout
    assert f'file_pattern: "{place}/records/train-*.tfrecord"' in done.stdout
    assert (place / "samples.png").exists()


def test_damaged_images_are_listed_after_what_was_found(photos):
    (photos / "a.png").write_bytes(b"x")
    done = run(photos.parent, "photos")
    assert done.returncode == 3
    assert "Classes   2" in done.stdout
    assert "'a' is not an image" in done.stderr
