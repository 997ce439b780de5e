# SPDX-License-Identifier: Apache-2.0
"""The shipped configs read the records of the published data sets."""

import pathlib
import re

import numpy as np
import pytest

from deeplab2_like import config
from deeplab2_like.data import build, checks, pipeline
from deeplab2_like.labels import descriptor as descriptor_lib
from deeplab2_like.meta_architectures import build as system_build
from deeplab2_like.recipes.published import sets

_ROOT = pathlib.Path(__file__).resolve().parents[3]


def write_cityscapes(miniatures, root):
    for seed, split in enumerate(("train", "val")):
        miniatures.write_cityscapes(root, {"ulm": 2}, split, seed=9 * seed)


def write_coco(miniatures, root):
    data = descriptor_lib.load("coco_panoptic")
    for seed, split in enumerate(("train", "val")):
        miniatures.write_coco(root, split, 2, data, seed=9 * seed)


def write_kitti(miniatures, root):
    codes = ((255, 0), (0, 0), (11, 3), (13, 7))
    for sequence, split in (("0000", "train"), ("0002", "val")):
        miniatures.write_step(root, split, {sequence: 2}, codes)


def write_motchallenge(miniatures, root):
    codes = ((255, 0), (0, 0), (4, 3), (4, 0))
    for sequence, split in (("0009", "train"), ("0002", "val")):
        miniatures.write_step(root, split, {sequence: 2}, codes, ending=".jpg")


def write_vistas(miniatures, root):
    for seed, split in enumerate(("train", "val")):
        miniatures.write_vistas(
            root, split, 2, "1.2", [0, 13 * 256, 55 * 256 + 1], seed=9 * seed
        )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("key", "name", "write"),
    [
        (
            "cityscapes",
            "cityscapes/panoptic_deeplab/mobilenet_v3_small_os32",
            write_cityscapes,
        ),
        (
            "coco",
            "coco/panoptic_deeplab/resnet50_os32",
            write_coco,
        ),
        (
            "kitti-step",
            "kitti/panoptic_deeplab/resnet50_os32",
            write_kitti,
        ),
        (
            "motchallenge-step",
            "motchallenge/panoptic_deeplab/resnet50_os32",
            write_motchallenge,
        ),
        (
            "vistas-1.2",
            "mapillary/efficientps/efficientnet_b5",
            write_vistas,
        ),
    ],
)
def test_a_shipped_config_reads_the_records(
    miniatures, prepare, tmp_path, key, name, write
):
    root, out = tmp_path / "root", tmp_path / "out"
    write(miniatures, root)
    prepare(key, root, out)
    loaded = config.load(
        name,
        [
            f"{split}_dataset_options {{ batch_size: 2 crop_size: [33, 65] "
            "min_resize_value: [] max_resize_value: [] }"
            for split in ("train", "eval")
        ],
        environ={
            "TRAIN_SET": f"{out}/train-*",
            "VAL_SET": f"{out}/val-*",
            "EXPERIMENT_NAME": "x",
            "INIT_CHECKPOINT": "",
        },
    )
    options = loaded.options
    (found,) = [one for one in sets.SETS if one.key == key]
    assert options.train_dataset_options.dataset == found.dataset
    assert options.eval_dataset_options.dataset == found.dataset
    data = descriptor_lib.load(found.dataset)
    report = checks.check_records(
        [f"{out}/train-*"],
        pipeline.LabelRules.from_descriptor(data),
        checks.CheckOptions(with_checksums=True),
    )
    assert not report.problems
    assert report.num_records == 2
    system = system_build.build_system(options, data)
    training = build.build_training_dataset(
        options.train_dataset_options,
        data,
        system.target_maker(is_training=True),
        pipeline.Reading(seed=1),
    )
    batch = next(iter(training))
    evaluation = build.build_evaluation_dataset(
        options.eval_dataset_options, data
    )
    for images in (batch, next(iter(evaluation))):
        image = np.asarray(images["image"])
        assert image.shape[0] == 2
        assert image.shape[-1] == 3


def test_each_data_set_with_configs_is_read_and_each_descriptor_is_shipped():
    shipped = config.list_datasets()
    for one in sets.SETS:
        assert one.dataset in shipped or one.describe is not None
    in_configs = {
        name
        for path in (_ROOT / "configs").rglob("*.textproto")
        for name in re.findall(r'^  dataset: "(.*)"', path.read_text(), re.M)
    }
    assert len(in_configs) > 5
    others = {
        "scenes",
        "camvid",
        "nuclei",
        "coco128_things",
        "kitti_panoptic",
    }
    assert in_configs <= {one.dataset for one in sets.SETS} | others
