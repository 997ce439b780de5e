# SPDX-License-Identifier: Apache-2.0
"""Panoptic-DeepLab as a system: learned weights of its losses."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from deeplab2_like import config as config_lib
from deeplab2_like.labels import descriptor
from deeplab2_like.meta_architectures import build
from deeplab2_like.scenes import scene

SIZE = (65, 129)
_SMALL = (
    "train_dataset_options { crop_size: [65, 129] }",
    "eval_dataset_options { crop_size: [65, 129] }",
)
_LEARNED = "trainer_options { loss_options { learn_weights: true } }"
_LOSSES = ("semantic_loss", "center_loss", "offset_loss")


def _build(*overrides):
    loaded = config_lib.load(
        "scenes/panoptic_deeplab_mobilenet_v3_small_os16",
        (*_SMALL, *overrides),
        environ={},
    )
    keras.utils.set_random_seed(1)
    system = build.build_system(loaded.options, descriptor.load("scenes"))
    return system, system.build_model(synchronize_batch_norm=False)


@pytest.fixture(scope="module")
def learned():
    return _build(_LEARNED)


@pytest.fixture(scope="module")
def batch(learned):
    system, _ = learned
    made = [scene.make_scene(seed, SIZE) for seed in (0, 1)]
    make_targets = system.target_maker(is_training=True)
    targets = [make_targets(tf.constant(x.panoptic)) for x in made]
    return (
        tf.constant(np.stack([x.image for x in made])),
        tf.nest.map_structure(lambda *x: tf.stack(x), *targets),
    )


@pytest.mark.slow
def test_thresholds_as_inputs_give_what_constants_give(check_thresholds):
    rng = np.random.default_rng(0)
    loaded = config_lib.load(
        "scenes/panoptic_deeplab_mobilenet_v3_small_os16", _SMALL, environ={}
    )
    classes = descriptor.load("scenes").num_classes
    size = (9, 17)
    levels, share = (0.0, 0.2, 0.4, 0.6), (0.85, 0.05, 0.05, 0.05)
    outputs = {
        "semantic_logits": rng.normal(size=(1, *size, classes)),
        "center_heatmap": rng.choice(levels, (1, *size, 1), p=share),
        "offset_map": rng.normal(0.0, 3.0, (1, *size, 2)),
    }
    check_thresholds(
        loaded.options,
        {k: tf.constant(v, tf.float32) for k, v in outputs.items()},
        SIZE,
        {
            "evaluator_options.center_score_threshold": (0.1, 0.3, 0.5),
            "evaluator_options.stuff_area_limit": (0, 900, 2000),
        },
    )


def test_plain_losses_become_weighed_ones(learned, batch):
    images, targets = batch
    system, model = learned
    plain, _ = _build()
    etas = model.log_variances.values
    etas.assign([0.5, -1.0, 2.0])
    outputs = system.infer_for_training(model, images, targets)
    weighed = system.compute_losses(outputs, targets)
    outputs = dict(outputs)
    outputs.pop("log_variances")
    losses = plain.compute_losses(outputs, targets)
    etas.assign([0.0, 0.0, 0.0])
    assert set(weighed) == set(losses) == set(_LOSSES)
    for name, eta, factor in zip(
        _LOSSES, (0.5, -1.0, 2.0), (1.0, 0.5, 0.5), strict=True
    ):
        expected = factor * np.exp(-eta) * losses[name] + eta / 2
        np.testing.assert_allclose(weighed[name], expected, rtol=1e-5)


@pytest.mark.slow
def test_weights_are_learned_with_the_model(learned, batch, compute_total):
    images, targets = batch
    system, model = learned
    etas = model.log_variances.values
    variables = model.trainable_variables
    assert any(v is etas for v in variables)
    optimizer = keras.optimizers.SGD(0.01)
    optimizer.build(variables)

    @tf.function(autograph=False)
    def step():
        with tf.GradientTape() as tape:
            total, losses = compute_total(system, model, images, targets)
        gradients = tape.gradient(total, [v.value for v in variables])
        gradients, _ = tf.clip_by_global_norm(gradients, 1.0)
        optimizer.apply(gradients, variables)
        return losses

    found = [step() for _ in range(3)]
    assert all(np.isfinite(x).all() for row in found for x in row.values())
    assert np.all(etas.numpy() != 0.0)
    etas.assign([0.0, 0.0, 0.0])


def test_weights_are_a_group_of_their_own_without_decay(learned):
    system, model = learned
    groups = system.variable_groups(model)
    assert groups["log_variances"] == [model.log_variances.values]
    paths = [v.path for group in groups.values() for v in group]
    assert sorted(paths) == sorted(v.path for v in model.variables)
    decayed = system.decayed_variables(model)
    assert not any(v is model.log_variances.values for v in decayed)


@pytest.mark.slow
def test_evaluation_sees_the_learned_weights_and_prediction_does_not(
    learned, batch
):
    images, targets = batch
    system, model = learned
    outputs = system.infer(model, images, targets=targets)
    assert set(system.compute_losses(outputs, targets)) == set(_LOSSES)
    outputs = system.infer(model, images)
    assert "log_variances" not in outputs
    prediction = system.postprocess(outputs, SIZE)
    assert prediction.panoptic.shape == (2, *SIZE)


def test_weights_stay_fixed_unless_the_config_says_so():
    _, model = _build()
    assert getattr(model, "log_variances", None) is None
