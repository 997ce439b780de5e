# SPDX-License-Identifier: Apache-2.0
"""EfficientPS as a system: from a config to losses and segments."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from deeplab2_like import config as config_lib
from deeplab2_like.data import descriptor
from deeplab2_like.meta_architectures import build
from deeplab2_like.metrics import panoptic_quality
from deeplab2_like.testing import scenes

SIZE = (65, 129)
_BRANCHES = {
    "mask_rcnn": """
    mask_rcnn {
      channels: 32
      box_head_units: 64
      mask_head_convolutions: 1
      anchor_size: [8, 16, 32, 64]
      max_instances: 20
      anchor_samples: 64
      region_samples: 32
      train_level_proposals: 60
      level_proposals: 60
      num_proposals: 40
      max_detections: 20
    }
""",
    "solov2": """
    solov2 {
      grid: [16, 12, 8, 6, 4]
      smallest_size: [1, 6, 12, 24, 48]
      largest_size: [12, 24, 48, 96, 512]
      channels: 32
      convolutions: 1
      mask_channels: 32
      mask_branch_channels: 32
      max_instances: 20
      max_masks: 48
      candidates: 40
      max_detections: 20
    }
""",
}
_LOSSES = {
    "mask_rcnn": {
        "proposal_loss": "sigmoid_cross_entropy",
        "proposal_box_loss": "l1",
        "class_loss": "softmax_cross_entropy",
        "box_loss": "l1",
        "mask_loss": "sigmoid_cross_entropy",
    },
    "solov2": {"cell_loss": "sigmoid_focal", "mask_loss": "dice"},
}


def _write_config(branch, semantic="channels: 32"):
    losses = dict(_LOSSES[branch])
    if semantic != "enable: false":
        losses["semantic_loss"] = "softmax_cross_entropy"
    text = "\n".join(f'{k} {{ name: "{v}" }}' for k, v in losses.items())
    return f"""
experiment_name: "tiny"
model_options {{
  backbone {{
    name: "mobilenet_v3_small"
    use_squeeze_and_excite: true
    output_stride: 32
  }}
  efficientps {{
    pyramid_channels: 32
    semantic {{ {semantic} }}
    {_BRANCHES[branch]}
  }}
}}
trainer_options {{ loss_options {{ {text} }} }}
train_dataset_options {{ dataset: "scenes" crop_size: [65, 129] }}
eval_dataset_options {{ dataset: "scenes" crop_size: [65, 129] }}
evaluator_options {{ stuff_area_limit: 20 }}
"""


def _build(branch, change=None, **options):
    parsed = config_lib.parse(_write_config(branch, **options)).options
    if change is not None:
        change(parsed)
    keras.utils.set_random_seed(1)
    system = build.build_system(parsed, descriptor.load("scenes"))
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


@pytest.fixture(scope="module", params=_BRANCHES)
def branch(request):
    return request.param


@pytest.fixture(scope="module")
def built(branch):
    return _build(branch)


def test_losses_are_finite_and_those_of_the_config(built, branch):
    system, model = built
    images, targets, _ = _make_batch(system, [0, 1])
    outputs = system.infer_for_training(model, images, targets)
    losses = system.compute_losses(outputs, targets)
    assert set(losses) == {"semantic_loss", *_LOSSES[branch]}
    for value in losses.values():
        assert value.shape == (2,)
        assert np.isfinite(value).all()
    outputs = system.infer(model, images, targets=targets)
    assert set(system.compute_losses(outputs, targets)) == set(losses)


def test_targets_have_static_shapes_in_a_pipeline(built):
    system, _ = built
    data = tf.data.Dataset.from_tensors(np.zeros(SIZE, np.int32))
    made = data.map(system.target_maker(is_training=True)).element_spec
    for name, spec in made.items():
        rank = 2 if name in ("semantic", "instance") else None
        if rank is None:
            assert spec.shape.is_fully_defined(), name


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
    outputs = system.infer(model, images)
    prediction = system.postprocess(outputs, SIZE)
    assert prediction.panoptic.shape == (2, *SIZE)


def test_groups_are_disjoint_and_complete(built):
    system, model = built
    groups = system.variable_groups(model)
    paths = [v.path for group in groups.values() for v in group]
    assert sorted(paths) == sorted(v.path for v in model.variables)
    assert {"backbone", "semantic_last_layer", "instance_last_layer"} <= set(
        groups
    )
    decayed = {v.path for v in system.decayed_variables(model)}
    assert all(path.endswith("kernel") for path in decayed)


def test_objects_alone_need_no_classes_of_pixels(branch):
    system, model = _build(branch, semantic="enable: false")
    images, targets, _ = _make_batch(system, [0, 1])
    assert "semantic" not in targets
    outputs = system.infer_for_training(model, images, targets)
    assert set(system.compute_losses(outputs, targets)) == set(_LOSSES[branch])
    prediction = system.postprocess(system.infer(model, images), SIZE)
    found = set(np.unique(prediction.semantic))
    assert found <= {*system.descriptor.thing_ids, 255}


def test_learned_weights_and_hard_pixels_come_by_config(branch):
    def change(options):
        losses = options.trainer_options.loss_options
        losses.learn_weights = True
        losses.semantic_loss.top_k_percent = 0.25

    system, model = _build(branch, change)
    images, targets, _ = _make_batch(system, [0, 1])
    with tf.GradientTape() as tape:
        outputs = system.infer_for_training(model, images, targets)
        losses = system.compute_losses(outputs, targets)
        total = tf.add_n([tf.reduce_mean(x) for x in losses.values()])
    gradient = tape.gradient(total, model.log_variances.values.value)
    assert gradient.shape == (len(_LOSSES[branch]) + 1,)
    assert np.isfinite(gradient).all()


@pytest.mark.slow
def test_a_few_scenes_are_learned_by_heart(branch):
    system, model = _build(branch)
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
    assert quality.result().scalars()["PQ"] > 0.6
