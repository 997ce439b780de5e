# SPDX-License-Identifier: Apache-2.0
"""The command deeplab2-convert-predictions."""

import json
import pathlib
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from deeplab2_like.labels import descriptor as descriptor_lib
from deeplab2_like.recipes import forms
from deeplab2_like.recipes.forms.reading import Reading
from deeplab2_like.results.coco_writer import CocoPanopticWriter
from deeplab2_like.results.panoptic_result import PanopticResult
from deeplab2_like.scenes import scene as scene_lib

_ROOT = pathlib.Path(__file__).resolve().parents[2]
_DATA = descriptor_lib.load("scenes")
_SIZE = (65, 97)


def run(folder, *arguments):
    return subprocess.run(
        [
            sys.executable,
            "-m",
            "deeplab2_like.results.convert_main",
            *arguments,
        ],
        cwd=folder,
        env={"PYTHONPATH": str(_ROOT), "HOME": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def predictions(tmp_path):
    """Returns the result of each image, by its name."""
    results = {}
    with CocoPanopticWriter(
        tmp_path / "out", _DATA, json_path=tmp_path / "out" / "panoptic.json"
    ) as writer:
        for number, seed in enumerate((19, 35)):
            name = f"berlin_{number:06d}_000019_leftImg8bit.png"
            scene = scene_lib.make_scene(seed, _SIZE)
            label = scene.panoptic.copy()
            crowd = (label % 1000 == 0) & np.isin(
                label // 1000, _DATA.thing_ids
            )
            label[crowd] = 255_000
            result = PanopticResult.from_label(label, _DATA)
            for place, info in enumerate(result.segments_info):
                info["score"] = 1 / (2 + place)
            results[name] = result
            writer.add(result, f"berlin/{name}")
            (tmp_path / "photos" / "berlin").mkdir(parents=True, exist_ok=True)
            Image.fromarray(scene.image).save(
                tmp_path / "photos" / "berlin" / name
            )
    return results


def test_files_for_cityscapes_are_written(predictions, tmp_path):
    done = run(
        tmp_path,
        "--pred_json=out/panoptic.json",
        "--to=cityscapes",
        "--split=val",
        "--out=send",
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "2 images are in send\n"
    names = [name.removesuffix("_leftImg8bit.png") for name in predictions]
    found = [path.stem for path in (tmp_path / "send/instance").glob("*.txt")]
    assert sorted(found) == sorted(names)
    base = tmp_path / "send/panoptic/cityscapes_panoptic_val.json"
    assert len(json.loads(base.read_text())["annotations"]) == 2


def test_coco_instances_have_the_masks_of_the_things(predictions, tmp_path):
    coco_masks = pytest.importorskip("pycocotools.mask")
    coco = pytest.importorskip("pycocotools.coco")
    done = run(
        tmp_path,
        "--pred_json=out/panoptic.json",
        "--to=coco-instances",
        "--out=send",
    )
    assert done.returncode == 0, done.stderr
    path = tmp_path / "send" / "instances.json"
    content = json.loads(path.read_text())
    names = {one["id"]: one["file_name"] for one in content["images"]}
    things = [
        (name, info)
        for name, result in predictions.items()
        for info in result.segments_info
        if info["isthing"]
    ]
    assert len(content["annotations"]) == len(things) > 10
    for one, (name, info) in zip(content["annotations"], things, strict=True):
        assert names[one["image_id"]] == f"berlin/{name}"
        mask = coco_masks.decode(one["segmentation"])
        expected = predictions[name].mask(info["id"])
        np.testing.assert_array_equal(mask, expected)
        assert one["area"] == expected.sum()
        assert one["bbox"] == coco_masks.toBbox(one["segmentation"]).tolist()
        assert one["score"] == info["score"]
        assert one["category_id"] == info["category_id"]
    loaded = coco.COCO(str(path))
    results = loaded.loadRes(content["annotations"])
    assert len(results.anns) == len(things)


def test_labelme_files_are_read_back_to_the_pixel(predictions, tmp_path):
    done = run(
        tmp_path,
        "--pred_json=out/panoptic.json",
        "--to=labelme",
        "--out=send",
        "--image_folder=photos",
    )
    assert done.returncode == 0, done.stderr
    for path in (tmp_path / "send").rglob("*.json"):
        content = json.loads(path.read_text())
        assert (path.parent / content["imagePath"]).exists()
    (tmp_path / "both").mkdir()
    (tmp_path / "send").rename(tmp_path / "both" / "send")
    (tmp_path / "photos").rename(tmp_path / "both" / "photos")
    things = [_DATA.class_names[i] for i in _DATA.thing_ids]
    source = forms.find_source(
        forms.Request(
            tmp_path / "both",
            reading=Reading(things=tuple(things), background="void"),
        )
    )
    text, _ = source.describe("read")
    (tmp_path / "read.textproto").write_text(text)
    data = descriptor_lib.load(str(tmp_path / "read.textproto"))
    found = {
        pathlib.Path(example.name).name: example.load().panoptic
        for example in source.list_examples(data, lambda _: None)
    }
    assert len(found) == 2
    for name, result in predictions.items():
        panoptic = found[name.removesuffix(".png")]
        for info in result.segments_info:
            (value,) = np.unique(panoptic[result.mask(info["id"])])
            assert data.class_names[value // 1000] == info["category_name"]
            assert (panoptic == value).sum() == info["area"]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ([], 2, "--pred_json is missing"),
        (["--pred_json=p.json"], 2, "--to is missing"),
        (["--pred_json=p.json", "--to=coco-instances"], 2, "--out is missing"),
        (
            ["--pred_json=gone.json", "--to=labelme", "--out=new"],
            3,
            "gone.json does not exist",
        ),
        (
            ["--pred_json=gone.json", "--to=labelme", "--out=."],
            2,
            "is not an empty folder",
        ),
        (["--to=voc"], 2, "voc"),
    ],
)
def test_wrong_use_gives_a_sentence(tmp_path, arguments, code, message):
    (tmp_path / "p.json").write_text("{}")
    done = run(tmp_path, *arguments)
    assert done.returncode == code, done.stderr
    assert done.stderr.startswith("Error: ")
    assert message in done.stderr
