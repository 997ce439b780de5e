# SPDX-License-Identifier: Apache-2.0
"""The parts of EfficientPS equal the published code."""

import re

import numpy as np
import tensorflow as tf

from deeplab2_like.losses import cross_entropy
from deeplab2_like.model.decoders.feature_pyramid import ENDPOINTS, LEVELS
from deeplab2_like.model.decoders.two_way_pyramid import TwoWayPyramid
from deeplab2_like.model.heads.efficientps_semantic import ContextBranch
from deeplab2_like.model.layers.upsample import upsample_bilinear
from deeplab2_like.postprocess import efficientps, options
from deeplab2_like.postprocess.objects import Objects

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


def test_results_equal_the_reference(reference_case, run_in):
    with reference_case() as case:
        if "boxes_xyxy" in case:
            _compare_fusion(case, run_in)
        elif "c_0" in case:
            _compare_pyramid(case, run_in)
        else:
            _compare_semantic_branch(case, run_in)


def _compare_pyramid(case, run_in):
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
    levels = run_in(layer)(inputs)
    for index, level in enumerate(LEVELS):
        actual = np.moveaxis(levels[level].numpy(), -1, 1)
        _compare(case, f"p_{index}", actual)


def _compare_semantic_branch(case, run_in):
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

    logits, loss = run_in(compute)(inputs, labels)
    logits = np.moveaxis(logits.numpy(), -1, 1)
    _compare(case, "logits_sub8", logits[:, :, ::8, ::8])
    # Stored as float16.
    case.compare("logits_stride1", logits, rtol=1e-3, atol=2e-4)
    case.compare("ohem_loss_top25pct", loss, rtol=1e-5)


def _compare_fusion(case, run_in):
    logits = tf.constant(np.moveaxis(case.input("semantic_logits"), 0, -1))
    num_stuff = int(case.input("num_stuff"))
    num_classes = num_stuff + int(case.input("num_things"))
    size = tuple(logits.shape[:2])
    x1, y1, x2, y2 = case.input("boxes_xyxy").T
    # The pixels that the published code takes for those of a box.
    first = [np.floor(side + 1.0) for side in (y1, x1)]
    end = [np.round(side - 1.0) + 1.0 for side in (y2, x2)]
    masks = case.input("mask_logits_pasted")
    labels = num_stuff + case.input("labels_0based_thing")
    objects = Objects(
        boxes=np.stack([*first, *end], axis=1).astype(np.float32),
        category=labels.astype(np.int32),
        score=case.input("scores"),
        is_valid=np.ones(len(masks), bool),
        masks=masks,
    )
    frames = np.array([[0.0, 0.0, *size]] * len(masks), np.float32)
    class_rules = options.ClassRules(
        num_classes=num_classes,
        thing_ids=tuple(range(num_stuff, num_classes)),
        ignore_label=IGNORE,
        label_divisor=1000,
        stuff_area_limit=int(case.input("min_stuff_area")),
    )
    fusion_rules = options.FusionRules(
        overlap_threshold=float(case.input("overlap_threshold")),
        mask_threshold=float(case.input("mask_threshold")),
        mask_logit_scale=4.0,
        zero_outside=True,
    )

    def compute(logits, frames, *objects):
        return efficientps.postprocess(
            logits[tf.newaxis],
            Objects(*(x[tf.newaxis] for x in objects)),
            canvas_size=size,
            class_rules=class_rules,
            fusion_rules=fusion_rules,
            frames_bd4=frames[tf.newaxis],
        )

    tensors = [tf.constant(x) for x in (logits, frames, *objects)]
    _compare_segments(case, run_in(compute)(*tensors), objects)


def _compare_segments(case, prediction, objects):
    """There, things are numbered by their scores, then stuff by its class."""
    rows = np.nonzero(prediction.segment_is_valid.numpy()[0])[0]
    number = len(objects.score)
    order = [
        *sorted(
            (row for row in rows if row < number),
            key=lambda row: -objects.score[row],
        ),
        *(row for row in rows if row >= number),
    ]
    ours = prediction.panoptic.numpy()[0]
    index = np.zeros(ours.shape, np.int32)
    for place, row in enumerate(order, 1):
        index[ours == prediction.segment_id.numpy()[0][row]] = place
    case.compare("panoptic_segment_index", index)
    category = prediction.segment_category.numpy()[0][order]
    case.compare("segment_category", np.array([IGNORE, *category]))


def _semantic_parts():
    """Returns the published name of each part of the semantic branch."""
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
