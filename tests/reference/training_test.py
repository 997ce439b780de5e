# SPDX-License-Identifier: Apache-2.0
"""One training step of whole networks: losses, gradients, moving statistics.

The batch norm is the plain one, whose moving variance takes the unbiased
variance of the batch, as in the reference.
"""

import gc

import numpy as np
import pytest
import tensorflow as tf

from deeplab2_like.checkpoints import deeplab2_keys
from deeplab2_like.labels import descriptor
from deeplab2_like.meta_architectures import panoptic_deeplab
from deeplab2_like.model.outputs import resize_outputs
from deeplab2_like.testing import reference_networks

FAMILY = "training"
_LOSS_NAMES = {"regression_loss": "offset_loss"}


def _make_system(meta):
    options = reference_networks.make_options(meta["config"])
    data = options.train_dataset_options
    data.crop_size[:] = meta["crop"]
    data.small_instance_threshold = meta["small_instance"]["threshold"]
    data.small_instance_weight = meta["small_instance"]["weight"]
    data.increase_small_instance_weights = True
    solver = options.trainer_options.solver_options
    solver.batchnorm_momentum = meta["batchnorm"]["momentum"]
    solver.batchnorm_epsilon = meta["batchnorm"]["epsilon"]
    for name, expected in meta["losses"].items():
        loss = getattr(options.trainer_options.loss_options, name)
        assert loss.weight == pytest.approx(expected["weight"])
        assert loss.top_k_percent == pytest.approx(expected["top_k_percent"])
    assert options.model_options.backbone.drop_path_keep_prob == 1.0
    return panoptic_deeplab.PanopticDeepLab(
        options, descriptor.load(data.dataset)
    )


def _make_targets(system, panoptic_bhw):
    make = system.target_maker(is_training=True)
    single = [make(tf.constant(label)) for label in panoptic_bhw]
    return {name: tf.stack([t[name] for t in single]) for name in single[0]}


def _train(system, model, image, targets):
    """Returns outputs, losses and gradients of one step in training mode."""
    with tf.GradientTape() as tape:
        outputs = model(image, training=True)
        losses = system.compute_losses(outputs, targets)
        total = tf.add_n(list(losses.values()))
        mean = tf.reduce_mean(total)
    variables = model.trainable_variables
    gradients = tape.gradient(mean, [v.value for v in variables])
    losses["total_loss"] = total
    by_path = {
        variable.path: gradient.numpy()
        for variable, gradient in zip(variables, gradients, strict=True)
    }
    return outputs, losses, by_path


def _compare_gradients(case, gradients, paths):
    """Compares L2 norms, and sums as closely as the norms allow."""
    keys = [str(key) for key in case.input("gradient_keys")]
    assert set(keys) == {key for key in paths if paths[key] in gradients}
    expected = case.input("gradient_sum_and_l2")
    least = 1e-3 * expected[:, 1].max()
    actual = np.zeros_like(expected)
    allowed_sums = np.zeros(len(keys))
    for row, key in enumerate(keys):
        gradient = gradients[paths[key]].astype(np.float64)
        norm = np.sqrt(np.square(gradient).sum())
        actual[row] = gradient.sum(), norm
        # A gradient that is wrong by 5 % of its norm n has a sum that is
        # wrong by 5 % of n * sqrt(size) at most.
        allowed_sums[row] = np.sqrt(gradient.size) * max(norm, least)
    small = expected[:, 1] < least
    case.compare_value(
        "gradient_sum_and_l2: L2 norms",
        actual[~small, 1],
        expected[~small, 1],
        rtol=0.05,
    )
    case.compare_value(
        "gradient_sum_and_l2: small L2 norms",
        actual[small, 1],
        expected[small, 1],
        atol=0.05 * least,
    )
    case.compare_value(
        "gradient_sum_and_l2: sums",
        actual[:, 0] / allowed_sums,
        expected[:, 0] / allowed_sums,
        atol=0.05,
    )


def _compare_statistics(case, variables):
    keys = [str(key) for key in case.input("moving_keys")]
    assert set(keys) == {key for key in variables if "/moving_" in key}
    values = [variables[key].numpy().astype(np.float64) for key in keys]
    case.compare(
        "moving_mean_and_std_after",
        [(value.mean(), value.std()) for value in values],
        rtol=1e-5,
        atol=1e-5,
    )


def test_a_training_step_is_that_of_the_reference(reference_case):
    with reference_case() as case:
        system = _make_system(case.meta)
        model = system.build_model(synchronize_batch_norm=False)
        description = reference_networks.load_description(case.meta["name"])
        reference_networks.fill_network(model, description)
        for decoder in (model.semantic_decoder, model.instance_decoder):
            decoder.aspp.dropout.rate = 0.0
        image, panoptic = case.input("image"), case.input("panoptic")
        targets = _make_targets(system, panoptic)
        outputs, losses, gradients = _train(system, model, image, targets)
        for name in ("semantic", "center", "regression", "total"):
            ours = losses[_LOSS_NAMES.get(f"{name}_loss", f"{name}_loss")]
            case.compare(f"loss/{name}_loss", ours, rtol=2e-4)
        resized = resize_outputs(outputs, image.shape[1:3])
        for name, value in resized.items():
            expected = case.input(f"full/{name}")
            largest = np.abs(expected).max()
            case.compare(
                f"full/{name}", value[:, ::8, ::8], atol=2e-3 * largest
            )
        variables = deeplab2_keys.deeplab2_keys(model.variables)
        paths = {key: variable.path for key, variable in variables.items()}
        _compare_gradients(case, gradients, paths)
        _compare_statistics(case, variables)
    del model, gradients
    gc.collect()
