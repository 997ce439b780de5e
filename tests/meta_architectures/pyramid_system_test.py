# SPDX-License-Identifier: Apache-2.0
"""Systems on a pyramid: from a config to losses and segments."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from deeplab2_like import config as config_lib
from deeplab2_like.metrics import panoptic_quality

# Systems whose parts are all in one of the other two are slow.
_WITH_ALL_PARTS = [
    "panoptic_fpn",
    pytest.param("efficientps", marks=pytest.mark.slow),
    "efficientps_solov2",
]


def test_losses_are_finite_and_those_of_the_config(tiny, built, batch):
    system, model = built
    images, targets, _ = batch
    outputs = system.infer_for_training(model, images, targets)
    losses = system.compute_losses(outputs, targets)
    assert set(losses) == {"semantic_loss", *tiny.instance_losses}
    for value in losses.values():
        assert value.shape == (2,)
        assert np.isfinite(value).all()
    outputs = system.infer(model, images, targets=targets)
    assert set(system.compute_losses(outputs, targets)) == set(losses)


def test_targets_have_static_shapes_in_a_pipeline(tiny, built):
    system, _ = built
    data = tf.data.Dataset.from_tensors(np.zeros(tiny.size, np.int32))
    made = data.map(system.target_maker(is_training=True)).element_spec
    for name, spec in made.items():
        if name not in ("semantic", "instance"):
            assert spec.shape.is_fully_defined(), name


@pytest.mark.parametrize(
    ("tiny", "label"),
    [
        ("panoptic_fpn", "crowd"),
        ("efficientps", "void"),
        ("efficientps_solov2", "stuff"),
        *(
            pytest.param(kind, label, marks=pytest.mark.slow)
            for kind, label in (
                ("panoptic_fpn", "stuff"),
                ("panoptic_fpn", "void"),
                ("efficientps", "stuff"),
                ("efficientps", "crowd"),
                ("efficientps_solov2", "void"),
                ("efficientps_solov2", "crowd"),
            )
        ),
    ],
    indirect=["tiny"],
)
def test_images_without_instances_train_and_evaluate(
    tiny, built, batch, label, compute_total
):
    system, model = built
    images, _, panoptic = batch
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
    variables = [v.value for v in model.trainable_variables]
    with tf.GradientTape() as tape:
        total, _ = compute_total(system, model, images, targets)
    gradients = tape.gradient(total, variables)
    assert all(np.isfinite(g).all() for g in gradients if g is not None)
    outputs = system.infer(model, images, targets=targets)
    losses = system.compute_losses(outputs, targets)
    assert np.isfinite(list(losses.values())).all()
    prediction = system.postprocess(outputs, tiny.size)
    assert prediction.panoptic.shape == (2, *tiny.size)


def test_groups_are_disjoint_and_complete(tiny, built):
    system, model = built
    groups = system.variable_groups(model)
    paths = [v.path for group in groups.values() for v in group]
    assert sorted(paths) == sorted(v.path for v in model.variables)
    assert {"backbone", "semantic_last_layer", "instance_last_layer"} <= set(
        groups
    )
    kernels = {
        v.path.partition("/instance_branch/")[2]
        for v in groups["instance_last_layer"]
        if v.path.endswith("kernel")
    }
    assert kernels == (
        {"cells/classes/kernel"}
        if "cell_loss" in tiny.instance_losses
        else {"boxes/classes/kernel", "boxes/codes/kernel", "masks/last/kernel"}
    )
    decayed = {v.path for v in system.decayed_variables(model)}
    assert any("instance_branch" in path for path in decayed)
    assert all(path.endswith("kernel") for path in decayed)


@pytest.mark.slow
@pytest.mark.parametrize("tiny", _WITH_ALL_PARTS, indirect=True)
def test_objects_alone_need_no_classes_of_pixels(tiny):
    system, model = tiny.build(has_semantic=False)
    images, targets, _ = tiny.make_batch(system, [0, 1])
    assert "semantic" not in targets
    outputs = system.infer(model, images, targets=targets)
    losses = system.compute_losses(outputs, targets)
    assert set(losses) == set(tiny.instance_losses)
    prediction = system.postprocess(outputs, tiny.size)
    assert prediction.panoptic.shape == (2, *tiny.size)
    found = set(np.unique(prediction.semantic))
    assert found <= {*system.descriptor.thing_ids, 255}


def _make_outputs(outputs, rng, kind):
    """Makes outputs with many objects, some of them on the thresholds."""

    def draw(name, mean=0.0):
        return rng.normal(mean, 1.5, outputs[name].shape)

    made = {"semantic_logits": draw("semantic_logits")}
    if "cell_logits" in outputs:
        made |= {
            "cell_logits": draw("cell_logits", mean=-1.0),
            "cell_kernels": draw("cell_kernels"),
            "mask_features": draw("mask_features"),
        }
    else:
        number = outputs["box_score"].shape[1]
        corners = np.sort(rng.integers(0, 65, (1, number, 2, 2)), axis=2)
        scores = np.array([0.05, 0.2, 0.3, 0.5, 0.7, 0.9])
        masks = draw("masks", mean=0.5)
        made |= {
            "boxes": corners.reshape(1, number, 4),
            "box_score": rng.choice(scores, (1, number)),
            "masks": np.clip(masks, 0, 1) if kind == "panoptic_fpn" else masks,
        }
    made = {k: tf.constant(v, tf.float32) for k, v in made.items()}
    if "is_box" in outputs:
        made["is_box"] = tf.ones_like(outputs["is_box"])
    return {**outputs, **made}


@pytest.mark.slow
def test_thresholds_as_inputs_give_what_constants_give(
    tiny, built, batch, check_thresholds
):
    system, model = built
    outputs = _make_outputs(
        system.infer(model, batch[0][:1]), np.random.default_rng(0), tiny.kind
    )
    score, overlap, limit = system.tunable_fields()
    check_thresholds(
        config_lib.parse(tiny.write_config()).options,
        outputs,
        tiny.size,
        {
            # 0.3 and 0.7 are no float32 numbers: one rounds up, one down.
            score: (0.3, 0.7, 0.2),
            overlap: (0.3, 0.5, 1 / 3),
            limit: (0, 20, 10_000),
        },
    )


def _learn_weights(options):
    options.trainer_options.loss_options.learn_weights = True


def _learn_weights_and_quality(options):
    _learn_weights(options)
    loss = options.trainer_options.loss_options.soft_panoptic_quality_loss
    loss.name = "soft_panoptic_quality"
    loss.weight = 0.25


def _learn_weights_of_hard_pixels(options):
    _learn_weights(options)
    losses = options.trainer_options.loss_options
    losses.semantic_loss.top_k_percent = 0.25


@pytest.mark.slow
@pytest.mark.parametrize("tiny", _WITH_ALL_PARTS, indirect=True)
def test_learned_weights_and_more_losses_come_by_config(tiny, compute_total):
    is_fpn = tiny.kind == "panoptic_fpn"
    system, model = tiny.build(
        _learn_weights_and_quality if is_fpn else _learn_weights_of_hard_pixels
    )
    images, targets, _ = tiny.make_batch(system, [0, 1])
    with tf.GradientTape() as tape:
        total, losses = compute_total(system, model, images, targets)
    assert ("soft_panoptic_quality_loss" in losses) == is_fpn
    gradient = tape.gradient(total, model.log_variances.values.value)
    assert gradient.shape == (len(tiny.instance_losses) + 1,)
    assert np.isfinite(gradient).all()
    assert np.abs(gradient).max() > 0


@pytest.mark.slow
def test_a_few_scenes_are_learned_by_heart(tiny, compute_total):
    system, model = tiny.build()
    size = (129, 257)
    images, targets, panoptic = tiny.make_batch(system, range(100, 104), size)
    variables = model.trainable_variables
    optimizer = keras.optimizers.Adam(2e-3)
    optimizer.build(variables)
    for layer in model._flatten_layers():
        if hasattr(layer, "momentum"):
            layer.momentum = 0.9

    @tf.function(autograph=False)
    def step():
        with tf.GradientTape() as tape:
            total, _ = compute_total(system, model, images, targets)
        gradients = tape.gradient(total, [v.value for v in variables])
        gradients, _ = tf.clip_by_global_norm(gradients, 5.0)
        optimizer.apply(gradients, variables)

    for number in range(600):
        if number == 450:
            optimizer.learning_rate = 3e-4
        step()
    prediction = system.postprocess(system.infer(model, images), size)
    quality = panoptic_quality.PanopticQuality(system.descriptor)
    for true, predicted in zip(panoptic, prediction.panoptic, strict=True):
        quality.update(true, predicted.numpy())
    assert quality.result().scalars()["PQ"] > tiny.learned_quality
