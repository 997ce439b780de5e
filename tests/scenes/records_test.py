# SPDX-License-Identifier: Apache-2.0
import json

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from deeplab2_like import errors
from deeplab2_like.data.records import features as record_features
from deeplab2_like.labels import coco_format
from deeplab2_like.labels import descriptor as descriptor_lib
from deeplab2_like.metrics import coco_panoptic
from deeplab2_like.scenes import records as scenes_records
from deeplab2_like.scenes import scene as scene_lib

_SIZE = (49, 65)


def test_records_hold_the_scenes_of_their_split(tmp_path):
    done = []
    paths = scenes_records.write_records(
        tmp_path, "val", 5, size=_SIZE, num_shards=2, advance=done.append
    )
    assert [path.rsplit("/", 1)[1] for path in paths] == [
        "val-00000-of-00002.tfrecord",
        "val-00001-of-00002.tfrecord",
    ]
    assert done == [1, 2, 3, 4, 5]
    for index, record in enumerate(tf.data.TFRecordDataset(paths)):
        parsed = record_features.parse_example(record)
        scene = scene_lib.make_scene(
            scene_lib.compute_seed("val", index), _SIZE
        )
        assert parsed["name"].numpy().decode() == f"val_{index:06d}"
        image = tf.io.decode_png(parsed["image"]).numpy()
        np.testing.assert_array_equal(image, scene.image)
        label = np.frombuffer(parsed["label"].numpy(), "<i4")
        np.testing.assert_array_equal(label.reshape(_SIZE), scene.panoptic)
    assert index == 4


def test_splits_and_seeds_hold_other_scenes(tmp_path):
    contents = set()
    for split, seed in (("train", 0), ("val", 0), ("train", 1)):
        folder = tmp_path / f"{split}{seed}"
        (path,) = scenes_records.write_records(
            folder, split, 1, size=_SIZE, seed=seed
        )
        with open(path, "rb") as stream:
            contents.add(stream.read())
    assert len(contents) == 3


def test_older_records_are_replaced_only_when_asked(tmp_path):
    scenes_records.write_records(tmp_path, "train", 2, size=_SIZE)
    with pytest.raises(errors.DataError, match="already"):
        scenes_records.write_records(tmp_path, "train", 2, size=_SIZE)
    paths = scenes_records.write_records(
        tmp_path, "train", 1, size=_SIZE, overwrite=True
    )
    assert sorted(tmp_path.glob("*.tfrecord")) == sorted(
        tmp_path / path for path in paths
    )


def test_coco_files_read_back_as_the_same_labels(tmp_path):
    path = scenes_records.write_coco(tmp_path, "val", 12, size=_SIZE)
    assert path == tmp_path / "panoptic_val.json"
    content = json.loads(path.read_text())
    descriptor = descriptor_lib.load("scenes")
    classes = descriptor.class_of_category()
    crowds = 0
    for index, entry in enumerate(content["annotations"]):
        scene = scene_lib.make_scene(
            scene_lib.compute_seed("val", index), _SIZE
        )
        ids = coco_format.load_segment_ids(
            tmp_path / "panoptic_val" / entry["file_name"]
        )
        void = scene_lib.IGNORE_LABEL * scene_lib.LABEL_DIVISOR
        np.testing.assert_array_equal(ids == 0, scene.panoptic == void)
        for segment in entry["segments_info"]:
            inside = ids == segment["id"]
            (label,) = np.unique(scene.panoptic[inside])
            kind, instance = divmod(label, scene_lib.LABEL_DIVISOR)
            assert classes[segment["category_id"]] == kind
            assert segment["area"] == inside.sum()
            is_crowd = kind in scene_lib.THING_IDS and instance == 0
            assert segment["iscrowd"] == is_crowd
            crowds += is_crowd
        image = np.asarray(
            Image.open(tmp_path / "val" / f"val_{index:06d}.png")
        )
        np.testing.assert_array_equal(image, scene.image)
    quality = coco_panoptic.compute_panoptic_quality(path, path)
    assert quality.all.pq == 1.0


def test_coco_files_are_replaced_only_when_asked_and_others_stay(tmp_path):
    scenes_records.write_coco(tmp_path, "val", 2, size=_SIZE)
    with pytest.raises(errors.DataError, match="overwrite"):
        scenes_records.write_coco(tmp_path, "val", 1, size=_SIZE)
    mine = tmp_path / "val" / "holiday.jpg"
    mine.write_bytes(b"precious")
    scenes_records.write_coco(tmp_path, "val", 1, size=_SIZE, overwrite=True)
    assert mine.read_bytes() == b"precious"
    names = sorted(path.name for path in (tmp_path / "val").glob("*.png"))
    assert names == ["val_000000.png"]


def test_pictures_are_png_files(tmp_path):
    paths = scenes_records.write_pictures(tmp_path / "a", "test", 2, size=_SIZE)
    for index, path in enumerate(paths):
        scene = scene_lib.make_scene(
            scene_lib.compute_seed("test", index), _SIZE
        )
        np.testing.assert_array_equal(np.asarray(Image.open(path)), scene.image)


@pytest.mark.parametrize(
    "write",
    [
        scenes_records.write_records,
        scenes_records.write_coco,
        scenes_records.write_pictures,
    ],
)
@pytest.mark.parametrize(
    ("split", "count", "text"),
    [
        ("train", 0, "1 or more"),
        ("train", 1_000_001, "does not exist"),
        ("dev", 1, "one of train"),
    ],
)
def test_a_wrong_count_or_split_is_refused_before_anything_is_written(
    tmp_path, write, split, count, text
):
    with pytest.raises(errors.DataError, match=text):
        write(tmp_path / "out", split, count)
    assert not (tmp_path / "out").exists()
