# SPDX-License-Identifier: Apache-2.0
"""TFRecords in, files out."""

import io
import json

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from deeplab2_like import errors, predict
from deeplab2_like.data.records import features


def _write_records(path, names, *, damage=None, orientation=1):
    with tf.io.TFRecordWriter(str(path)) as writer:
        for number, name in enumerate(names):
            pixels = np.zeros((20, 30, 3), np.uint8)
            pixels[3 : 8 + number, 5:15] = 255
            tags = Image.Exif()
            tags[0x0112] = orientation
            stream = io.BytesIO()
            Image.fromarray(pixels).save(stream, format="PNG", exif=tags)
            data = stream.getvalue()
            if number == damage:
                data = data[:-20]
            writer.write(
                features.encode_example(
                    name=name, image=data, image_format="png", size=(20, 30)
                )
            )
    return path


def _flip(path, offset):
    data = bytearray(path.read_bytes())
    data[offset] ^= 0xFF
    path.write_bytes(data)


def test_records_are_predicted_by_their_names(fake, tmp_path):
    names = ["north/1.png", "north/2.png", "1.jpg", "1.png"]
    path = _write_records(tmp_path / "val.tfrecord", names, orientation=6)
    out = tmp_path / "out"
    result = predict.predict_files("model", [path], out)
    assert result.num_images == fake.calls == 4
    content = json.loads(result.json_path.read_text())
    assert [image["file_name"] for image in content["images"]] == names
    # Labels of records are drawn on the pixels as stored.
    assert {image["height"] for image in content["images"]} == {20}
    for name in ("north/1", "north/2", "1", "1-2"):
        assert (out / f"{name}.panoptic.png").exists()
        assert (out / f"{name}.overlay.png").exists()
    result = predict.predict_files("model", [path], out)
    assert (fake.calls, result.num_kept) == (4, 4)


@pytest.mark.usefixtures("fake")
def test_records_give_what_their_image_files_give(tmp_path):
    path = _write_records(tmp_path / "val.tfrecord", ["a.png", "b.png"])
    images = tmp_path / "images"
    images.mkdir()
    for example in tf.data.TFRecordDataset(str(path)):
        parsed = features.parse_example(example)
        name = parsed["name"].numpy().decode()
        (images / name).write_bytes(parsed["image"].numpy())
    predict.predict_files("model", [path], tmp_path / "1")
    predict.predict_files("model", [images], tmp_path / "2")
    for name in ("a.panoptic.png", "b.panoptic.png", "panoptic.json"):
        found = (tmp_path / "1" / name).read_bytes()
        assert found == (tmp_path / "2" / name).read_bytes()


@pytest.mark.usefixtures("fake")
def test_damaged_records_are_left_out_and_listed(tmp_path):
    names = ["a.png", "b.png", "c.png", "", "/e.png"]
    path = _write_records(tmp_path / "val.tfrecord", names, damage=1)
    cut = _write_records(tmp_path / "cut.tfrecord", ["f.png", "g.png"])
    cut.write_bytes(cut.read_bytes()[:-5])
    text = tmp_path / "text.tfrecord"
    text.write_text("This is no record, but long enough to look like one.")
    flipped = _write_records(tmp_path / "x.tfrecord", ["h.png", "i.png"])
    _flip(flipped, 40)
    out = tmp_path / "out"
    inputs = [path, cut, text, flipped]
    result = predict.predict_files("model", inputs, out)
    content = json.loads(result.json_path.read_text())
    assert [i["id"] for i in content["images"]] == ["a", "c", "f", "i"]
    failures = json.loads((out / "failures.json").read_text())
    found = {entry["source"]: entry["problem"] for entry in failures}
    assert set(found) == {
        str(cut),
        str(text),
        f"{path}#1",
        f"{path}#3",
        f"{path}#4",
        f"{flipped}#0",
    }
    assert "cut off" in found[str(cut)]
    assert "(b.png) is damaged" in found[f"{path}#1"]
    assert "has no name" in found[f"{path}#3"]
    assert "Record 0 of" in found[f"{flipped}#0"]


@pytest.mark.usefixtures("fake")
def test_ids_of_records_can_be_those_of_the_ground_truth(tmp_path):
    names = ["a.png", "b.png", "x/a.png"]
    path = _write_records(tmp_path / "val.tfrecord", names)
    ids = {"a.png": 7, "b.png": 8}
    result = predict.predict_files(
        "model", [path], tmp_path / "out", image_ids=ids
    )
    content = json.loads(result.json_path.read_text())
    assert [image["id"] for image in content["images"]] == [7, 8]
    assert "is twice among" in result.problems[0]


@pytest.mark.usefixtures("fake")
def test_records_without_a_good_one_are_one_sentence(tmp_path):
    path = tmp_path / "val.tfrecord"
    path.write_bytes(b"")
    with pytest.raises(errors.DataError, match="no record"):
        predict.predict_files("model", [path], tmp_path / "out")
    path.write_bytes(b"nothing that is a record at all")
    with pytest.raises(errors.DataError, match="not a TFRecord file"):
        predict.predict_files("model", [path], tmp_path / "out")
    assert not (tmp_path / "out").exists()
