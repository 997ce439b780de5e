# SPDX-License-Identifier: Apache-2.0
"""Panoptic FPN as a system: from a config to losses, segments and exports."""

from unittest import mock

import keras
import numpy as np
import pytest
import tensorflow as tf

from deeplab2_like import config as config_lib
from deeplab2_like.data import descriptor
from deeplab2_like.detection import anchors as anchors_lib
from deeplab2_like.detection import proposals
from deeplab2_like.meta_architectures import build
from deeplab2_like.metrics import panoptic_quality
from deeplab2_like.model.layers import roi_align
from deeplab2_like.testing import scenes

SIZE = (65, 129)
NUM_STUFF = 5
_CONFIG = """
experiment_name: "tiny_fpn"
model_options {
  backbone {
    name: "mobilenet_v3_small"
    use_squeeze_and_excite: true
    output_stride: 32
  }
  panoptic_fpn {
    pyramid_channels: 32
    semantic { channels: 32 }
    instance {
      channels: 32
      box_head_units: 64
      mask_head_convolutions: 1
      anchor_size: [8, 16, 32, 64, 96]
      max_instances: 20
      anchor_samples: 64
      region_samples: 32
      train_level_proposals: 60
      level_proposals: 60
      num_proposals: 40
      max_detections: 20
    }
  }
}
trainer_options {
  loss_options {
    semantic_loss { name: "softmax_cross_entropy" weight: 0.5 }
    proposal_loss { name: "sigmoid_cross_entropy" }
    proposal_box_loss { name: "l1" }
    class_loss { name: "softmax_cross_entropy" }
    box_loss { name: "l1" }
    mask_loss { name: "sigmoid_cross_entropy" }
  }
}
train_dataset_options { dataset: "scenes" crop_size: [65, 129] }
eval_dataset_options { dataset: "scenes" crop_size: [65, 129] }
evaluator_options { stuff_area_limit: 20 }
"""
_INSTANCE_LOSSES = [
    "proposal_loss",
    "proposal_box_loss",
    "class_loss",
    "box_loss",
    "mask_loss",
]


def _build(change=None):
    config = config_lib.parse(_CONFIG)
    options = config.options
    if change is not None:
        change(options)
    keras.utils.set_random_seed(1)
    system = build.build_system(options, descriptor.load("scenes"))
    return system, system.build_model(synchronize_batch_norm=False)


def _make_batch(system, seeds, size=SIZE):
    made = [scenes.make_scene(seed, size) for seed in seeds]
    make_targets = system.target_maker(is_training=True)
    targets = [make_targets(tf.constant(x.panoptic)) for x in made]
    return (
        tf.constant(np.stack([x.image for x in made])),
        tf.nest.map_structure(lambda *x: tf.stack(x), *targets),
        np.stack([x.panoptic for x in made]),
    )


@pytest.fixture(scope="module")
def built():
    return _build()


def test_the_config_is_legal():
    config_lib.parse(_CONFIG)


def test_losses_are_finite_and_those_of_the_config(built):
    system, model = built
    images, targets, _ = _make_batch(system, [0, 1])
    outputs = system.infer_for_training(model, images, targets)
    losses = system.compute_losses(outputs, targets)
    assert set(losses) == {"semantic_loss", *_INSTANCE_LOSSES}
    for value in losses.values():
        assert value.shape == (2,)
        assert np.isfinite(value).all()
    outputs = system.infer(model, images, targets=targets)
    assert set(system.compute_losses(outputs, targets)) == set(losses)


