# SPDX-License-Identifier: Apache-2.0
"""The parts of EfficientPS equal the published code."""

import re

import numpy as np
import pytest
import tensorflow as tf

from deeplab2_like.losses import cross_entropy
from deeplab2_like.model.context_branch import ContextBranch
from deeplab2_like.model.feature_pyramid import ENDPOINTS, LEVELS
from deeplab2_like.model.layers.upsample import upsample_bilinear
from deeplab2_like.model.two_way_pyramid import TwoWayPyramid

FAMILY = "efficientps"
IGNORE = 255
BATCH_NORM = {"epsilon": 1e-5}
# Part of a variable's path -> of a weight's name.
NAMES = {
    "depthwise/depthwise_conv": "depthwise_conv.conv",
    "depthwise/bn": "depthwise_conv.norm",
    "pointwise/conv": "pointwise_conv.conv",
    "pointwise/bn": "pointwise_conv.norm",
    "bn": "norm",
    "kernel": "weight",
    "gamma": "weight",
    "beta": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
}


def _in_mode(function, mode):
    if mode == "eager":
        return function
    return tf.function(function, jit_compile=mode == "xla", autograph=False)


@pytest.mark.parametrize("mode", ["eager", "graph", "xla"])
def test_results_equal_the_reference(reference_case, mode):
    with reference_case() as case:
        if "c_0" in case:
            _compare_pyramid(case, mode)
        else:
            _compare_semantic_branch(case, mode)


def _compare_pyramid(case, mode):
    inputs = {
        name: tf.constant(np.moveaxis(case.input(f"c_{i}"), 1, -1))
        for i, name in enumerate(ENDPOINTS)
    }
    filters = case.input("w:fpn_convs.0.conv.weight").shape[0]
    layer = TwoWayPyramid(
        filters, conv_type="standard_conv", batch_norm=BATCH_NORM
    )
    layer.build({name: x.shape for name, x in inputs.items()})
    parts = {}
    for index, level in enumerate(LEVELS):
        parts[f"down_{level}"] = f"lateral_convs_top.{index}"
        parts[f"up_{level}"] = f"lateral_convs_bottom.{3 - index}"
        parts[f"output_{level}"] = f"fpn_convs.{index}"
    _assign(case, layer, parts)
    levels = _in_mode(layer, mode)(inputs)
    for index, level in enumerate(LEVELS):
        actual = np.moveaxis(levels[level].numpy(), -1, 1)
        _compare(case, f"p_{index}", actual)


def _compare_semantic_branch(case, mode):
    inputs = {
        level: tf.constant(np.moveaxis(case.input(f"fpn_{i}"), 1, -1))
        for i, level in enumerate(LEVELS)
    }
    num_channels, filters = case.input("w:conv_logits.weight").shape[:2]
    layer = ContextBranch(num_channels, filters // 4, batch_norm=BATCH_NORM)
    layer.build({name: x.shape for name, x in inputs.items()})
    _assign(case, layer, _semantic_parts())
    labels = tf.constant(case.input("labels").astype(np.int32))

    def compute(inputs, labels):
        logits = upsample_bilinear(layer(inputs), labels.shape[1:], 4)
        loss = cross_entropy.compute_hardest_cross_entropy(
            logits, labels, ignore_label=IGNORE, share=0.25
        )
        return logits, tf.reduce_mean(loss)

    logits, loss = _in_mode(compute, mode)(inputs, labels)
    logits = np.moveaxis(logits.numpy(), -1, 1)
    _compare(case, "logits_sub8", logits[:, :, ::8, ::8])
    # Stored as float16.
    case.compare("logits_stride1", logits, rtol=1e-3, atol=2e-4)
    case.compare("ohem_loss_top25pct", loss, rtol=1e-5)


def _semantic_parts():
    """Gives the published name of each part of the semantic branch."""
    parts = {"last": "conv_logits"}
    rates = ["rate_1_6", "rate_1_1", "rate_6_21", "rate_18_15", "rate_6_3"]
    for index, level in enumerate(("p5", "p4")):
        place = f"lateral_convs_ss.{index}"
        parts[f"context_{level}/project"] = f"{place}.conv"
        for number, rate in enumerate(rates):
            parts[f"context_{level}/{rate}"] = f"{place}.convs.{number}"
    for index, level in enumerate(("p3", "p2")):
        for number in range(2):
            name = f"{level}/conv_{number}"
            place = f"{index}.convs.{number}"
            parts[f"detail_{name}"] = f"lateral_convs_ls.{place}"
            parts[f"correction_{name}"] = f"aligning_convs.{place}"
    return parts


def _assign(case, layer, parts):
    """Takes the weights of a layer; each must be there and none is left."""
    left = {name for name in case.names() if name.startswith("w:")}
    for variable in layer.variables:
        path = variable.path.split("/", 1)[1]
        part = max((p for p in parts if path.startswith(f"{p}/")), key=len)
        rest = path[len(part) + 1 :]
        for ours, theirs in NAMES.items():
            rest = re.sub(rf"(^|/){ours}(?=/|$)", rf"\1{theirs}", rest)
        name = f"w:{parts[part]}.{rest.replace('/', '.')}"
        value = case.input(name)
        if value.ndim == 4:
            order = [2, 3, 0, 1] if "depthwise" in path else [2, 3, 1, 0]
            value = np.transpose(value, order)
        variable.assign(value)
        left.remove(name)
    assert not left


def _compare(case, name, actual):
    case.compare(name, actual, rtol=1e-5, atol=1e-5 * np.abs(actual).max())
