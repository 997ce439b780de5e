# SPDX-License-Identifier: Apache-2.0
import dataclasses
import json
import os
import pathlib
import signal
import subprocess
import sys
import threading

import numpy as np
import pytest
from PIL import Image

from deeplab2_like import errors
from deeplab2_like.data.records import features as record_features
from deeplab2_like.data.records import writer as record_writer
from deeplab2_like.labels import descriptor
from deeplab2_like.naive_student import (
    candidates,
    labeller,
    labelling,
    unlabeled,
)
from deeplab2_like.naive_student.label_options import LabelOptions
from deeplab2_like.predict.options import PredictOptions

_DATA = descriptor.load("scenes")
_HERE = pathlib.Path(__file__).resolve().parent
# It is killed when its first shard of two images is complete.
_PROGRAM = """
import os, signal, sys
sys.path.insert(0, sys.argv[1])
import fake_labeller
from deeplab2_like.naive_student import labelling
from deeplab2_like.naive_student.label_options import LabelOptions
from deeplab2_like.recipes.published.shard_counts import ShardCounts
store = ShardCounts.store
def store_and_die(*arguments):
    store(*arguments)
    os.kill(os.getpid(), signal.SIGKILL)
ShardCounts.store = store_and_die
fake_labeller.install(fake_labeller.FakeLabeller())
labelling.label_images("model", [sys.argv[2]], sys.argv[3],
                       LabelOptions(num_shards=3, class_balance=0.5))
"""
_BALANCED = LabelOptions(num_shards=3, class_balance=0.5)


