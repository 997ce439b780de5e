# SPDX-License-Identifier: Apache-2.0
"""The losses and their gradients equal deeplab2's."""

import numpy as np
import tensorflow as tf

from deeplab2_like.losses import pixelwise

FAMILY = "losses"

_ERRORS = {
    "mse": pixelwise.compute_squared_error,
    "l1": pixelwise.compute_absolute_error,
}


def _target(case, name, dtype=tf.float32):
    return tf.constant(case.input(f"gt/{name}").astype(dtype.name))


def _compute_losses(case, predictions, targets):
    options = case.meta["options"]
    losses = {}
    losses["semantic_loss"] = options["semantic_loss"]["weight"] * (
        pixelwise.compute_semantic_loss(
            predictions["semantic_logits"],
            targets["semantic"],
            targets["semantic_weight"],
            ignore_label=case.meta["ignore_label"],
            top_k_percent=options["semantic_loss"]["top_k_percent"],
        )
    )
    for name, prediction, target in (
        ("center_loss", "center_heatmap", "center"),
        ("regression_loss", "offset_map", "offset"),
    ):
        if name not in options:
            continue
        value = predictions[prediction]
        if prediction == "center_heatmap":
            value = value[..., tf.newaxis]
        losses[name] = options[name]["weight"] * (
            pixelwise.compute_regression_loss(
                value,
                targets[target],
                targets[f"{target}_weight"],
                pixel_error=_ERRORS[options[name]["name"]],
                top_k_percent=options[name]["top_k_percent"],
            )
        )
    losses["total_loss"] = tf.add_n(list(losses.values()))
    return losses


def test_losses_and_gradients_equal_the_reference(reference_case):
    with reference_case() as case:
        predictions = {
            name.split("/")[1]: tf.constant(case.input(name).astype("f4"))
            for name in case.names()
            if name.startswith("pred/")
        }
        targets = {
            "semantic": _target(case, "semantic_gt", tf.int32),
            "semantic_weight": _target(case, "semantic_loss_weight"),
            "center": _target(case, "instance_center_gt")[..., tf.newaxis],
            "center_weight": _target(case, "center_loss_weight"),
            "offset": _target(case, "instance_regression_gt"),
            "offset_weight": _target(case, "regression_loss_weight"),
        }
        with tf.GradientTape() as tape:
            tape.watch(predictions)
            losses = _compute_losses(case, predictions, targets)
            mean = tf.reduce_mean(losses["total_loss"])
        for name, loss in losses.items():
            case.compare(f"loss/{name}", loss, rtol=1e-5, atol=1e-9)
        for name, gradient in tape.gradient(mean, predictions).items():
            if f"grad/{name}" in case:
                _compare_gradient(case, name, gradient.numpy())


def _compare_gradient(case, name, gradient):
    """Compares a gradient's sum, norms, number of non-zeros and a sample."""
    flat = gradient.astype(np.float64).reshape(-1)
    l1_norm = np.abs(flat).sum()
    actual = [flat.sum(), l1_norm, np.sqrt(np.square(flat).sum())]
    expected = case.input(f"grad/{name}")
    # A sum of numbers that cancel is as exact as the sum of their sizes.
    case.compare_value(
        f"grad/{name}", actual, expected[:3], rtol=1e-5, atol=1e-6 * l1_norm
    )
    ties = 4 * gradient.shape[-1] if name == "semantic_logits" else 0
    case.compare_value(
        f"grad/{name}: number of non-zeros",
        np.count_nonzero(flat),
        expected[3],
        atol=ties + 1e-9,
    )
    step = case.meta["grad_sample_step"][name]
    case.compare(
        f"grad_sample/{name}",
        flat[::step],
        rtol=1e-5,
        atol=1e-6 * np.abs(flat).max(),
    )
