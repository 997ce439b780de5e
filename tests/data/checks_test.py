# SPDX-License-Identifier: Apache-2.0
import io

import numpy as np
import pytest
from PIL import Image

from deeplab2_like import errors
from deeplab2_like.data import checks, pipeline
from deeplab2_like.data.records import features as record_features
from deeplab2_like.data.records import writer as record_writer

RULES = pipeline.LabelRules(num_classes=3, ignore_label=255, label_divisor=10)


def make_record(name, label=None, image=None):
    label = np.zeros((4, 5), int) if label is None else label
    if image is None:
        stream = io.BytesIO()
        Image.new("RGB", (5, 4)).save(stream, format="PNG")
        image = stream.getvalue()
    return record_features.encode_example(
        name=name, image=image, image_format="png", size=(4, 5), panoptic=label
    )


def write(folder, *data, split="train", num_shards=1):
    record_writer.write_shards(data, len(data), str(folder), split, num_shards)
    return [str(folder / f"{split}-*")]


def check(pattern, **options):
    return checks.check_records(pattern, RULES, checks.CheckOptions(**options))


def test_good_records_are_counted(tmp_path):
    label = np.full((4, 5), 2550)
    label[0] = [0, 11, 11, 12, 21]
    pattern = write(tmp_path, make_record("a", label), make_record("b"))
    report = check(pattern, with_checksums=True)
    assert report.problems == []
    assert (report.num_files, report.num_records, report.num_checked) == (
        1,
        2,
        2,
    )
    assert report.sizes == {(4, 5): 2}
    assert report.pixels == {255: 15, 0: 21, 1: 3, 2: 1}
    assert report.instances == {1: 2, 2: 1}
    assert report.max_instances == 3


def test_each_problem_names_file_record_and_image(tmp_path):
    stream = io.BytesIO()
    Image.new("RGB", (5, 4)).save(stream, format="PNG")
    pattern = write(
        tmp_path,
        make_record("good"),
        make_record("range", np.full((4, 5), 37)),
        make_record("cut", image=stream.getvalue()[:50]),
        make_record("text", image=b"just text"),
        make_record("good"),
    )
    report = check(pattern)
    assert report.num_checked == 2
    wrong_range, cut, text, twice = report.problems
    assert "record 1, image 'range': The label of" in wrong_range
    assert "record 2, image 'cut': Image 'cut' is damaged" in cut
    assert "record 3, image 'text': Image 'text' is neither" in text
    assert "2 records have the image name 'good'" in twice
    assert "train-00000-of-00001" in wrong_range


def test_sixteen_bits_and_orientations_are_found(tmp_path):
    deep, turned = io.BytesIO(), io.BytesIO()
    ramp = np.arange(20, dtype=np.uint16).reshape(4, 5) * 200
    Image.fromarray(ramp).save(deep, format="PNG")
    tags = Image.Exif()
    tags[0x0112] = 3
    Image.new("RGB", (5, 4)).save(turned, format="JPEG", exif=tags)
    pattern = write(
        tmp_path,
        make_record("deep", image=deep.getvalue()),
        make_record("turned", image=turned.getvalue()),
        make_record("plain"),
    )
    report = check(pattern)
    (problem,) = report.problems
    assert "Image 'deep' has more than 8 bits a channel" in problem
    assert report.num_turned == 1


def test_only_some_records_may_be_decoded(tmp_path):
    data = [make_record(str(index)) for index in range(9)]
    pattern = write(tmp_path, *data, num_shards=2)
    assert check(pattern, records_per_file=2).num_checked == 4
    assert check(pattern, records_per_file=-1).num_checked == 9
    assert check(pattern, records_per_file=0).num_checked == 0


def test_all_records_are_counted_unless_a_sample_is_asked_for(tmp_path):
    label = np.full((4, 5), 11)
    data = [make_record(str(index), label) for index in range(20)]
    pattern = write(tmp_path, *data)
    report = check(pattern)
    assert report.num_checked == report.instances[1] == 20
    assert check(pattern, records_per_file=8).instances[1] == 8


def test_damaged_and_missing_files_are_problems(tmp_path):
    data = [make_record(str(index)) for index in range(9)]
    pattern = write(tmp_path, *data, num_shards=3)
    path = tmp_path / "train-00000-of-00003.tfrecord"
    path.write_bytes(path.read_bytes()[:-1])
    (tmp_path / "train-00002-of-00003.tfrecord").unlink()
    report = check(pattern, with_checksums=True)
    missing, damaged, differs, gone = report.problems
    assert "has 2 of 3 shards" in missing
    assert "has 2 good records and is then cut off" in damaged
    assert "train-00000" in differs
    assert "train-00002" in gone


def test_a_missing_label_is_a_problem_when_one_is_required(tmp_path):
    stream = io.BytesIO()
    Image.new("RGB", (5, 4)).save(stream, format="PNG")
    record = record_features.encode_example(
        name="x", image=stream.getvalue(), image_format="png", size=(4, 5)
    )
    pattern = write(tmp_path, record)
    (problem,) = check(pattern).problems
    assert "image 'x': The record of image 'x' has no label" in problem
    assert not check(pattern, is_label_required=False).problems
    checks.check_first_record(pattern, RULES, is_label_required=False)
    with pytest.raises(errors.DataError, match="has no label"):
        checks.check_first_record(pattern, RULES)


def test_the_probe_passes_good_and_names_bad_files(tmp_path):
    pattern = write(tmp_path, make_record("a"), make_record("b"))
    checks.check_first_record(pattern, RULES)
    path = tmp_path / "train-00000-of-00001.tfrecord"
    path.write_bytes(b"something else altogether")
    with pytest.raises(errors.DataError, match="is not a TFRecord file"):
        checks.check_first_record(pattern, RULES)
    with pytest.raises(errors.DataError, match="matches no file"):
        checks.check_first_record([str(tmp_path / "val-*")], RULES)


def test_headers_find_the_same_sizes_without_pixels(tmp_path):
    stream = io.BytesIO()
    Image.new("RGB", (5, 4)).save(stream, format="PNG")
    cut = stream.getvalue()[:-20]  # Its pixels cannot be decoded.
    pattern = write(tmp_path, make_record("a"), make_record("cut", image=cut))
    report = check(pattern, is_quick=True, num_threads=2)
    assert report.problems == []
    assert report.sizes == {(4, 5): 2}
    assert not report.pixels
    (problem,) = check(pattern, num_threads=2).problems
    assert "image 'cut': Image 'cut' is damaged" in problem


def test_headers_find_records_that_are_none(tmp_path):
    pattern = write(tmp_path, make_record("a"), b"\xffno example")
    report = check(pattern, is_quick=True)
    (problem,) = report.problems
    assert "record 1, image '': A record is not a tf.train.Example" in problem
