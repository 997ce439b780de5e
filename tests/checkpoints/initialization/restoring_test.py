# SPDX-License-Identifier: Apache-2.0
"""Whole models come back from their own checkpoints."""

import numpy as np
import pytest
import tensorflow as tf

from deeplab2_like import errors
from deeplab2_like.checkpoints import initialization


def _write(folder, model, **groups):
    """Writes a checkpoint with the given value in each group's variables."""
    items = {
        name: {
            v.path: tf.Variable(tf.fill(v.shape, value))
            for v in model.variables
            if not v.path.endswith(skipped)
        }
        for name, (value, skipped) in groups.items()
    }
    checkpoint = tf.train.Checkpoint(
        global_step=tf.Variable(30, dtype=tf.int64), **items
    )
    return checkpoint.write(str(folder / "ckpt-30"))


def _values(model):
    return {float(x) for v in model.variables for x in np.ravel(v)}


def test_all_variables_are_restored_with_the_step(dense_model, tmp_path):
    model = dense_model
    prefix = _write(tmp_path, model, variables=(1.0, "nothing"))
    assert initialization.restore_all(prefix, model) == 30
    assert _values(model) == {1.0}


def test_averaged_weights_win_where_there_are_any(dense_model, tmp_path):
    model = dense_model
    prefix = _write(
        tmp_path,
        model,
        variables=(1.0, "nothing"),
        average=(2.0, "first/bias"),
        optimizer=(3.0, "nothing"),
    )
    initialization.restore_all(prefix, model)
    assert _values(model) == {1.0, 2.0}
    np.testing.assert_array_equal(model.get_layer("first").bias, [1.0] * 3)


def test_a_missing_variable_is_an_error_and_nothing_changes(
    dense_model, tmp_path
):
    model = dense_model
    prefix = _write(tmp_path, model, variables=(1.0, "second/kernel"))
    with pytest.raises(errors.CheckpointError, match="second/kernel: not in"):
        initialization.restore_all(prefix, model)
    assert _values(model) == {0.0}
