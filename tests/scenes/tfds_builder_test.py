# SPDX-License-Identifier: Apache-2.0
import subprocess
import sys

import numpy as np
import pytest

from deeplab2_like import errors
from deeplab2_like.scenes import scene as scene_lib
from deeplab2_like.scenes import tfds_builder

_SIZE = (49, 65)


def test_tfds_gives_the_drawn_scenes_without_network_or_beam(tmp_path):
    tfds = pytest.importorskip("tensorflow_datasets")
    builder = tfds_builder.build_scenes(
        tmp_path, counts={"train": 3, "val": 1}, size=_SIZE
    )
    assert isinstance(builder, tfds.core.GeneratorBasedBuilder)
    assert isinstance(builder, tfds_builder.Scenes)
    builder.download_and_prepare()
    assert builder.info.splits["train"].num_examples == 3
    assert builder.info.splits["val"].num_examples == 1
    for index, example in enumerate(
        tfds.as_numpy(builder.as_dataset(split="train"))
    ):
        scene = scene_lib.make_scene(
            scene_lib.compute_seed("train", index), _SIZE
        )
        assert example["name"].decode() == f"train_{index:06d}"
        np.testing.assert_array_equal(example["image"], scene.image)
        np.testing.assert_array_equal(example["panoptic"], scene.panoptic)
    assert "apache_beam" not in sys.modules


def test_data_of_other_arguments_lies_in_another_folder(tmp_path):
    pytest.importorskip("tensorflow_datasets")
    counts = {"train": 1}
    folders = {
        str(
            tfds_builder.build_scenes(
                tmp_path, counts=counts, size=size, seed=seed
            ).data_path
        )
        for size, seed in (((49, 65), 0), ((49, 65), 1), ((65, 65), 0))
    }
    assert len(folders) == 3


def test_a_split_that_does_not_exist_is_refused(tmp_path):
    pytest.importorskip("tensorflow_datasets")
    with pytest.raises(errors.DataError, match="one of train, val, test"):
        tfds_builder.build_scenes(tmp_path, counts={"minival": 3})


def test_without_tfds_the_error_says_what_to_install(tmp_path, monkeypatch):
    tfds_builder.load_builder_class.cache_clear()
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", None)
    with pytest.raises(errors.InstallError, match=r"deeplab2-like\[train\]"):
        tfds_builder.build_scenes(tmp_path)


def test_the_module_loads_neither_tfds_nor_tensorflow():
    code = (
        "import sys\n"
        "from deeplab2_like.scenes import tfds_builder\n"
        "bad = {'tensorflow_datasets', 'tensorflow'} & set(sys.modules)\n"
        "sys.exit(str(bad) if bad else 0)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_name_that_does_not_exist_is_an_attribute_error():
    with pytest.raises(AttributeError, match="Streets"):
        _ = tfds_builder.Streets
