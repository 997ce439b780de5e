# SPDX-License-Identifier: Apache-2.0
"""Records of published data sets are data sets of TensorFlow Datasets."""

import subprocess
import sys

import numpy as np
import pytest

from deeplab2_like import errors
from deeplab2_like.labels import descriptor as descriptor_lib
from deeplab2_like.recipes.published import sets, tfds_builder

_DATA = descriptor_lib.load("cityscapes_panoptic")


@pytest.fixture(scope="module")
def records(miniatures, prepare, tmp_path_factory):
    folder = tmp_path_factory.mktemp("city")
    root = folder / "cityscapes"
    miniatures.write_cityscapes(root, {"ulm": 3, "bonn": 2}, "train")
    miniatures.write_cityscapes(root, {"ulm": 2}, "val", seed=20)
    miniatures.write_cityscapes(root, {"berlin": 1}, "test", kind="")
    splits = ["train", "val", "test"]
    prepare("cityscapes", root, folder / "records", splits=splits, num_shards=2)
    return folder / "records"


def test_tfds_reads_the_records_where_they_are(records, read_records, decode):
    tfds = pytest.importorskip("tensorflow_datasets")
    before = sorted(records.iterdir())
    builder = tfds_builder.build("cityscapes", records)
    assert builder.info.splits["train"].num_examples == 5
    assert builder.info.splits["val"].num_examples == 2
    found = {
        example["name"].decode(): example
        for example in tfds.as_numpy(builder.as_dataset(split="train"))
    }
    expected = read_records(records, "train")
    assert found.keys() == expected.keys()
    for name, example in found.items():
        assert example["image"].dtype == np.uint8
        np.testing.assert_array_equal(
            example["panoptic"], decode(expected[name])
        )
    assert sorted(records.iterdir()) == before


def test_tfds_load_finds_the_builder_by_name(records):
    tfds = pytest.importorskip("tensorflow_datasets")
    tfds_builder.load_builder_class()
    data = tfds.load(
        "deeplab2_like_published/cityscapes",
        split="train[:40%]+val",
        as_supervised=True,
        builder_kwargs={"records": str(records)},
    )
    pairs = [*tfds.as_numpy(data)]
    assert len(pairs) == 4
    image, label = pairs[0]
    assert image.shape == (*label.shape, 3)
    (example,) = tfds.as_numpy(
        tfds_builder.build("cityscapes", records).as_dataset(split="test")
    )
    assert (example["panoptic"] == _DATA.void_id).all()


def test_the_folder_may_begin_with_a_tilde(records, monkeypatch):
    tfds = pytest.importorskip("tensorflow_datasets")
    monkeypatch.setenv("HOME", str(records.parent))
    builder = tfds_builder.build("cityscapes", f"~/{records.name}")
    (example,) = tfds.as_numpy(builder.as_dataset(split="test"))
    assert example["image"].ndim == 3


def test_each_published_set_has_a_config():
    pytest.importorskip("tensorflow_datasets")
    names = {c.name for c in tfds_builder.load_builder_class().BUILDER_CONFIGS}
    assert names == {one.key for one in sets.SETS}


def test_records_that_are_not_there_are_refused_with_the_command(
    records, tmp_path
):
    pytest.importorskip("tensorflow_datasets")
    with pytest.raises(errors.DataError) as caught:
        tfds_builder.build("cityscapes", tmp_path)
    assert (
        "deeplab2-prepare cityscapes --root=FOLDER_OF_THE_ARCHIVES "
        f"--out={tmp_path}"
    ) in str(caught.value)
    with pytest.raises(errors.DataError, match=r"vistas-2\.0 --root="):
        tfds_builder.build("vistas-2.0", tmp_path)
    with pytest.raises(errors.DataError, match="has records of 'cityscapes'"):
        tfds_builder.build("kitti-step", records)
    with pytest.raises(errors.ConfigError, match="no published data set"):
        tfds_builder.build("mnist", records)
    assert [*tmp_path.iterdir()] == []


def test_without_tfds_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", None)
    with pytest.raises(errors.InstallError, match=r"deeplab2-like\[train\]"):
        tfds_builder.load_builder_class.__wrapped__()


def test_the_module_loads_neither_tfds_nor_tensorflow():
    code = (
        "import sys\n"
        "from deeplab2_like.recipes.published import tfds_builder\n"
        "bad = {'tensorflow_datasets', 'tensorflow'} & set(sys.modules)\n"
        "sys.exit(str(bad) if bad else 0)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
