# SPDX-License-Identifier: Apache-2.0
"""Training steps and whole runs with images without labels."""

import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from deeplab2_like import config, errors
from deeplab2_like.checkpoints import files as checkpoint_files
from deeplab2_like.labels import descriptor as descriptor_lib
from deeplab2_like.meta_architectures import build as system_build
from deeplab2_like.scenes import scene
from deeplab2_like.semi_supervised import consistency
from deeplab2_like.trainer import (
    build,
    consistency_build,
    consistency_training,
    run,
    step_options,
)

_CANVAS = (65, 129)
_LEARNING = (
    "semi_supervised { method: METHOD unlabeled_pattern: 'PATTERN' "
    "consistency { confidence_threshold: 0.1 ramp_up_steps: 2 "
    "feature_dropout_rate: 0.2 } } "
    "trainer_options { deterministic: true solver_options { ema_decay: 0.9 } }"
)


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Returns a folder of scenes without labels."""
    folder = tmp_path_factory.mktemp("photos")
    for seed in range(5):
        size = (65 + seed, 129 - 20 * seed)
        image = scene.make_scene(100 + seed, size).image
        Image.fromarray(image).save(folder / f"{seed}.png")
    return folder


@pytest.fixture
def learning(photos):
    """Returns a function that returns the options as text."""

    def write(method="MEAN_TEACHER", pattern=photos):
        text = _LEARNING.replace("METHOD", method)
        return text.replace("PATTERN", str(pattern))

    return write


def _make_batch(count, seed=0, draws=None):
    rng = np.random.default_rng(seed)
    images = np.stack(
        [scene.make_scene(seed + i, _CANVAS).image for i in range(count)]
    ).astype(np.float32)
    width = consistency_training.NUM_DRAWS
    return {
        "image": tf.constant(images),
        "recolored": tf.constant(images),
        "valid": tf.ones([count, *_CANVAS], tf.bool),
        "name": tf.constant([str(i) for i in range(count)]),
        "draws": tf.constant(
            rng.random([count, width]).astype(np.float32)
            if draws is None
            else draws
        ),
        "seed": tf.constant(np.arange(2 * count).reshape(count, 2), tf.int64),
    }


def _make_trainer(config_file, overrides, **changed):
    loaded = config.load(str(config_file), overrides)
    options = loaded.options
    keras.utils.set_random_seed(1)
    system = system_build.build_system(
        options, descriptor_lib.load_of_run(options)
    )
    model = system.build_model(synchronize_batch_norm=False)
    solver = options.trainer_options.solver_options
    rate = build.build_learning_rate(solver)
    chosen = consistency_build.build_consistency(options, system.descriptor)
    trainer = consistency_training.ConsistencyTrainer(
        system,
        model,
        tf.data.Dataset.range(0),
        build.build_parameter_groups(solver, rate, system, model),
        rate,
        step_options.StepOptions(average_decay=0.9),
        consistency_options=dataclasses.replace(chosen, **changed),
    )
    return trainer, system, model


@pytest.mark.slow
def test_the_teacher_predicts_as_the_averaged_weights_do(config_file, learning):
    trainer, _, model = _make_trainer(config_file, [learning()])
    images = _make_batch(2)["image"]
    before = model(images, training=False)
    for variable in model.variables:
        if "float" in variable.dtype:
            variable.assign(variable + 0.1)
    found = tf.function(trainer._predict_as_teacher)(images)
    own = model(images, training=False)
    for name, expected in before.items():
        np.testing.assert_allclose(
            found[name], expected, rtol=1e-4, atol=1e-4, err_msg=name
        )
        assert np.abs(found[name] - own[name]).max() > 1e-3, name


@pytest.mark.slow
def test_losses_of_images_with_labels_stay_what_they_are(config_file, learning):
    """Frozen batch norms do not see the images without labels."""
    trainer, system, model = _make_trainer(
        config_file, [learning()], feature_dropout_rate=0.0
    )
    for layer in model._flatten_layers():
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.trainable = False
        if hasattr(layer, "rate"):
            layer.rate = 0.0
    make_targets = system.target_maker(is_training=True)
    label = scene.make_scene(0, _CANVAS).panoptic
    targets = {
        name: tf.stack([x, x])
        for name, x in make_targets(tf.constant(label, tf.int32)).items()
    }
    labeled = _make_batch(2)
    batch = {
        "image": labeled["image"],
        "targets": targets,
        "name": labeled["name"],
        "unlabeled": _make_batch(2, seed=5),
    }
    losses, statistics = trainer._compute_losses(batch)
    outputs = system.infer_for_training(model, batch["image"], targets)
    for name, loss_b in system.compute_losses(outputs, targets).items():
        np.testing.assert_allclose(
            losses[name], tf.reduce_mean(loss_b), rtol=1e-4, err_msg=name
        )
    for name in (
        consistency.CLASS_LOSS,
        consistency.CENTER_LOSS,
        consistency.OFFSET_LOSS,
    ):
        assert np.isfinite(losses[name])
    assert 0 <= statistics["consistency/agreement"] <= 1
    assert 0 <= statistics["consistency/confident"] <= 1
    np.testing.assert_allclose(
        statistics["consistency/ramp"], np.exp(-5), rtol=1e-5
    )


def _run(config_file, folder, mode, *overrides):
    loaded = config.load(str(config_file), overrides)
    return run.run_experiment(loaded, str(folder), mode)


def _read_scalars(folder):
    found = {}
    for file in sorted((folder / "train").glob("events*")):
        for event in tf.compat.v1.train.summary_iterator(str(file)):
            for value in event.summary.value:
                found[value.tag] = float(tf.make_ndarray(value.tensor))
    return found


def _read(folder, step):
    return checkpoint_files.read_checkpoint(f"{folder}/ckpt-{step}")


@pytest.mark.slow
@pytest.mark.parametrize("method", ["MEAN_TEACHER", "WEAK_TO_STRONG"])
def test_a_run_that_continues_ends_with_the_same_weights(
    method, config_file, learning, tmp_path
):
    options = learning(method)
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    # A constant rate, as that of a shorter training would fall sooner.
    half = "trainer_options { solver_options { training_number_of_steps: 2 } }"
    flat = "trainer_options { solver_options { poly_learning_power: 0 } }"
    results = _run(config_file, whole, "train_and_eval", options, flat)
    assert 0 <= results["summaries"]["evaluation/iou/IoU"] <= 1
    _run(config_file, parts, "train", options, flat, half)
    _run(config_file, parts, "train", options, flat)
    expected, found = _read(whole, 4), _read(parts, 4)
    assert expected.keys() == found.keys()
    assert any(name.startswith("average/") for name in found)
    for name in expected:
        np.testing.assert_array_equal(expected[name], found[name], name)
    scalars = _read_scalars(whole)
    for name in (
        "losses/train_consistency_class_loss",
        "losses/train_consistency_center_loss",
        "losses/train_consistency_offset_loss",
        "consistency/agreement",
        "consistency/confident",
        "consistency/ramp",
    ):
        assert np.isfinite(scalars[name]), name
    assert scalars["losses/train_consistency_class_loss"] > 0


@pytest.mark.slow
def test_a_semantic_system_learns_in_bfloat16(
    config_file, learning, tmp_path, scene_records
):
    # Records with labels do as images without.
    options = learning("WEAK_TO_STRONG", f"{scene_records}/train-*")
    semantic = (
        "model_options { panoptic_deeplab { instance { enable: false } } } "
        "trainer_options { compute_precision: 'bfloat16' }"
    )
    folder = tmp_path / "run"
    _run(config_file, folder, "train", options, semantic)
    scalars = _read_scalars(folder)
    assert np.isfinite(scalars["losses/train_consistency_class_loss"])
    assert "losses/train_consistency_offset_loss" not in scalars


@pytest.mark.slow
def test_a_compiled_step_learns_from_images_without_labels(
    config_file, learning, tmp_path
):
    compiled = (
        "trainer_options { compile_step: true steps_per_loop: 1 "
        "solver_options { training_number_of_steps: 2 } }"
    )
    folder = tmp_path / "run"
    _run(config_file, folder, "train", learning("WEAK_TO_STRONG"), compiled)
    scalars = _read_scalars(folder)
    assert np.isfinite(scalars["losses/train_consistency_class_loss"])


def test_batches_have_no_texts_of_images_without_labels(config_file, learning):
    loaded = config.load(str(config_file), [learning()])
    labeled = tf.data.Dataset.from_tensors({"name": ["a", "b"]}).repeat()
    data = consistency_build.add_unlabeled(loaded.options, 0)(labeled, None)
    spec = data.element_spec
    assert spec["name"].dtype == tf.string
    assert spec["unlabeled"].keys() == {
        "image",
        "recolored",
        "valid",
        "draws",
        "seed",
    }
    assert all(x.dtype != tf.string for x in spec["unlabeled"].values())


def test_an_image_that_is_evaluated_is_refused(
    config_file, learning, tmp_path, scene_records
):
    options = learning(pattern=f"{scene_records}/val-*")
    with pytest.raises(errors.DataError) as info:
        _run(config_file, tmp_path / "run", "train", options)
    text = str(info.value)
    assert "also in eval_dataset_options.file_pattern" in text
    assert "\n" not in text


def test_a_folder_without_images_is_refused(config_file, learning, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(errors.DataError, match="holds no image"):
        _run(
            config_file,
            tmp_path / "run",
            "train",
            learning(pattern=tmp_path / "empty"),
        )


def test_replicas_get_whole_pairs(config_file, learning):
    loaded = config.load(str(config_file), [learning()])

    class TwoReplicas:
        num_replicas_in_sync = 2

    with pytest.raises(errors.ConfigError, match="exchanged in pairs"):
        consistency_build.check_batch(loaded.options, TwoReplicas())
    options = loaded.options
    options.semi_supervised.consistency.batch_size = 4
    consistency_build.check_batch(options, TwoReplicas())
