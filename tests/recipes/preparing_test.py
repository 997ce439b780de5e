# SPDX-License-Identifier: Apache-2.0
"""Looking writes a picture only; writing writes everything or nothing."""

import json

import numpy as np
import pytest
from PIL import Image

from deeplab2_like import errors
from deeplab2_like.data.records import writer
from deeplab2_like.labels import descriptor
from deeplab2_like.recipes import forms, out_folder, preparing
from deeplab2_like.recipes.forms.reading import Reading


def list_files(folder):
    return sorted(
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_file()
    )


@pytest.fixture
def boxes(tmp_path):
    """Returns a folder of ten images with two objects each, as polygons."""
    folder = tmp_path / "boxes"
    (folder / "photos").mkdir(parents=True)
    content = {
        "images": [],
        "annotations": [],
        "categories": [{"id": 1, "name": "car"}, {"id": 2, "name": "tree"}],
    }
    for number in range(10):
        name = f"{number:02d}.png"
        pixels = np.full((20 + number, 30, 3), 20 * number, np.uint8)
        Image.fromarray(pixels).save(folder / "photos" / name)
        content["images"].append({"id": number, "file_name": name})
        for category, left in ((1, 2), (2, 12)):
            corners = [left, 2, left + 6, 2, left + 6, 9, left, 9]
            content["annotations"].append(
                {
                    "image_id": number,
                    "category_id": category,
                    "segmentation": [corners],
                }
            )
    (folder / "labels.json").write_text(json.dumps(content))
    return folder


def test_looking_measures_and_draws_and_writes_nothing_else(boxes, tmp_path):
    before = list_files(tmp_path)
    found = preparing.look(forms.Request(boxes), tmp_path / "look.png")
    assert list_files(tmp_path) == sorted([*before, "look.png"])
    assert "COCO instances" in found.title
    assert found.num_images == {"train": 8, "val": 2}
    assert found.num_looked_at == 10
    assert "one image in 5" in found.split_rule
    assert found.survey.num_images == (8, 2)
    assert [c.name for c in found.survey.classes] == [
        "background",
        "car",
        "tree",
    ]
    assert [sum(c.instances) for c in found.survey.classes] == [0, 10, 10]
    with Image.open(tmp_path / "look.png") as picture:
        assert picture.width > 600
        assert picture.height > 600


def test_of_many_images_a_part_is_looked_at(boxes):
    found = preparing.look(forms.Request(boxes), None, max_images=4)
    assert found.num_looked_at == 4
    assert found.num_images == {"train": 8, "val": 2}
    assert sum(found.survey.num_images) == 4


def test_images_that_cannot_be_used_are_listed(boxes):
    for name in ("03.png", "07.png"):
        (boxes / "photos" / name).write_bytes(b"x")
    found = preparing.look(forms.Request(boxes))
    assert len(found.problems) == 2
    assert all("is not an image" in problem for problem in found.problems)
    with pytest.raises(errors.DataError, match=r"03\.png"):
        preparing.write(forms.Request(boxes), boxes.with_name("out"))
    assert not boxes.with_name("out").exists()


def test_pictures_of_others_are_not_replaced(boxes, tmp_path):
    path = tmp_path / "look.png"
    preparing.look(forms.Request(boxes), path)
    preparing.look(forms.Request(boxes), path)
    Image.new("RGB", (4, 4)).save(path)
    with pytest.raises(errors.ConfigError, match="--picture"):
        preparing.look(forms.Request(boxes), path)
    path.write_text("notes")
    with pytest.raises(errors.ConfigError, match="is not replaced"):
        preparing.look(forms.Request(boxes), path)


def test_writing_writes_descriptor_records_and_picture(boxes, tmp_path):
    out = tmp_path / "out"
    found = preparing.write(forms.Request(boxes), out)
    assert list_files(out) == [
        "dataset.textproto",
        "records/MANIFEST.sha256",
        "records/class_pixels.json",
        "records/train-00000-of-00001.tfrecord",
        "records/val-00000-of-00001.tfrecord",
        "samples.png",
    ]
    data = descriptor.load(str(out / "dataset.textproto"))
    assert data.name == "boxes"
    assert data.class_names == ("background", "car", "tree")
    assert data.thing_ids == (1, 2)
    assert writer.find_manifest_problems(str(out / "records")) == []
    assert found.survey.num_images == (8, 2)
    with pytest.raises(errors.ConfigError, match="--overwrite"):
        preparing.write(forms.Request(boxes), out)
    request = forms.Request(boxes, reading=Reading(background="void"))
    preparing.write(request, out, overwrite=True)
    data = descriptor.load(str(out / "dataset.textproto"))
    assert data.class_names == ("car", "tree")
    assert (
        out_folder.PREPARE_SIGNATURE in (out / "dataset.textproto").read_text()
    )


def test_an_open_question_is_asked_before_anything_is_written(
    boxes, tmp_path, monkeypatch
):
    source = forms.find_source(forms.Request(boxes))
    source.question = "Which of these are things?"
    monkeypatch.setattr(forms, "find_source", lambda _: source)
    found = preparing.look(forms.Request(boxes))
    assert found.question == source.question
    with pytest.raises(errors.DataError, match="Which of these are things"):
        preparing.write(forms.Request(boxes), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_form_may_be_named(boxes):
    found = preparing.look(forms.Request(boxes, form="coco-instances"))
    assert "COCO instances" in found.title
    with pytest.raises(errors.DataError, match="asked for: COCO-panoptic"):
        preparing.look(forms.Request(boxes, form="coco-panoptic"))