def _read_all(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def _pixels(path):
    return np.asarray(Image.open(path))


def _write_record(folder, split, paths):
    records = [
        record_features.encode_example(
            name=path.name,
            image=path.read_bytes(),
            image_format="png",
            size=_pixels(path).shape[:2],
        )
        for path in paths
    ]
    record_writer.write_shards(records, len(records), str(folder), split, 1)
    return f"{folder}/{split}-*"


@pytest.mark.usefixtures("fake")
def test_records_have_the_images_and_the_labels(
    write_images, tmp_path, read_records
):
    images = write_images(tmp_path / "images")
    done = labelling.label_images("model", [images], tmp_path / "out")
    found = read_records(done.pattern)
    assert list(found) == [f"{number}.png" for number in range(5)]
    for name, (image, label) in found.items():
        pixels = _pixels(images / name)
        np.testing.assert_array_equal(image, pixels)
        is_thing = pixels[..., 0] > 127
        expected = np.where(
            is_thing,
            _DATA.thing_ids[0] * _DATA.label_divisor + 1,
            _DATA.stuff_ids[0] * _DATA.label_divisor,
        )
        np.testing.assert_array_equal(label, expected)


@pytest.mark.usefixtures("fake")
def test_the_report_counts_classes_objects_and_agreement(
    write_images, tmp_path, read_page
):
    images = write_images(tmp_path / "images")
    out = tmp_path / "out"
    labelling.label_images("model", [images], out, LabelOptions(num_samples=3))
    found = json.loads((out / "pseudo.report.json").read_text())
    pixels = [_pixels(path)[..., 0] for path in sorted(images.iterdir())]
    thing = sum((one > 127).sum() for one in pixels)
    classes = {one["name"]: one for one in found["classes"]}
    name = _DATA.class_names[_DATA.thing_ids[0]]
    assert classes[name]["pixels"] == thing
    assert classes[name]["instances"] == found["num_instances"] == 5
    assert found["void"] == 0
    assert 0.7 < found["mean_confidence"] < 0.8
    assert found["views"][0]["equal"] == 1
    share = [1 - (one[0] > 127).sum() / one.size for one in pixels]
    assert found["views"][1]["equal"] == pytest.approx(np.mean(share))
    # The second view lacks what the first row has of the thing.
    first = sum((one[0] > 127).sum() for one in pixels)
    expected = (2 * thing - first) / (2 * thing)
    assert classes[name]["iou"] == pytest.approx(expected)
    page = read_page((out / "pseudo.report.html").read_text())
    assert page.open == []
    assert [row[0] for row in page.tables["views"]] == [
        "scale 1",
        "scale 1, mirrored",
    ]
    assert len([tag for tag, _ in page.elements if tag == "figure"]) == 6


@pytest.mark.usefixtures("fake")
def test_doubtful_and_ignored_pixels_get_no_label(
    write_images, tmp_path, read_records
):
    images = write_images(tmp_path / "images", 1)
    pixels = _pixels(images / "0.png")
    mask = np.zeros(pixels.shape[:2], np.uint8)
    mask[15:] = 255
    Image.fromarray(mask).save(tmp_path / "mask.png")
    options = LabelOptions(
        confidence_threshold=0.6, ignore_mask=str(tmp_path / "mask.png")
    )
    done = labelling.label_images("model", [images], tmp_path / "out", options)
    ((_, label),) = read_records(done.pattern).values()
    probability = 0.5 + np.abs(pixels[..., 0] - 127.5) / 255
    doubtful = probability.astype(np.float32) < np.float32(0.6)
    np.testing.assert_array_equal(label == _DATA.void_id, doubtful | (mask > 0))
    share = (label == _DATA.void_id).mean()
    assert done.report["void"] == pytest.approx(share)


@pytest.mark.usefixtures("fake")
def test_balanced_classes_keep_equal_shares(
    write_images, tmp_path, read_records
):
    images = write_images(tmp_path / "images")
    done = labelling.label_images(
        "model", [images], tmp_path / "out", _BALANCED
    )
    kept = np.zeros(2)
    total = np.zeros(2)
    for name, (_, label) in read_records(done.pattern).items():
        is_thing = _pixels(images / name)[..., 0] > 127
        for place, mask in enumerate((is_thing, ~is_thing)):
            total[place] += mask.sum()
            kept[place] += (label[mask] != _DATA.void_id).sum()
    np.testing.assert_allclose(kept / total, 0.5, atol=0.01)


def test_what_was_stopped_goes_on_and_ends_with_the_same_bytes(
    fake, write_images, tmp_path
):
    images = write_images(tmp_path / "images")
    out, at_once = tmp_path / "out", tmp_path / "at_once"

    def stop():
        raise SystemExit(75)

    fake.stop, fake.stop_at = stop, 9  # 5 calls measure probabilities.
    with pytest.raises(SystemExit):
        labelling.label_images("model", [images], out, _BALANCED)
    assert not list(out.glob("pseudo-*"))
    fake.calls, fake.stop_at = 0, 0
    labelling.label_images("model", [images], out, _BALANCED)
    assert fake.calls < 5
    labelling.label_images("model", [images], at_once, _BALANCED)
    assert _read_all(out) == _read_all(at_once)
    fake.calls = 0
    labelling.label_images("model", [images], out, _BALANCED)
    assert fake.calls == 0
    assert _read_all(out) == _read_all(at_once)


def test_an_image_that_changed_changes_the_thresholds_of_all(
    fake, write_images, tmp_path
):
    images = write_images(tmp_path / "images")
    out, at_once = tmp_path / "out", tmp_path / "at_once"

    def stop():
        raise SystemExit(75)

    fake.stop, fake.stop_at = stop, 9
    with pytest.raises(SystemExit):
        labelling.label_images("model", [images], out, _BALANCED)
    fake.stop_at = 0
    Image.new("RGB", (40, 20), (130, 0, 0)).save(images / "0.png")
    labelling.label_images("model", [images], out, _BALANCED)
    labelling.label_images("model", [images], at_once, _BALANCED)
    assert _read_all(out) == _read_all(at_once)


def test_the_model_is_loaded_once_by_the_thread_that_asked(
    fake, write_images, tmp_path, monkeypatch
):
    images = write_images(tmp_path / "images")
    loaders = []

    def load(*_):
        loaders.append(threading.current_thread())
        return fake

    monkeypatch.setattr(labeller, "load", load)
    labelling.label_images("model", [images], tmp_path / "out")
    assert loaders == [threading.current_thread()]
    labelling.label_images("model", [images], tmp_path / "out")
    assert len(loaders) == 1  # All is complete.


def test_an_exported_model_is_refused_before_images_are_read(
    exported, write_images, tmp_path, monkeypatch
):
    images = write_images(tmp_path / "images")
    monkeypatch.setattr(candidates, "find", None)
    for options, word in (
        (LabelOptions(mirrored=True), "--mirrored"),
        (LabelOptions(confidence_threshold=0.5), "--confidence_threshold"),
        (_BALANCED, "--class_balance"),
    ):
        with pytest.raises(errors.ConfigError, match=word):
            labelling.label_images(
                str(exported), [images], tmp_path / "out", options
            )


@pytest.mark.slow
def test_a_killed_process_goes_on_and_ends_with_the_same_bytes(
    fake, write_images, tmp_path
):
    images = write_images(tmp_path / "images")
    out, at_once = tmp_path / "out", tmp_path / "at_once"
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM, _HERE, images, out],
        cwd=_HERE.parents[1],
        env={**os.environ, "PYTHONPATH": str(_HERE.parents[1])},
        capture_output=True,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    labelling.label_images("model", [images], out, _BALANCED)
    assert fake.calls == 3
    labelling.label_images("model", [images], at_once, _BALANCED)
    assert _read_all(out) == _read_all(at_once)


@pytest.mark.usefixtures("fake")
def test_records_are_labelled_under_their_names(
    write_images, tmp_path, read_records
):
    images = write_images(tmp_path / "images")
    pattern = _write_record(tmp_path / "r", "new", sorted(images.iterdir()))
    done = labelling.label_images("model", [pattern], tmp_path / "out")
    assert list(read_records(done.pattern)) == sorted(os.listdir(images))


