# SPDX-License-Identifier: Apache-2.0
"""Losses weighed by their learned uncertainties."""

import numpy as np
import pytest
import tensorflow as tf

from deeplab2_like.losses import uncertainty
from deeplab2_like.model import weight_decay
from deeplab2_like.model.layers.log_variances import LogVariances

NAMES = ("box_loss", "class_loss")


def _weigh(losses, etas):
    return uncertainty.weigh_losses(
        losses, NAMES, tf.constant(etas, tf.float32), {"box_loss"}
    )


def test_uncertainties_start_with_half_the_regressions():
    losses = {"box_loss": tf.constant([2.0]), "class_loss": tf.constant([3.0])}
    weighed = _weigh(losses, [0, 0])
    assert float(weighed["box_loss"][0]) == 1.0
    assert float(weighed["class_loss"][0]) == 3.0


@pytest.mark.parametrize("loss", [0.01, 1.0, 40.0])
def test_the_best_variance_of_a_regression_is_its_loss(loss):
    eta = tf.Variable([0.0, 0.0])
    values = {"box_loss": tf.constant([loss])}

    @tf.function(autograph=False)
    def descend():
        with tf.GradientTape() as tape:
            total = uncertainty.weigh_losses(values, NAMES, eta, {"box_loss"})[
                "box_loss"
            ]
        gradient = tf.clip_by_value(tape.gradient(total, eta), -1.0, 1.0)
        eta.assign_sub(0.5 * gradient)

    for _ in range(400):
        descend()
    assert np.exp(eta[0].numpy()) == pytest.approx(loss, rel=1e-3)


def test_etas_are_bounded_and_other_losses_are_left_alone():
    losses = {
        "class_loss": tf.constant([1.0]),
        "other_loss": tf.constant([7.0]),
    }
    weighed = _weigh(losses, [0.0, -1e9])
    assert float(weighed["class_loss"][0]) == pytest.approx(np.exp(10) - 5)
    assert float(weighed["other_loss"][0]) == 7.0
    assert set(weighed) == set(losses)


def test_the_layer_stays_float32_and_is_not_decayed():
    layer = LogVariances(NAMES, dtype="mixed_bfloat16", name="log_variances")
    layer.build()
    assert layer.read().dtype == tf.float32
    assert layer.values.dtype == "float32"
    assert not weight_decay.decayed_variables(layer)
    again = LogVariances.from_config(layer.get_config())
    assert again.names == NAMES
