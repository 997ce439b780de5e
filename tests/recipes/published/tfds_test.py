# SPDX-License-Identifier: Apache-2.0
"""Data sets as TensorFlow Datasets prepares them are read like records."""

import json
import shutil
import zipfile

import numpy as np
import pytest
import tensorflow as tf

from deeplab2_like import config, errors
from deeplab2_like.data import checks, class_pixels, graph_errors, pipeline
from deeplab2_like.data.preprocessing import Preprocessing
from deeplab2_like.data.records import decoding, tfds_labels
from deeplab2_like.data.records import files as record_files
from deeplab2_like.labels import descriptor as descriptor_lib

tfds = pytest.importorskip("tensorflow_datasets")

_COCO = descriptor_lib.load("coco_panoptic")
_CITYSCAPES = descriptor_lib.load("cityscapes_panoptic")
_COCO_VAL = "tfds:coco/2017_panoptic:validation"


def _download(builder):
    builder.download_and_prepare(
        download_config=tfds.download.DownloadConfig(
            try_download_gcs=False, compute_stats="skip"
        )
    )


@pytest.fixture(scope="module")
def coco(miniatures, prepare, tmp_path_factory):
    """Returns folders: of TFDS, prepared by its own builder, and records."""
    from tensorflow_datasets.object_detection.coco import Coco

    folder = tmp_path_factory.mktemp("coco")
    root = folder / "archives"
    miniatures.write_coco(root, "train", 3, _COCO, seed=40)
    miniatures.write_coco(root, "val", 4, _COCO)
    with pytest.MonkeyPatch.context() as patch:
        manager = tfds.download.DownloadManager
        patch.setattr(
            manager,
            "download_and_extract",
            lambda _, urls: dict.fromkeys(urls, str(root)),
        )
        patch.setattr(manager, "extract", lambda *_: str(root / "annotations"))
        _download(Coco(config="2017_panoptic", data_dir=folder / "tfds"))
    prepare("coco", root, folder / "records", num_shards=2)
    return folder / "tfds", folder / "records"


@pytest.fixture(scope="module")
def cityscapes(miniatures, prepare, tmp_path_factory):
    """Returns folders: of TFDS, prepared by its own builder, and records."""
    folder = tmp_path_factory.mktemp("cityscapes")
    root = folder / "archives"
    for split in ("train", "val", "test"):
        miniatures.write_cityscapes(root, {"aachen": 2, "bonn": 1}, split)
    manual = folder / "tfds" / "downloads" / "manual"
    manual.mkdir(parents=True)
    for kind in ("leftImg8bit", "gtFine"):
        path = manual / f"{kind}_trainvaltest.zip"
        with zipfile.ZipFile(path, "w") as archive:
            for file in sorted((root / kind).rglob("*.png")):
                archive.write(file, file.relative_to(root))
    _download(
        tfds.builder(
            "cityscapes/semantic_segmentation", data_dir=folder / "tfds"
        )
    )
    prepare("cityscapes", root, folder / "records", num_shards=1)
    return folder / "tfds", folder / "records"


def _decode(pattern, data):
    """Returns images and labels by name."""
    rules = vars(pipeline.LabelRules.from_descriptor(data))
    found = {}
    for path in record_files.find_files(pattern):
        for record in tf.data.TFRecordDataset(path):
            one = decoding.decode_example(record, **rules)
            found[one["name"].numpy().decode()] = (
                one["image"].numpy(),
                one["panoptic"].numpy(),
            )
    return found


@pytest.mark.parametrize("split", ["train", "validation"])
def test_coco_of_tfds_is_what_our_records_hold(coco, split):
    folder, records = coco
    short = split[:5].replace("valid", "val")
    found = _decode(f"tfds:coco/2017_panoptic:{split}@{folder}", _COCO)
    expected = _decode(f"{records}/{short}-*.tfrecord", _COCO)
    assert found.keys() == expected.keys()
    assert len(found) == {"train": 3, "validation": 4}[split]
    for name, (image, label) in expected.items():
        np.testing.assert_array_equal(found[name][0], image)
        np.testing.assert_array_equal(found[name][1], label)
    instances = np.concatenate([(v[1] % 256).ravel() for v in found.values()])
    assert instances.max() > 1


