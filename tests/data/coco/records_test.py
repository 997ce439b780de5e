# SPDX-License-Identifier: Apache-2.0
"""Records of data in the format of COCO panoptic, toy and real."""

import collections
import io
import json

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from deeplab2_like import errors
from deeplab2_like.data import class_pixels
from deeplab2_like.data.coco import entries as coco_entries
from deeplab2_like.data.coco import records as coco_records
from deeplab2_like.data.coco import samples as coco_samples
from deeplab2_like.data.records import features as record_features
from deeplab2_like.labels import descriptor
from deeplab2_like.testing import reference


def test_records_hold_the_samples(coco):
    done = []
    summary = coco_records.write_coco_records(
        coco.load(),
        coco.descriptor,
        coco_records.Output(str(coco.folder / "records"), "val", 2),
        report=done.append,
    )
    assert done == [1, 2]
    assert summary.num_images == 2
    assert summary.instances == {1: 4, 2: 2}
    assert summary.max_instances == 2
    assert summary.pixels == {255: 6, 0: 18, 1: 32, 2: 24}
    parsed = [
        record_features.parse_example(record)
        for record in tf.data.TFRecordDataset(summary.paths)
    ]
    assert [part["name"].numpy() for part in parsed] == [b"one", b"two"]
    label = tf.io.decode_raw(parsed[0]["label"], tf.int32)
    np.testing.assert_array_equal(label, coco.expected.ravel())


def test_nothing_is_written_when_an_image_is_bad(coco):
    for annotation in coco.content["annotations"]:
        annotation["segments_info"][0]["category_id"] = 8
    with pytest.raises(errors.DataError) as caught:
        coco_records.write_coco_records(
            coco.load(),
            coco.descriptor,
            coco_records.Output(str(coco.folder / "records"), "val", 1),
        )
    assert "Image 'one'" in str(caught.value)
    assert "Image 'two'" in str(caught.value)
    assert not list((coco.folder / "records").iterdir())


# Real data, where it is.

REAL = [
    ("nuclei_dsb2018", "nuclei", "val"),
    ("camvid", "camvid", "train"),
    ("coco128_things", "coco128_things", "train"),
    ("coco_panoptic_sample", "coco_panoptic", "val"),
]


@pytest.mark.parametrize(("name", "dataset", "split"), REAL)
def test_real_data_sets_are_read_to_the_pixel(name, dataset, split):
    root = reference.folder().parent / "realdata" / name
    if not root.is_dir():
        pytest.skip(f"no real data: {root} is absent")
    data = descriptor.load(dataset)
    json_path = root / f"panoptic_{split}.json"
    entries = coco_entries.load_entries(
        str(json_path),
        str(root / "images" / split),
        str(root / "panoptic" / split),
        data,
    )
    content = json.loads(json_path.read_text())
    assert len(entries) == len(content["images"])
    for entry in entries[:40]:
        sample = coco_samples.load_sample(entry, data)
        assert sample.name == entry.name
        check_by_segment(sample, entry, data)


def check_by_segment(sample, entry, data):
    """Compares with one mask a segment, as slow and plain as can be."""
    with Image.open(entry.label_path) as image:
        rgb = np.asarray(image).astype(np.int64)
    ids = rgb[..., 0] + 256 * rgb[..., 1] + 65536 * rgb[..., 2]
    expected = np.full(ids.shape, data.void_id)
    counts = collections.Counter()
    for segment in entry.segments:
        index = data.category_ids.index(segment.category_id)
        instance = 0
        if data.is_thing(index) and not segment.is_crowd:
            counts[index] += 1
            instance = counts[index]
        expected[ids == segment.id] = index * data.label_divisor + instance
    np.testing.assert_array_equal(sample.panoptic, expected)
    assert sample.instances == counts
    with Image.open(io.BytesIO(sample.image)) as image:
        assert image.size == sample.size[::-1] == ids.shape[::-1]


def test_the_pixels_of_each_shard_are_counted_while_it_is_written(coco):
    summary = coco_records.write_coco_records(
        coco.load(),
        coco.descriptor,
        coco_records.Output(str(coco.folder / "records"), "val", 2),
    )
    found = class_pixels.load_counts(summary.paths, coco.descriptor)
    assert found.num_images == 2
    void = coco.descriptor.ignore_label
    pixels = {n: int(p) for n, p in enumerate(found.pixels) if p}
    assert pixels == {n: p for n, p in summary.pixels.items() if n != void}
    (coco.folder / "records" / class_pixels.CACHE_FILE).unlink()
    again = class_pixels.count_files(summary.paths, coco.descriptor)
    assert again.image_pixels.tolist() == found.image_pixels.tolist()
    assert again.thing_image_pixels == found.thing_image_pixels
