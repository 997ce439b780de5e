# SPDX-License-Identifier: Apache-2.0
"""Frozen parts keep every value in a step of training; others move."""

import numpy as np
import pytest
import tensorflow as tf

from deeplab2_like import config as config_lib
from deeplab2_like.checkpoints import files as checkpoint_files
from deeplab2_like.labels import descriptor
from deeplab2_like.meta_architectures import build as build_system
from deeplab2_like.scenes import scene
from deeplab2_like.trainer import build, run, step_options, training

_OPTIONS = """\
trainer_options {
  loss_options {
    semantic_loss { name: "softmax_cross_entropy" }
    center_loss { name: "mse" weight: 200 }
    regression_loss { name: "l1" weight: 0.1 }
  }
  solver_options {
    base_learning_rate: 0.01
    warmup_steps: 0
    weight_decay: 0.1
    backbone_learning_rate_multiplier: 0.5
  }
}
train_dataset_options { dataset: "scenes" crop_size: [65, 129] sigma: 4 }
eval_dataset_options { dataset: "scenes" crop_size: [65, 129] }
"""
_STATISTICS = ("moving_mean", "moving_variance")


@pytest.fixture
def eager():
    """Runs functions without tracing them, which one step is not worth."""
    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


def _make_trainer(text, *overrides):
    """Makes a trainer, and its model."""
    options = config_lib.parse(text, overrides).options
    system = build_system.build_system(options, descriptor.load("scenes"))
    model = system.build_model(synchronize_batch_norm=False)
    solver = options.trainer_options.solver_options
    rate = build.build_learning_rate(solver)
    groups = build.build_parameter_groups(solver, rate, system, model)
    example = scene.make_scene(0, (65, 129))
    targets = system.target_maker(is_training=True)(
        tf.constant(example.panoptic, tf.int32)
    )
    batch = {"image": example.image, "targets": targets, "name": "a"}
    dataset = tf.data.Dataset.from_tensors(batch).batch(1).repeat()
    trainer = training.Trainer(
        system,
        model,
        dataset,
        groups,
        rate,
        step_options.StepOptions(
            weight_decay=solver.weight_decay, average_decay=0.5
        ),
    )
    return trainer, model


def _changed(before, model):
    """Returns the paths of the variables that have other values."""
    return {
        variable.path
        for variable, value in zip(model.variables, before, strict=True)
        if variable.numpy().tobytes() != value.tobytes()
    }


@pytest.mark.parametrize(
    ("fields", "frozen"),
    [
        ("", ()),
        ("freeze_batch_norm: true", (*_STATISTICS, "gamma", "beta")),
        ('freeze_backbone: true graph: "torchvision"', None),
    ],
)
@pytest.mark.usefixtures("eager")
def test_frozen_variables_keep_their_values(write_config, fields, frozen):
    text = write_config("frozen", 32, [1, 2, 3], _OPTIONS)
    override = f"model_options {{ backbone {{ {fields} }} }}"
    trainer, model = _make_trainer(text, override)
    before = [variable.numpy() for variable in model.variables]
    trainer.train(tf.constant(1))
    changed = _changed(before, model)
    inside = {v.path for v in model.variables if "/backbone/" in v.path}
    moved = {v.path for v in model.variables if v.path not in inside}
    moved = {path for path in moved if "seed_generator" not in path}
    assert len(changed - inside) > 0.9 * len(moved)
    if frozen is None:
        assert not changed & inside
    else:
        kept = {p for p in inside if p.rpartition("/")[2] in frozen}
        assert not changed & kept
        # A gradient may be zero, where a channel is never active.
        assert len(changed & inside) > 0.9 * len(inside - kept)
    for variable, value in zip(model.variables, before, strict=True):
        if variable.path in inside - changed:
            average = trainer.average.variables[variable.path]
            np.testing.assert_array_equal(average, value)


@pytest.mark.slow
def test_a_run_keeps_what_it_froze(config_file, tiny_run, tmp_path):
    """Through the whole program, in graphs."""
    override = (
        f'model_options {{ initial_checkpoint: "{tiny_run}" '
        "backbone { freeze_backbone: true } }"
    )
    loaded = config_lib.load(str(config_file), [override])
    run.run_experiment(loaded, str(tmp_path / "run"), "train")
    before, after = (
        checkpoint_files.read_checkpoint(
            checkpoint_files.find_checkpoint(str(folder))
        )
        for folder in (tiny_run, tmp_path / "run")
    )
    names = [
        name
        for name in before
        if name.startswith("variables/") and "seed_generator" not in name
    ]
    equal = {n for n in names if np.array_equal(before[n], after[n])}
    inside = {n for n in names if "/backbone/" in n}
    assert inside <= equal
    assert len(equal - inside) < 0.1 * len(set(names) - inside)