def test_cityscapes_of_tfds_has_the_classes_without_instances(cityscapes):
    folder, records = cityscapes
    found = _decode(f"tfds:cityscapes:train@{folder}", _CITYSCAPES)
    expected = _decode(f"{records}/train-*.tfrecord", _CITYSCAPES)
    assert found.keys() == expected.keys()
    for name, (image, label) in expected.items():
        np.testing.assert_array_equal(found[name][0], image)
        np.testing.assert_array_equal(found[name][1], label // 1000 * 1000)


def test_the_tables_are_those_of_the_descriptors():
    assert _CITYSCAPES.category_ids == tfds_labels.CITYSCAPES_IDS
    assert _COCO.num_classes == tfds_labels.COCO_CLASSES
    assert _COCO.thing_ids == tuple(range(1, tfds_labels.COCO_THINGS + 1))
    assert _COCO.category_ids == tuple(sorted(_COCO.category_ids))


def test_training_reads_them_in_an_order_of_the_seed(coco):
    pattern = f"tfds:coco/2017_panoptic:train@{coco[0]}"

    def list_names(start_step):
        data = pipeline.make_training_dataset(
            [pattern],
            pipeline.LabelRules.from_descriptor(_COCO),
            Preprocessing(crop_size=(17, 17)),
            lambda label: {"label": label},
            pipeline.Reading(seed=3, deterministic=True, start_step=start_step),
            batch_size=1,
        )
        return [one["name"][0] for one in data.take(6).as_numpy_iterator()]

    names = list_names(0)
    assert len({*names[:3]}) == len({*names[3:]}) == 3
    assert list_names(2)[:4] == names[2:]


def test_evaluation_reads_each_image_once(coco):
    data = pipeline.make_evaluation_dataset(
        [f"{_COCO_VAL}@{coco[0]}"],
        pipeline.LabelRules.from_descriptor(_COCO),
        Preprocessing(crop_size=(33, 33)),
    )
    assert data.cardinality() == 4
    assert len({one["name"][0] for one in data.as_numpy_iterator()}) == 4


@pytest.mark.parametrize("is_quick", [False, True])
def test_they_are_checked_like_records(coco, is_quick):
    rules = pipeline.LabelRules.from_descriptor(_COCO)
    options = checks.CheckOptions(is_quick=is_quick)
    found = checks.check_records([f"{_COCO_VAL}@{coco[0]}"], rules, options)
    expected = checks.check_records([f"{coco[1]}/val-*"], rules, options)
    assert found.problems == []
    assert found.num_checked == 4
    assert found.sizes == expected.sizes
    assert found.pixels == expected.pixels
    assert found.instances == expected.instances


def test_their_pixels_are_counted_by_class(coco):
    def count(pattern):
        paths = record_files.find_files(pattern)
        return class_pixels.count_files(paths, _COCO).pixels

    np.testing.assert_array_equal(
        count(f"{_COCO_VAL}@{coco[0]}"), count(f"{coco[1]}/val-*.tfrecord")
    )


def test_a_config_names_them_and_the_split_may_be_left_out(coco):
    name = f"tfds:coco/2017_panoptic@{coco[0]}"
    options = config.load(
        "scenes/panoptic_deeplab_mobilenet_v3_small_os16",
        [
            f'{split}_dataset_options {{ file_pattern: "{name}" }}'
            for split in ("train", "eval")
        ],
    ).options
    train = options.train_dataset_options.file_pattern
    val = options.eval_dataset_options.file_pattern
    assert train == [f"tfds:coco/2017_panoptic:train@{coco[0]}"]
    assert val == [f"{_COCO_VAL}@{coco[0]}"]
    assert len(_decode(val[0], _COCO)) == 4


def test_another_data_set_in_the_config_is_one_sentence(coco):
    with pytest.raises(
        errors.DataError, match="Set dataset to 'coco_panoptic'"
    ):
        checks.check_first_record(
            [f"{_COCO_VAL}@{coco[0]}"],
            pipeline.LabelRules.from_descriptor(_CITYSCAPES),
        )


def test_ids_without_a_segment_are_one_sentence(coco):
    path = record_files.find_files(f"{_COCO_VAL}@{coco[0]}")[0]
    record = next(iter(tf.data.TFRecordDataset(path)))
    example = tf.train.Example.FromString(record.numpy())
    del example.features.feature["panoptic_objects/id"].int64_list.value[-1]
    for key in ("label", "is_crowd"):
        feature = example.features.feature[f"panoptic_objects/{key}"]
        del feature.int64_list.value[-1]
    rules = vars(pipeline.LabelRules.from_descriptor(_COCO))
    with pytest.raises(tf.errors.OpError) as caught:
        decoding.decode_example(
            tf.constant(example.SerializeToString()), **rules
        )
    assert "the table of its segments does not list" in str(
        graph_errors.as_data_error(caught.value)
    )


def _refuse(pattern):
    with pytest.raises(errors.DataError) as caught:
        record_files.find_files(pattern)
    text = str(caught.value)
    assert "\n" not in text
    return text


def test_what_is_not_prepared_is_refused_with_the_command(tmp_path):
    text = _refuse(f"{_COCO_VAL}@{tmp_path}")
    assert "nothing is downloaded unasked" in text
    command = (
        "tfds.builder('coco/2017_panoptic', "
        f"data_dir='{tmp_path}').download_and_prepare()"
    )
    assert command in text
    assert [*tmp_path.iterdir()] == []
    text = _refuse(f"tfds:cityscapes:train@{tmp_path}")
    assert "gtFine_trainvaltest.zip" in text
    assert f"{tmp_path}/downloads/manual" in text


def test_what_is_not_complete_is_refused(coco, tmp_path):
    shutil.copytree(coco[0], tmp_path / "tfds")
    place = f"@{tmp_path}/tfds"
    assert "has train, validation" in _refuse(
        f"tfds:coco/2017_panoptic:test{place}"
    )
    assert "names no split" in _refuse(f"tfds:coco/2017_panoptic{place}")
    assert "is not prepared" in _refuse(
        f"tfds:coco/2017_panoptic:0.1.0:train{place}"
    )
    (path,) = record_files.find_files(f"{_COCO_VAL}{place}")
    (folder,) = (tmp_path / "tfds/coco/2017_panoptic").iterdir()
    info = json.loads((folder / "dataset_info.json").read_text())
    (folder / "dataset_info.json").write_text(
        json.dumps(info | {"fileFormat": "array_record"})
    )
    assert "files of the format array_record" in _refuse(f"{_COCO_VAL}{place}")
    (folder / "dataset_info.json").write_text(json.dumps(info))
    (folder / path.rsplit("/", 1)[-1]).unlink()
    assert "0 of 1 files of split" in _refuse(f"{_COCO_VAL}{place}")
    (folder / "dataset_info.json").write_text("{")
    assert "cannot be read" in _refuse(f"{_COCO_VAL}{place}")
