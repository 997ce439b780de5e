# SPDX-License-Identifier: Apache-2.0
import keras
import pytest
import tensorflow as tf

from deeplab2_like.testing import harness


@keras.saving.register_keras_serializable("harness_test")
class _Scale(keras.layers.Layer):
    """A layer with one weight and, on demand, one fault."""

    def __init__(self, fault="", **kwargs):
        super().__init__(**kwargs)
        self.fault = fault

    def build(self, input_shape):
        channels = input_shape[-1]
        self.scale = self.add_weight(shape=(channels,), name="scale")
        if self.fault == "unused":
            self.unused = self.add_weight(shape=(1,), name="unused")
        if self.fault == "numbered":
            self.inner = keras.layers.Dense(channels)
            self.inner.build((None, None, None, channels))

    def call(self, inputs):
        x = inputs * tf.cast(self.scale, inputs.dtype)
        if self.fault == "numbered":
            x = self.inner(x)
        if self.fault == "infinite":
            x = x / tf.cast(0.0, x.dtype)
        if self.fault == "eager_only" and not tf.executing_eagerly():
            x = x + 1.0
        if self.fault == "low_precision":
            x = tf.where(x.dtype == tf.bfloat16, tf.zeros_like(x), x)
        if self.fault == "fixed_size":
            x = x + tf.ones((17, 25, 1), x.dtype)
        return x

    def get_config(self):
        config = super().get_config()
        if self.fault != "config":
            config["fault"] = self.fault
        return config


def test_a_good_layer_passes(tmp_path):
    harness.check_layer(lambda: _Scale(name="scale"), tmp_path)


@pytest.mark.parametrize(
    ("fault", "sentence"),
    [
        ("unused", "scale/unused has no gradient"),
        ("numbered", "give every layer a name"),
        ("infinite", "is not finite"),
        ("eager_only", "unknown sizes and eager differ"),
        ("low_precision", "bfloat16 and float32 differ"),
        ("config", "the config changes|differ"),
    ],
)
def test_each_fault_is_found(fault, sentence, tmp_path):
    # without its fault in the config, a copy is another layer
    with pytest.raises(AssertionError, match=sentence):
        harness.check_layer(
            lambda: (
                _Faulty(fault, name="scale")
                if fault == "config"
                else _Scale(fault, name="scale")
            ),
            tmp_path,
        )


@keras.saving.register_keras_serializable("harness_test")
class _Faulty(_Scale):
    """Forgets its fault in the config, and acts on it."""

    def call(self, inputs):
        x = super().call(inputs)
        return -x if self.fault else x


def test_a_layer_tied_to_one_size_fails(tmp_path):
    with pytest.raises(Exception, match=r"(?i)incompatible shapes"):
        harness.check_layer(
            lambda: _Scale("fixed_size", name="scale"), tmp_path
        )


@keras.saving.register_keras_serializable("harness_test")
class _Mixing(keras.Model):
    """Lets the images of a batch influence each other."""

    def build(self, _):
        self.scale = self.add_weight(shape=(1,), name="scale")

    def call(self, images):
        x = tf.cast(images, tf.float32) * tf.cast(self.scale, tf.float32)
        return {"y": x - tf.reduce_mean(x, axis=0, keepdims=True)}


def test_a_model_that_mixes_images_fails(tmp_path):
    with pytest.raises(AssertionError, match="an image alone and in a batch"):
        harness.check_model(lambda: _Mixing(name="mixing"), tmp_path)
