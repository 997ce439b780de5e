# SPDX-License-Identifier: Apache-2.0
"""Panoptic FPN is the same in eager mode, graphs and XLA, and lowers."""

import importlib.util
from unittest import mock

import keras
import numpy as np
import pytest
import tensorflow as tf

from deeplab2_like.detection import anchors as anchors_lib
from deeplab2_like.detection import proposals
from deeplab2_like.model.layers import roi_align

NUM_STUFF = 5
NUM_DETECTIONS = 20


def _draw_heads(image_size, branch, rng, batch=2):
    """Draws what the heads of the instance branch may say, and logits."""
    options = branch.options
    regions, found = options.num_proposals[1], options.max_detections
    classes = options.num_classes

    def draw(*shape, scale=1.0):
        return (scale * rng.normal(size=(batch, *shape))).astype("f4")

    levels = []
    for stride, side in zip(
        (4, 8, 16, 32, 64), options.anchor_sizes, strict=True
    ):
        size = [-(-n // stride) for n in image_size]
        anchors = anchors_lib.make_anchors(
            size, stride, [side], options.anchor_ratios
        )
        number = anchors.shape[0]
        # Halves, so that there are equal scores.
        objectness = np.round(2 * draw(number, scale=3.0)) / 2
        levels.append((objectness, draw(number, 4, scale=0.5), anchors))
    cells = rng.normal(size=(batch, found, 4, 4)).repeat(7, 2).repeat(7, 3)
    return {
        "levels": levels,
        "class_logits": draw(regions, classes + 1, scale=2.0),
        "codes": draw(regions, classes, 4, scale=2.0),
        "mask_logits": (3 * cells).astype("f4") + draw(found, 28, 28),
        "semantic_logits": draw(17, 33, 1 + NUM_STUFF, scale=2.0),
    }


def _decide(image_size, system, branch, heads):
    """Gives all that follows from the outputs of the heads, by name."""
    seen = {}

    def judge(_, boxes):
        seen["proposals"] = boxes
        return heads["class_logits"], heads["codes"]

    def draw(_, boxes, category):
        seen["regions of masks"] = boxes
        seen["level of regions"] = roi_align.choose_levels(boxes, 4)
        seen["classes of masks"] = category
        return heads["mask_logits"]

    levels = [proposals.Level(*level) for level in heads["levels"]]
    with (
        mock.patch.object(branch, "_judge", judge),
        mock.patch.object(branch, "_draw", draw),
    ):
        outputs = branch._infer(None, levels, image_size)
    outputs["semantic_logits"] = heads["semantic_logits"]
    valid_size = tf.constant([image_size, (50, 100)])
    prediction = system.postprocess(outputs, image_size, valid_size)
    return {**seen, **outputs, **prediction.as_dict()}


@pytest.mark.parametrize(
    ("modes", "count"),
    [
        (["graph", "xla"], 2),
        pytest.param(["graph", "xla", "eager"], 10, marks=pytest.mark.slow),
    ],
)
def test_what_follows_from_the_heads_is_equal_in_every_mode(
    fpn, built_fpn, modes, count
):
    system, model = built_fpn
    branch = model.instance_branch
    rng = np.random.default_rng(0)

    def decide(heads):
        return _decide(fpn.size, system, branch, heads)

    functions = [
        decide
        if mode == "eager"
        else tf.function(decide, jit_compile=mode == "xla", autograph=False)
        for mode in modes
    ]
    kept = 0
    for _ in range(count):
        heads = tf.nest.map_structure(
            tf.constant, _draw_heads(fpn.size, branch, rng)
        )
        results = [function(heads) for function in functions]
        kept += results[0]["segment_is_valid"].numpy()[:, :NUM_DETECTIONS].sum()
        for other in results[1:]:
            for name, value in results[0].items():
                if name == "segment_score":
                    # Those of things are equal, those of stuff are means.
                    np.testing.assert_array_equal(
                        value[:, :NUM_DETECTIONS],
                        other[name][:, :NUM_DETECTIONS],
                    )
                    np.testing.assert_allclose(value, other[name], rtol=1e-5)
                else:
                    np.testing.assert_array_equal(value, other[name], name)
    assert kept > 2 * count


@pytest.mark.slow
def test_the_whole_inference_is_the_same_in_every_mode(fpn, built_fpn):
    system, model = built_fpn
    images, _, _ = fpn.make_batch(system, [2, 3])

    def predict(images):
        prediction = system.postprocess(system.infer(model, images), fpn.size)
        return prediction.as_dict()

    expected = predict(images)
    for is_compiled in (False, True):
        function = tf.function(
            predict, jit_compile=is_compiled, autograph=False
        )
        for name, value in function(images).items():
            equal = np.mean(value.numpy() == expected[name].numpy())
            if name in ("panoptic", "semantic"):
                assert equal > 0.999, name
            assert value.shape == expected[name].shape


@pytest.mark.parametrize(
    "mode", ["graph", pytest.param("xla", marks=pytest.mark.slow)]
)
def test_a_training_step_equals_eager_mode(fpn, mode, compute_total):
    def run(mode):
        system, model = fpn.build()
        images, targets, _ = fpn.make_batch(system, [0, 1])
        optimizer = keras.optimizers.SGD(0.01)
        optimizer.build(model.trainable_variables)

        def step():
            with tf.GradientTape() as tape:
                total, _ = compute_total(system, model, images, targets)
            variables = model.trainable_variables
            gradients = tape.gradient(total, [v.value for v in variables])
            optimizer.apply(gradients, variables)
            return total

        if mode != "eager":
            step = tf.function(step, jit_compile=mode == "xla", autograph=False)
        return [float(step()) for _ in range(2)]

    expected = run("eager")
    assert expected[1] < expected[0] * 1.5
    np.testing.assert_allclose(run(mode), expected, rtol=2e-3)


def _lower(function, *arguments):
    """Gives StableHLO: with the kernels for TPUs where they are installed."""
    platform = "TPU" if importlib.util.find_spec("libtpu") else "CPU"

    @tf.function(jit_compile=True, autograph=False)
    def call(*flat):
        return function(*tf.nest.pack_sequence_as(arguments, flat))

    flat = tf.nest.flatten(arguments)
    specs = [tf.TensorSpec(x.shape, x.dtype) for x in flat]
    lower = call.experimental_get_compiler_ir(*specs)
    return lower(stage="stablehlo", platform_name=platform)


def _values(variables):
    return [tf.convert_to_tensor(v) for v in variables]


@pytest.mark.slow
def test_the_whole_inference_lowers_to_static_shapes(fpn, built_fpn):
    system, model = built_fpn

    def predict(weights, image):
        mapping = zip(model.variables, weights, strict=True)
        with keras.StatelessScope(state_mapping=list(mapping)):
            outputs = system.infer(model, image)
        return system.postprocess(outputs, fpn.size).as_dict()

    text = _lower(
        predict, _values(model.variables), tf.zeros([1, *fpn.size, 3])
    )
    assert f"{fpn.size[0]}x{fpn.size[1]}xi32" in text
    assert "tensor<?" not in text
    assert "x?x" not in text


@pytest.mark.slow
def test_the_training_step_lowers_to_static_shapes(fpn, built_fpn):
    system, model = built_fpn
    images, targets, _ = fpn.make_batch(system, [0, 1])
    trained, others = model.trainable_variables, model.non_trainable_variables

    def step(weights, statistics, images, targets):
        mapping = [
            *zip(trained, weights, strict=True),
            *zip(others, statistics, strict=True),
        ]
        with tf.GradientTape() as tape:
            tape.watch(weights)
            with keras.StatelessScope(state_mapping=mapping):
                outputs = system.infer_for_training(model, images, targets)
            losses = system.compute_losses(outputs, targets)
            total = tf.add_n([tf.reduce_mean(x) for x in losses.values()])
        gradients = tape.gradient(total, weights)
        return [
            w - 0.01 * g for w, g in zip(weights, gradients, strict=True)
        ], total

    text = _lower(
        step,
        _values(trained),
        _values(others),
        tf.cast(images, tf.float32),
        targets,
    )
    assert "tensor<?" not in text
    assert "x?x" not in text