@pytest.mark.parametrize("label", ["stuff", "void", "crowd"])
def test_images_without_instances_train_and_evaluate(built, label):
    system, model = built
    images, _, panoptic = _make_batch(system, [0, 1])
    data = system.descriptor
    value = {
        "stuff": data.stuff_ids[0] * data.label_divisor,
        "void": data.void_id,
        "crowd": data.thing_ids[0] * data.label_divisor,
    }[label]
    make_targets = system.target_maker(is_training=True)
    targets = tf.nest.map_structure(
        lambda x: tf.stack([x, x]),
        make_targets(tf.fill(panoptic.shape[1:], value)),
    )
    variables = model.trainable_variables
    with tf.GradientTape() as tape:
        outputs = system.infer_for_training(model, images, targets)
        losses = system.compute_losses(outputs, targets)
        total = tf.add_n([tf.reduce_mean(x) for x in losses.values()])
    gradients = tape.gradient(total, [v.value for v in variables])
    assert all(np.isfinite(g).all() for g in gradients if g is not None)
    outputs = system.infer(model, images, targets=targets)
    assert np.isfinite(
        sum(system.compute_losses(outputs, targets).values())
    ).all()
    system.postprocess(outputs, SIZE)


def _draw_heads(branch, rng, batch=2):
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
        size = [-(-n // stride) for n in SIZE]
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


def _decide(system, branch, heads):
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
        outputs = branch._infer(None, levels, SIZE)
    outputs["semantic_logits"] = heads["semantic_logits"]
    valid_size = tf.constant([SIZE, (50, 100)])
    prediction = system.postprocess(outputs, SIZE, valid_size)
    return {**seen, **outputs, **prediction.as_dict()}


def test_what_follows_from_the_heads_is_equal_in_every_mode(built):
    system, model = built
    branch = model.instance_branch
    rng = np.random.default_rng(0)
    modes = [
        tf.function(
            lambda heads: _decide(system, branch, heads),
            jit_compile=is_compiled,
            autograph=False,
        )
        for is_compiled in (False, True)
    ]
    kept = 0
    for number in range(10):
        heads = tf.nest.map_structure(tf.constant, _draw_heads(branch, rng))
        results = [compute(heads) for compute in modes]
        if number == 0:
            results.append(_decide(system, branch, heads))
        kept += results[0]["segment_is_valid"].numpy()[:, :20].sum()
        for other in results[1:]:
            for name, value in results[0].items():
                if name == "segment_score":
                    np.testing.assert_allclose(value, other[name], rtol=1e-5)
                else:
                    np.testing.assert_array_equal(value, other[name], name)
    assert kept > 20


def test_the_whole_inference_is_the_same_in_every_mode(built):
    system, model = built
    images, _, _ = _make_batch(system, [2, 3])

    def predict(images):
        prediction = system.postprocess(system.infer(model, images), SIZE)
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


def test_a_training_step_compiles_and_equals_eager_mode():
    def run(mode):
        system, model = _build()
        images, targets, _ = _make_batch(system, [0, 1])
        optimizer = keras.optimizers.SGD(0.01)
        optimizer.build(model.trainable_variables)

        def step():
            with tf.GradientTape() as tape:
                outputs = system.infer_for_training(model, images, targets)
                losses = system.compute_losses(outputs, targets)
                total = tf.add_n([tf.reduce_mean(x) for x in losses.values()])
            variables = model.trainable_variables
            gradients = tape.gradient(total, [v.value for v in variables])
            optimizer.apply(gradients, variables)
            return total

        if mode != "eager":
            step = tf.function(step, jit_compile=mode == "xla", autograph=False)
        return [float(step()) for _ in range(2)]

    expected = run("eager")
    assert expected[1] < expected[0] * 1.5
    for mode in ("graph", "xla"):
        np.testing.assert_allclose(run(mode), expected, rtol=2e-3)


def test_groups_are_disjoint_and_complete(built):
    system, model = built
    groups = system.variable_groups(model)
    paths = [v.path for group in groups.values() for v in group]
    assert sorted(paths) == sorted(v.path for v in model.variables)
    assert {"backbone", "semantic_last_layer", "instance_last_layer"} <= set(
        groups
    )
    decayed = {v.path for v in system.decayed_variables(model)}
    assert any("instance_branch" in path for path in decayed)
    assert all(path.endswith("kernel") for path in decayed)


def test_mask_rcnn_alone_finds_instances_only():
    def change(options):
        system = options.model_options.panoptic_fpn
        system.semantic.enable = False
        options.trainer_options.loss_options.ClearField("semantic_loss")

    system, model = _build(change)
    images, targets, _ = _make_batch(system, [0, 1])
    assert "semantic" not in targets
    outputs = system.infer(model, images, targets=targets)
    assert set(system.compute_losses(outputs, targets)) == set(_INSTANCE_LOSSES)
    prediction = system.postprocess(outputs, SIZE)
    assert prediction.panoptic.shape == (2, *SIZE)
    found = set(np.unique(prediction.semantic))
    assert found <= {*system.descriptor.thing_ids, 255}


def test_semantic_fpn_alone_has_all_classes():
    def change(options):
        system = options.model_options.panoptic_fpn
        system.instance.enable = False
        losses = options.trainer_options.loss_options
        for name in _INSTANCE_LOSSES:
            losses.ClearField(name)

    system, model = _build(change)
    assert not system.has_instances
    images, targets, _ = _make_batch(system, [0, 1])
    outputs = system.infer_for_training(model, images, targets)
    number = system.descriptor.num_classes
    assert outputs["semantic_logits"].shape[-1] == number
    assert set(system.compute_losses(outputs, targets)) == {"semantic_loss"}
    assert system.postprocess(outputs, SIZE).panoptic is None


def test_things_may_have_channels_of_their_own():
    def change(options):
        options.model_options.panoptic_fpn.semantic.separate_things = True

    system, model = _build(change)
    images, targets, panoptic = _make_batch(system, [0, 1])
    classes = panoptic // system.descriptor.label_divisor
    expected = np.where(classes == 255, -1, classes)
    np.testing.assert_array_equal(targets["semantic"], expected)
    outputs = system.infer(model, images)
    number = system.descriptor.num_classes
    assert outputs["semantic_logits"].shape[-1] == number
    system.postprocess(outputs, SIZE)


def test_learned_weights_and_the_soft_quality_come_by_config():
    def change(options):
        losses = options.trainer_options.loss_options
        losses.learn_weights = True
        losses.soft_panoptic_quality_loss.name = "soft_panoptic_quality"
        losses.soft_panoptic_quality_loss.weight = 0.25

    system, model = _build(change)
    images, targets, _ = _make_batch(system, [0, 1])
    with tf.GradientTape() as tape:
        outputs = system.infer_for_training(model, images, targets)
        losses = system.compute_losses(outputs, targets)
        total = tf.add_n([tf.reduce_mean(x) for x in losses.values()])
    assert "soft_panoptic_quality_loss" in losses
    etas = model.log_variances.values
    gradient = tape.gradient(total, etas.value)
    assert gradient.shape == (6,)
    assert np.isfinite(gradient).all()
    assert np.abs(gradient).max() > 0


@pytest.mark.slow
def test_a_few_scenes_are_learned_by_heart():
    system, model = _build()
    size = (129, 257)
    images, targets, panoptic = _make_batch(system, range(100, 104), size)
    variables = model.trainable_variables
    optimizer = keras.optimizers.Adam(2e-3)
    optimizer.build(variables)
    for layer in model._flatten_layers():
        if hasattr(layer, "momentum"):
            layer.momentum = 0.9

    @tf.function(autograph=False)
    def step():
        with tf.GradientTape() as tape:
            outputs = system.infer_for_training(model, images, targets)
            losses = system.compute_losses(outputs, targets)
            total = tf.add_n([tf.reduce_mean(x) for x in losses.values()])
        gradients = tape.gradient(total, [v.value for v in variables])
        gradients, _ = tf.clip_by_global_norm(gradients, 5.0)
        optimizer.apply(gradients, variables)
        return losses

    for number in range(600):
        if number == 450:
            optimizer.learning_rate = 3e-4
        step()
    prediction = system.postprocess(system.infer(model, images), size)
    quality = panoptic_quality.PanopticQuality.from_descriptor(
        system.descriptor
    )
    for true, predicted in zip(panoptic, prediction.panoptic, strict=True):
        quality.update(true, predicted.numpy())
    assert quality.result().scalars()["PQ"] > 0.8
