# SPDX-License-Identifier: Apache-2.0
"""Models on a pyramid: outputs, training, modes, precision, config."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf

from deeplab2_like.detection import boxes as boxes_lib

MODELS = ("panoptic_fpn", "efficientps", "efficientps_solov2")
# Models whose parts are all in one of the other two are slow.
_WITH_ALL_PARTS = [
    "panoptic_fpn",
    pytest.param("efficientps", marks=pytest.mark.slow),
    pytest.param("efficientps_solov2", marks=pytest.mark.slow),
]


@pytest.fixture(scope="module", params=MODELS)
def name(request):
    return request.param


@pytest.fixture
def tiny(name, tiny_models):
    return tiny_models[name]


@pytest.fixture
def model(name, built_models):
    return built_models(name)


def _assert_close(outputs, expected, **tolerances):
    for name, value in outputs.items():
        np.testing.assert_allclose(
            tf.cast(value, tf.float32),
            tf.cast(expected[name], tf.float32),
            err_msg=name,
            **tolerances,
        )


def test_inference_gives_logits_and_objects_in_fixed_shapes(
    tiny, model, inputs
):
    outputs = model(inputs[0], training=False)
    shapes = {name: tuple(x.shape) for name, x in outputs.items()}
    assert shapes == tiny.shapes
    if "boxes" in outputs:
        boxes = outputs["boxes"].numpy()
        assert boxes.min() >= 0
        assert (boxes <= [*tiny.size, *tiny.size]).all()
        assert outputs["is_box"].numpy().any()


@pytest.mark.parametrize("name", _WITH_ALL_PARTS, indirect=True)
def test_images_of_a_batch_do_not_influence_each_other(model, inputs):
    images, _ = inputs
    together = model(images, training=False)
    alone = model(images[1:], training=False)
    second = {name: value[1:] for name, value in together.items()}
    _assert_close(alone, second, rtol=1e-4, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("name", _WITH_ALL_PARTS, indirect=True)
def test_any_image_size_works_in_one_graph(tiny, model):
    function = tf.function(
        lambda x: model(x, training=False),
        input_signature=[tf.TensorSpec([None, None, None, 3], tf.uint8)],
    )
    rng = np.random.default_rng(1)
    for size in ((64, 64), (50, 33), (7, 9)):
        images = tf.constant(rng.integers(0, 256, (1, *size, 3)), tf.uint8)
        expected = model(images, training=False)
        _assert_close(
            function(images), expected, rtol=10 * tiny.tolerance, atol=1e-3
        )


@pytest.mark.parametrize(
    ("name", "mode"),
    [
        ("panoptic_fpn", "eager"),
        *(
            pytest.param(name, mode, marks=pytest.mark.slow)
            for name in MODELS
            for mode in ("graph", "xla")
        ),
    ],
    indirect=["name"],
)
def test_every_variable_gets_a_finite_gradient(tiny, inputs, mode):
    images, targets = inputs
    model = tiny.make()
    variables = model.trainable_variables
    before = [v.numpy() for v in model.non_trainable_variables]

    def compute():
        with tf.GradientTape() as tape:
            outputs = model(images, targets=targets, training=True)
            total = tf.add_n(
                [
                    tf.reduce_mean(value**2)
                    for name, value in outputs.items()
                    if name.endswith(("_logits", "_codes"))
                ]
            )
        return tape.gradient(total, [v.value for v in variables])

    if mode != "eager":
        compute = tf.function(
            compute, jit_compile=mode == "xla", autograph=False
        )
    for variable, gradient in zip(variables, compute(), strict=True):
        assert gradient is not None, variable.path
        assert np.isfinite(gradient).all(), variable.path
    # Every batch norm has seen the batch, those of the parts too.
    for variable, old in zip(
        model.non_trainable_variables, before, strict=True
    ):
        if variable.path.endswith("moving_mean"):
            assert np.abs(variable.numpy() - old).max() > 0, variable.path


@pytest.mark.parametrize("name", _WITH_ALL_PARTS, indirect=True)
def test_bfloat16_keeps_what_comes_out_float32(tiny, inputs):
    images, targets = inputs
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        low = tiny.make()
    finally:
        keras.config.set_dtype_policy(before)
    outputs = low(images, targets=targets, training=False)
    for name, value in outputs.items():
        assert value.dtype in (tf.float32, tf.int32, tf.bool), name
        assert np.isfinite(tf.cast(value, tf.float32)).all(), name
    if "boxes" in outputs:
        exact = boxes_lib.clip(outputs["boxes"], tf.constant([tiny.size] * 2))
        np.testing.assert_array_equal(exact, outputs["boxes"])
    assert all(v.dtype == "float32" for v in low.trainable_variables)


@pytest.mark.parametrize("name", _WITH_ALL_PARTS, indirect=True)
def test_the_config_round_trips_and_weights_are_saved(
    tiny, model, inputs, tmp_path
):
    images, _ = inputs
    text = json.dumps(model.get_config())
    again = tiny.kind.from_config(json.loads(text))
    assert json.dumps(again.get_config()) == text
    path = tmp_path / "model.keras"
    model.save(path)
    loaded = keras.models.load_model(path)
    _assert_close(
        loaded(images, training=False),
        model(images, training=False),
        rtol=tiny.tolerance,
        atol=max(1e-5, tiny.tolerance),
    )
    paths = [v.path for v in model.trainable_variables]
    assert [v.path for v in loaded.trainable_variables] == paths
    assert len(set(paths)) == len(paths)
