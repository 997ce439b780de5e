# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
import tensorflow as tf
from absl import logging

from deeplab2_like import errors
from deeplab2_like.checkpoints import files as checkpoint_files
from deeplab2_like.trainer import (
    checkpoint_manager,
    checkpoint_size,
    light_checkpoints,
)


def _make_state(value=0.0):
    def make(shape):
        return tf.Variable(tf.fill(shape, value))

    return {
        "variables": {"net/conv/kernel": make([20, 30])},
        "optimizer": {
            "adam/iteration": tf.Variable(int(value), dtype=tf.int64),
            "adam/net_conv_kernel_momentum": make([20, 30]),
            "adam/net_conv_kernel_velocity": make([20, 30]),
        },
        "average": {"net/conv/kernel": make([20, 30])},
    }


@pytest.fixture
def logged(monkeypatch):
    """The warnings of the log."""
    texts = []
    monkeypatch.setattr(
        logging, "warning", lambda text, *values: texts.append(text % values)
    )
    return texts


@pytest.fixture
def folder(tmp_path):
    """A model folder with three checkpoints, the last one complete."""
    state, step = _make_state(), tf.Variable(0, dtype=tf.int64)
    manager = checkpoint_manager.make_manager(
        str(tmp_path),
        state,
        step,
        checkpoint_manager.SaveOptions(
            keep=3, interval_steps=10, keeps_optimizer=False
        ),
    )
    for value in (10, 20, 30):
        step.assign(value)
        for variable in tf.nest.flatten(state):
            variable.assign(
                tf.cast(tf.fill(variable.shape, value), variable.dtype)
            )
        manager.save(checkpoint_number=step)
    return tmp_path


def _measure(folder, step):
    return (folder / f"ckpt-{step}.data-00000-of-00001").stat().st_size


def test_only_the_newest_checkpoint_keeps_the_optimizer(folder):
    newest = checkpoint_files.read_checkpoint(str(folder / "ckpt-30"))
    assert newest["optimizer/adam/net_conv_kernel_velocity"].max() == 30
    for step in (10, 20):
        values = checkpoint_files.read_checkpoint(str(folder / f"ckpt-{step}"))
        assert set(values) == {
            "variables/net/conv/kernel",
            "optimizer/adam/iteration",
            "average/net/conv/kernel",
            "global_step",
        }
        assert values["global_step"] == step
        assert light_checkpoints.is_light(values)
        # As evaluation and export read it.
        model = checkpoint_files.model_values(values)
        np.testing.assert_array_equal(
            model["net/conv/kernel"], np.full((20, 30), step)
        )
        assert _measure(folder, step) < 0.6 * _measure(folder, 30)
    assert not light_checkpoints.is_light(newest)
    assert checkpoint_files.list_checkpoints(str(folder))[-1].endswith("-30")
    assert not list(folder.glob("*temp*"))


def test_a_run_continues_from_the_newest_one_exactly(folder):
    state, step = _make_state(), tf.Variable(0, dtype=tf.int64)
    prefix = checkpoint_manager.restore_latest(str(folder), state, step)
    assert prefix.endswith("ckpt-30")
    assert {v.numpy().flat[0] for v in tf.nest.flatten(state)} == {30}


def test_an_older_one_continues_with_a_new_optimizer_and_says_so(
    folder, logged
):
    for path in folder.glob("ckpt-30.data*"):
        path.write_bytes(b"")
    state, step = _make_state(5.0), tf.Variable(0, dtype=tf.int64)
    prefix = checkpoint_manager.restore_latest(str(folder), state, step)
    assert prefix.endswith("ckpt-20")
    assert int(step) == 20
    assert int(state["optimizer"]["adam/iteration"]) == 20
    assert state["variables"]["net/conv/kernel"].numpy().max() == 20
    velocity = state["optimizer"]["adam/net_conv_kernel_velocity"]
    assert velocity.numpy().max() == 5.0
    assert any("starts anew" in text for text in logged)


def test_another_optimizer_is_refused_as_before(folder):
    state, step = _make_state(), tf.Variable(0, dtype=tf.int64)
    state["optimizer"] = {"sgd/iteration": tf.Variable(0, dtype=tf.int64)}
    with pytest.raises(errors.CheckpointError, match="model or optimizer"):
        checkpoint_manager.restore_latest(str(folder), state, step)


def test_what_cannot_be_written_again_stays(folder, logged):
    prefix = str(folder / "ckpt-30")
    (folder / "ckpt-30.index").chmod(0o400)
    before = _measure(folder, 30)
    data = (folder / "ckpt-30.data-00000-of-00001").read_bytes()
    (folder / "ckpt-30.data-00000-of-00001").write_bytes(data[:-100])
    light_checkpoints.lighten_all([prefix])
    assert "optimizer stays" in logged[0]
    assert _measure(folder, 30) == before - 100


def test_a_checkpoint_without_an_optimizer_is_not_light():
    assert not light_checkpoints.is_light(["variables/a", "global_step"])


def test_the_size_is_explained_by_its_parts():
    text = checkpoint_size.describe(_make_state(), keep=5, keeps_optimizer=True)
    assert text.startswith(
        "Checkpoints of 9.61 kB: weights 2.4, optimizer 4.8, averages 2.4. 5 "
    )
    assert "keep_optimizer: LAST" in text
    state = {
        "variables": {"a": tf.Variable(tf.zeros([1_070_000]))},
        "optimizer": {"m": tf.Variable(tf.zeros([2, 1_070_000]))},
        "average": {"a": tf.Variable(tf.zeros([1_070_000]))},
    }
    text = checkpoint_size.describe(state, keep=1, keeps_optimizer=True)
    assert text == (
        "Checkpoints of 17.1 MB: weights 4.3, optimizer 8.6, averages 4.3."
    )
    assert "only the newest" in checkpoint_size.describe(
        state, keep=2, keeps_optimizer=False
    )
