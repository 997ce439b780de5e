# SPDX-License-Identifier: Apache-2.0
"""Files of whole models become a checkpoint and a config."""

import pickle

import numpy as np
import pytest

from deeplab2_like import config as config_lib
from deeplab2_like import errors
from deeplab2_like.checkpoints import files as checkpoint_files
from deeplab2_like.checkpoints.peers import conversion

_CITYSCAPES = "cityscapes/panoptic_deeplab/resnet50_beta_os32"


@pytest.fixture(scope="module")
def file(make_panoptic_deeplab, tmp_path_factory):
    """A file as of a run in progress, whose arrays take little space."""
    path = tmp_path_factory.mktemp("peer") / "model.pth"
    state = {"state_dict": make_panoptic_deeplab(), "start_iter": 7}
    path.write_bytes(pickle.dumps(state))
    return str(path)


def _convert(file, target, **options):
    return conversion.convert(file, target, conversion.Options(**options))


@pytest.mark.slow
def test_a_folder_becomes_one_that_programs_take(file, tmp_path):
    target = f"{tmp_path}/out/"
    done = _convert(file, target)
    assert done.prefix == f"{tmp_path}/out/ckpt-0"
    assert done.config_path == f"{tmp_path}/out/config.textproto"
    assert done.is_order_known
    assert checkpoint_files.find_checkpoint(f"{tmp_path}/out") == done.prefix
    config = config_lib.load(done.config_path, environ={})
    assert config.options.model_options.initial_checkpoint == done.prefix
    names = checkpoint_files.read_checkpoint(done.prefix)
    assert names["global_step"] == 0
    assert sum(name.startswith("variables/") for name in names) == len(
        done.report.loaded
    )
    with pytest.raises(errors.CheckpointError, match="--overwrite"):
        _convert(file, target)
    override = "evaluator_options { nms_kernel: 9 }"
    again = _convert(file, target, overwrite=True, overrides=[override])
    config = config_lib.load(again.config_path, environ={})
    assert config.options.evaluator_options.nms_kernel == 9
    assert "${VAL_SET}" in config.text


@pytest.mark.slow
def test_a_prefix_has_its_config_beside_it(file, tmp_path):
    (tmp_path / "a.textproto").write_text("mine")
    with pytest.raises(errors.CheckpointError, match=r"a\.textproto already"):
        _convert(file, f"{tmp_path}/a")
    assert len(list(tmp_path.iterdir())) == 1
    done = _convert(file, f"{tmp_path}/b")
    assert done.config_path == f"{tmp_path}/b.textproto"


@pytest.mark.slow
def test_a_given_config_is_used_and_must_fit(file, tmp_path):
    own = _convert(file, f"{tmp_path}/own/")
    config = config_lib.load(own.config_path, environ={})
    done = _convert(file, f"{tmp_path}/b", config=config)
    assert done.config_path == ""
    a, b = (
        checkpoint_files.read_checkpoint(prefix)
        for prefix in (own.prefix, done.prefix)
    )
    assert a.keys() == b.keys()
    for name, value in a.items():
        np.testing.assert_array_equal(value, b[name])
    other = config_lib.load("coco/panoptic_fpn/resnet50_1x", environ={})
    with pytest.raises(
        errors.CheckpointError, match="panoptic_fpn: name a con"
    ):
        _convert(file, f"{tmp_path}/c", config=other)


def test_models_of_unknown_data_sets_need_a_config(
    make_panoptic_deeplab, make_panoptic_fpn, tmp_path
):
    for arrays, expected in (
        (make_panoptic_deeplab(5), "for 5 classes"),
        (make_panoptic_fpn(things=3, stuff=2), "3 things and 2 other"),
    ):
        path = tmp_path / "x.pkl"
        path.write_bytes(pickle.dumps({"model": arrays}))
        with pytest.raises(errors.CheckpointError, match=expected) as caught:
            _convert(str(path), f"{tmp_path}/out")
        assert "--config_file" in str(caught.value)


def test_what_a_file_is_converted_as(file):
    deeplab = config_lib.load(_CITYSCAPES, environ={})
    fpn = config_lib.load("coco/panoptic_fpn/resnet50_1x", environ={})
    peer = conversion.Peer.PANOPTIC_DEEPLAB
    assert conversion.find_peer(file, None, None) is peer
    assert conversion.find_peer(file, deeplab, None) is peer
    # Its encoder alone.
    assert conversion.find_peer(file, fpn, None) is None
    assert conversion.find_peer("run/ckpt-1", deeplab, None) is None
    with pytest.raises(errors.CheckpointError, match="drop --peer"):
        conversion.find_peer("run/ckpt-1", deeplab, peer.value)
    with pytest.raises(errors.CheckpointError, match="drop --peer"):
        conversion.find_peer(file, None, "detectron2_panoptic_fpn")