@pytest.mark.usefixtures("fake")
def test_damaged_images_are_named_and_left_out(
    write_images, tmp_path, read_records
):
    images = write_images(tmp_path / "images")
    data = (images / "1.png").read_bytes()
    (images / "1.png").write_bytes(data[: len(data) // 2])
    done = labelling.label_images("model", [images], tmp_path / "out")
    assert [failure.source for failure in done.failures] == [
        str(images / "1.png")
    ]
    assert "damaged" in done.failures[0].problem
    assert len(read_records(done.pattern)) == done.num_images == 4
    (failure,) = done.report["failures"]
    assert failure[0].endswith("1.png")


@pytest.mark.usefixtures("fake")
def test_a_folder_without_images_and_damage_alone_are_refused(tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    with pytest.raises(errors.DataError, match="holds no image"):
        labelling.label_images("model", [folder], tmp_path / "out")
    (folder / "a.png").write_text("text")
    with pytest.raises(errors.DataError, match="No image can be labelled"):
        labelling.label_images("model", [folder], tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("fake")
def test_an_image_of_the_validation_set_is_refused_whatever_its_file(
    write_images, tmp_path
):
    images = write_images(tmp_path / "images")
    known = tmp_path / "known"
    known.mkdir()
    picture = Image.fromarray(_pixels(images / "2.png"))
    picture.save(known / "other.png", compress_level=1)
    pattern = _write_record(tmp_path / "r", "val", [known / "other.png"])
    options = LabelOptions(val_patterns=(pattern,))
    with pytest.raises(errors.DataError, match=r"2\.png.*other\.png") as caught:
        labelling.label_images("model", [images], tmp_path / "out", options)
    assert "also in the validation set" in str(caught.value)
    (images / "2.png").unlink()
    labelling.label_images("model", [images], tmp_path / "out", options)


@pytest.mark.usefixtures("fake")
def test_labels_of_other_options_are_not_replaced_silently(
    write_images, tmp_path
):
    images = write_images(tmp_path / "images")
    out = tmp_path / "out"
    labelling.label_images("model", [images], out)
    before = _read_all(out)
    other = LabelOptions(confidence_threshold=0.9)
    with pytest.raises(errors.DataError, match="--overwrite"):
        labelling.label_images("model", [images], out, other)
    assert _read_all(out) == before
    labelling.label_images("model", [images], out, other, overwrite=True)
    assert _read_all(out) != before


@pytest.mark.usefixtures("fake")
def test_what_is_complete_is_not_decoded_again(
    write_images, tmp_path, monkeypatch
):
    images = write_images(tmp_path / "images")
    good = (images / "1.png").read_bytes()
    (images / "1.png").write_bytes(good[: len(good) // 2])
    out = tmp_path / "out"
    first = labelling.label_images("model", [images], out)
    encoded = []
    encode = unlabeled.encode

    def watch(content, subject, *arguments, **options):
        encoded.append(subject)
        return encode(content, subject, *arguments, **options)

    monkeypatch.setattr(unlabeled, "encode", watch)
    again = labelling.label_images("model", [images], out)
    assert encoded == [str(images / "1.png")]  # It might have been mended.
    assert dataclasses.replace(again, seconds=first.seconds) == first
    (images / "1.png").write_bytes(good)
    with pytest.raises(errors.DataError, match="--overwrite"):
        labelling.label_images("model", [images], out)


@pytest.mark.usefixtures("fake")
def test_what_is_complete_is_compared_with_another_validation_set(
    write_images, tmp_path
):
    images = write_images(tmp_path / "images")
    out = tmp_path / "out"
    labelling.label_images("model", [images], out)
    pattern = _write_record(tmp_path / "r", "val", [images / "2.png"])
    options = LabelOptions(val_patterns=(pattern,))
    for _ in range(2):
        with pytest.raises(errors.DataError, match="also in the validation"):
            labelling.label_images("model", [images], out, options)
    other = write_images(tmp_path / "other", 6) / "5.png"
    pattern = _write_record(tmp_path / "s", "val", [other])
    options = LabelOptions(val_patterns=(pattern,))
    labelling.label_images("model", [images], out, options)
    before = _read_all(out)
    labelling.label_images("model", [images], out, options)
    assert _read_all(out) == before


@pytest.mark.usefixtures("fake")
def test_labels_of_images_that_are_turned_otherwise_are_not_kept(
    write_images, tmp_path
):
    images = write_images(tmp_path / "images")
    labelling.label_images("model", [images], tmp_path / "out")
    with pytest.raises(errors.DataError, match="--overwrite"):
        labelling.label_images(
            "model",
            [images],
            tmp_path / "out",
            predict_options=PredictOptions(exif="ignore"),
        )


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"scales": (0.5, 0.0)}, "--scales"),
        ({"confidence_threshold": 1.0}, "--confidence_threshold"),
        ({"class_balance": 0.0}, "--class_balance"),
        ({"split": "a/b"}, "--split"),
    ],
)
def test_options_out_of_range_are_refused(options, word):
    with pytest.raises(errors.ConfigError, match=word):
        LabelOptions(**options)
