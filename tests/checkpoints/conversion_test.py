# SPDX-License-Identifier: Apache-2.0
import pathlib

import numpy as np
import pytest
import tensorflow as tf

from deeplab2_like import errors
from deeplab2_like.checkpoints import (
    conversion,
    deeplab2_keys,
    initialization,
)
from deeplab2_like.checkpoints import files as checkpoint_files
from deeplab2_like.checkpoints import writing as checkpoint_writing


def _read(prefix):
    keys = checkpoint_files.list_keys(prefix)
    return checkpoint_files.read_values(prefix, keys)


def _assert_equal(a, b):
    assert set(a) == set(b)
    for name, value in a.items():
        assert np.asarray(value).dtype == np.asarray(b[name]).dtype
        np.testing.assert_array_equal(value, b[name], name)


def test_there_and_back_is_bit_equal(tiny_run, config, in_deeplab2, tmp_path):
    own = conversion.convert(config, in_deeplab2, f"{tmp_path}/own/")
    assert own.prefix == f"{tmp_path}/own/ckpt-7"
    assert own.step == 7
    again = conversion.convert(
        config, own.prefix, f"{tmp_path}/again/ckpt-7", layout="deeplab2"
    )
    first, second = _read(in_deeplab2), _read(again.prefix)
    graph = "_CHECKPOINTABLE_OBJECT_GRAPH"
    del first[graph], second[graph]
    _assert_equal(first, second)
    original = checkpoint_files.read_checkpoint(
        checkpoint_files.find_checkpoint(str(tiny_run))
    )
    converted = checkpoint_files.read_checkpoint(own.prefix)
    _assert_equal(
        converted,
        {k: v for k, v in original.items() if "seed_generator" not in k},
    )


def test_deeplab2_restores_what_was_exported(in_deeplab2, config):
    """By the names of attributes, as its trainer does, and completely."""
    system, model = conversion._build(config)
    del system
    items = {}
    expected = {}
    initialization.restore_all(in_deeplab2, model)
    for key, variable in deeplab2_keys.deeplab2_keys(model.variables).items():
        *parents, leaf = key.split("/.ATTRIBUTES")[0].split("/")
        node = items.setdefault(parents[0], tf.Module()) if parents else None
        for name in parents[1:]:
            if not hasattr(node, name):
                setattr(node, name, tf.Module())
            node = getattr(node, name)
        if node is None:
            items[leaf] = created = tf.Variable(0.0)
        else:
            created = tf.Variable(tf.zeros(variable.shape))
            setattr(node, leaf, created)
        expected[key] = (created, variable.numpy())
    step = tf.Variable(0, dtype=tf.int64)
    checkpoint = tf.train.Checkpoint(global_step=step, **items)
    assert int(checkpoint.save_counter) == 0  # makes the variable
    status = checkpoint.read(in_deeplab2)
    status.assert_consumed()
    assert int(step) == 7
    for key, (created, value) in expected.items():
        np.testing.assert_array_equal(created.numpy(), value, key)


def test_what_was_converted_is_evaluated_and_found(
    config, in_deeplab2, tmp_path
):
    done = conversion.convert(config, in_deeplab2, f"{tmp_path}/run/")
    folder = f"{tmp_path}/run"
    assert tf.train.latest_checkpoint(folder) == done.prefix
    assert checkpoint_files.find_checkpoint(folder) == done.prefix
    _, model = conversion._build(config)
    values = checkpoint_files.read_checkpoint(done.prefix)
    initialization.assign_all(
        done.prefix, checkpoint_files.model_values(values), model
    )
    assert initialization.restore_all(done.prefix, model) == 7
    files = {file.name for file in pathlib.Path(folder).iterdir()}
    assert files == {
        "checkpoint",
        "ckpt-7.index",
        "ckpt-7.data-00000-of-00001",
    }


def test_averaged_weights_are_what_is_converted(tiny_run, config, tmp_path):
    prefix = checkpoint_files.find_checkpoint(str(tiny_run))
    values = checkpoint_files.read_checkpoint(prefix)
    name = "panoptic_deeplab/semantic_head/last/bias"
    state = {
        ("variables", path.removeprefix("variables/")): value
        for path, value in values.items()
        if path.startswith("variables/")
    }
    state[("average", name)] = np.full_like(state[("variables", name)], 5.0)
    state[("optimizer", f"{name}/momentum")] = np.zeros(3, np.float32)
    checkpoint_writing.write_checkpoint(f"{tmp_path}/ckpt-1", state)
    done = conversion.convert(
        config, f"{tmp_path}/ckpt-1", f"{tmp_path}/out/ckpt", layout="deeplab2"
    )
    bias = checkpoint_files.read_checkpoint(done.prefix)
    assert set(bias["semantic_last_layer/bias"]) == {5.0}
    assert f"optimizer/{name}/momentum" in done.report.bookkeeping


def test_an_encoder_alone_stays_one(config, in_deeplab2, tmp_path):
    values = {
        tuple(name.split("/")): value
        for name, value in checkpoint_files.read_checkpoint(in_deeplab2).items()
        if name.startswith("encoder/")
    }
    checkpoint_writing.write_checkpoint(f"{tmp_path}/encoder", values)
    done = conversion.convert(
        config, f"{tmp_path}/encoder", f"{tmp_path}/own/ckpt"
    )
    names = set(checkpoint_files.read_checkpoint(done.prefix))
    assert len(names) == len(values) + 1
    assert {name.split("/")[0] for name in names} == {
        "variables",
        "global_step",
    }
    _, model = conversion._build(config)
    with pytest.raises(errors.CheckpointError, match="has only an encoder"):
        initialization.restore_all(done.prefix, model)


def test_nothing_is_overwritten_unless_asked(config, in_deeplab2, tmp_path):
    target = f"{tmp_path}/ckpt-7"
    conversion.convert(config, in_deeplab2, target)
    before = {f: f.read_bytes() for f in tmp_path.iterdir()}
    for path in (target, f"{target}.index", str(tmp_path), f"{tmp_path}/"):
        with pytest.raises(errors.CheckpointError, match="--overwrite"):
            conversion.convert(config, in_deeplab2, path)
    assert before == {f: f.read_bytes() for f in tmp_path.iterdir()}
    done = conversion.convert(
        config, in_deeplab2, target, layout="deeplab2", overwrite=True
    )
    assert set(_read(done.prefix)) == set(_read(in_deeplab2))


@pytest.mark.parametrize("step", ["write", "compare", "move"])
def test_a_failure_leaves_nothing_behind(tmp_path, monkeypatch, step):
    def fail(*_, **__):
        raise tf.errors.ResourceExhaustedError(None, None, "disk is full")

    if step == "write":
        monkeypatch.setattr(tf.train.Checkpoint, "write", fail)
    else:
        monkeypatch.setattr(checkpoint_writing, f"_{step}", fail)
    with pytest.raises(errors.CheckpointError, match="disk is full"):
        checkpoint_writing.write_checkpoint(
            f"{tmp_path}/ckpt", {("a",): np.zeros(3)}
        )
    assert list(tmp_path.iterdir()) == []


def test_damage_on_the_disk_is_noticed(tmp_path, monkeypatch):
    is_same = checkpoint_writing._is_same
    monkeypatch.setattr(
        checkpoint_writing, "_is_same", lambda a, b: is_same(a, b + 1)
    )
    with pytest.raises(errors.CheckpointError, match="differs from what"):
        checkpoint_writing.write_checkpoint(
            f"{tmp_path}/ckpt", {("a", "b"): np.zeros(3)}
        )
    assert list(tmp_path.iterdir()) == []
