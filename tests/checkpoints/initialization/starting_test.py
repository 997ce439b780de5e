# SPDX-License-Identifier: Apache-2.0
"""Networks start from checkpoints of deeplab2, of others, of an encoder."""

import numpy as np
import pytest
import tensorflow as tf

from deeplab2_like import errors
from deeplab2_like.checkpoints import initialization, object_graph
from deeplab2_like.checkpoints import writing as checkpoint_writing
from deeplab2_like.config import run_config
from deeplab2_like.labels import descriptor
from deeplab2_like.meta_architectures import build


def _follow(root, path):
    for name in path.split("/"):
        root = getattr(root, name)
    return root


@pytest.mark.parametrize(
    "name",
    [".", "ckpt-60000", "ckpt-60000.index", "ckpt-60000.data-00000-of-00001"],
)
def test_a_checkpoint_of_deeplab2_starts_all(tiny, tmp_path, name):
    tiny.save(tmp_path / "ckpt-60000", tiny.deeplab2_values())
    report = tiny.initialize(tmp_path / name)
    tiny.check_loaded(report)
    assert report.unused == report.missing == []
    assert report.skipped == report.mismatched == {}
    assert initialization.restore_all(str(tmp_path / name), tiny.model) == 60000


def test_the_only_checkpoint_of_a_folder_is_taken(tiny, tmp_path):
    tiny.save(tmp_path / "resnet50", tiny.deeplab2_values())
    tiny.check_loaded(tiny.initialize(tmp_path))
    tiny.save(tmp_path / "resnet101", tiny.deeplab2_values())
    with pytest.raises(errors.CheckpointError, match="resnet101, resnet50"):
        tiny.initialize(tmp_path)


def test_optimizers_and_their_slots_are_passed_over(tiny, tmp_path):
    keras2 = pytest.importorskip("tf_keras")
    values = tiny.deeplab2_values()
    root = object_graph.make_checkpoint(
        {tuple(path.split("/")): value for path, value in values.items()}
    )
    variables = [_follow(root, path) for path in values]
    step = tf.Variable(60000, dtype=tf.int64)
    root.optimizer = keras2.optimizers.legacy.Adam(0.0)
    root.backbone_optimizer = keras2.optimizers.Adam(0.0)
    root.optimizer.iterations = step
    for optimizer in (root.optimizer, root.backbone_optimizer):
        chosen = [v for v in variables if v.shape.rank == 4][:20]
        optimizer.apply_gradients([(tf.zeros_like(v), v) for v in chosen])
    root.global_step = step
    prefix = root.save(str(tmp_path / "ckpt"))
    keys = tf.train.load_checkpoint(prefix).get_variable_to_shape_map()
    assert any("/.OPTIMIZER_SLOT/optimizer/m" in key for key in keys)
    assert any(key.startswith("backbone_optimizer/_var") for key in keys)
    report = tiny.initialize(prefix)
    tiny.check_loaded(report)
    assert report.unused == []
    assert len(report.bookkeeping) == len(keys) - len(values)


def test_variables_are_found_by_the_graph_and_not_by_their_keys(tiny, tmp_path):
    values = tiny.deeplab2_values()
    root = object_graph.make_checkpoint(
        {tuple(path.split("/")): value for path, value in values.items()}
    )
    encoder = [path for path in values if path.startswith("encoder/")]
    root.a = tf.Module()
    root.a.list = [_follow(root, path) for path in encoder]
    prefix = root.write(str(tmp_path / "ckpt"))
    keys = tf.train.load_checkpoint(prefix).get_variable_to_shape_map()
    assert any(key.startswith("a/list/") for key in keys)
    report = tiny.initialize(prefix)
    tiny.check_loaded(report)
    assert report.unused == []


def test_of_a_model_garden_checkpoint_only_the_encoder_is_read(tiny, tmp_path):
    values = {
        path.replace("encoder/", "backbone/_encoder/"): value
        for path, value in tiny.deeplab2_values().items()
        if path.startswith("encoder/")
    }
    values["head/dense/kernel"] = np.ones([2, 3], np.float32)
    tiny.save(tmp_path / "ckpt-1", values)
    report = tiny.initialize(tmp_path / "ckpt-1")
    tiny.check_loaded(report, tiny.backbone_paths())
    assert report.unused == ["head/dense/kernel"]
    assert set(report.skipped.values()) == {
        "the checkpoint has only an encoder for this model"
    }
    with pytest.raises(errors.CheckpointError, match="has only an encoder"):
        initialization.restore_all(str(tmp_path / "ckpt-1"), tiny.model)


@pytest.mark.parametrize("layout", ["deeplab2", "own", "other system"])
def test_an_encoder_alone_starts_the_encoder(tiny, tmp_path, layout):
    if layout == "deeplab2":
        values = {
            tuple(path.split("/")): value
            for path, value in tiny.deeplab2_values().items()
            if path.startswith("encoder/")
        }
    else:
        root = "deeplab_v3" if layout == "other system" else "panoptic_deeplab"
        values = {
            ("variables", path.replace("panoptic_deeplab", root)): value
            for path, value in tiny.expected().items()
            if path in tiny.backbone_paths()
        }
    checkpoint_writing.write_checkpoint(str(tmp_path / "ckpt-1"), values)
    report = tiny.initialize(tmp_path)
    tiny.check_loaded(report, tiny.backbone_paths())
    assert report.missing == report.unused == []
    drawn = report.table()
    assert "only an encoder" in str(list(drawn.columns[0].cells))


@pytest.fixture(scope="module")
def other_system(tiny_run):
    """DeepLabV3 on the same encoder."""
    override = (
        "model_options { deeplab_v3 {} } trainer_options { loss_options { "
        "semantic_loss { name: 'softmax_cross_entropy' } } }"
    )
    options = run_config.load_checked(str(tiny_run), [override]).options
    system = build.build_system(options, descriptor.load("scenes"))
    model = system.build_model(synchronize_batch_norm=False)
    return options.model_options, system, model


@pytest.mark.parametrize("layout", ["deeplab2", "own"])
def test_another_system_takes_the_encoder(tiny, other_system, tmp_path, layout):
    """Parts of equal names mean other things, whatever their shapes."""
    options, system, model = other_system
    if layout == "deeplab2":
        tiny.save(tmp_path / "ckpt-1", tiny.deeplab2_values())
    else:
        checkpoint_writing.write_checkpoint(
            str(tmp_path / "ckpt-1"),
            {("variables", p): v for p, v in tiny.expected().items()},
        )
    options.initial_checkpoint = str(tmp_path)
    report = initialization.initialize(options, system, model)
    assert set(report.loaded) == {
        path.replace("panoptic_deeplab", "deeplab_v3")
        for path in tiny.backbone_paths()
    }
    assert report.missing == []
    assert report.skipped
    assert report.unused
    with pytest.raises(errors.CheckpointError, match="not in the checkpoint"):
        initialization.restore_all(str(tmp_path / "ckpt-1"), model)
