# SPDX-License-Identifier: Apache-2.0
"""Whole models of other libraries give their outputs here.

Their weights are random, made from the keys of their files; the config is the
one that is written for them.
"""

import numpy as np
import pytest
import tensorflow as tf

from deeplab2_like import config as config_lib
from deeplab2_like.checkpoints.peers import conversion, recognition
from deeplab2_like.checkpoints.peers import state as state_lib
from deeplab2_like.labels import descriptor
from deeplab2_like.meta_architectures import build
from deeplab2_like.model.backbones.residual_blocks import pool_stem
from deeplab2_like.model.layers import roi_align
from deeplab2_like.model.layers.resize import resize_half_pixel
from deeplab2_like.model.outputs import resize_outputs
from deeplab2_like.testing import reference_weights

FAMILY = reference_weights.FAMILY
PATTERN = "outputs/[bd]*.npz"
_NAMES = {
    "semantic": "semantic_logits",
    "center": "center_heatmap",
    "offset": "offset_map",
}


def is_slow(_):
    return True


@pytest.fixture(scope="module")
def convert():
    """Returns a function from a network to the model with its weights."""
    models = {}

    def convert(name, *overrides):
        if (name, overrides) not in models:
            models.clear()
            models[name, overrides] = _convert(name, overrides)
        return models[name, overrides]

    return convert


def _convert(name, overrides):
    arrays = reference_weights.make_arrays(name)
    peer = recognition.require(name, arrays)
    state = state_lib.State(name, arrays, peer.full_name)
    text = conversion._write_config(state, peer, "ckpt-0")
    config = config_lib.parse(text, overrides, environ={})
    report, values, is_known = conversion._map(state, peer, config)
    assert is_known
    assert [report.missing, report.skipped, report.mismatched] == [[], {}, {}]
    system = build.build_system(
        config.options, descriptor.load_of_run(config.options)
    )
    model = system.build_model(synchronize_batch_norm=False)
    left = {v.path for v in model.variables if "seed_generator" not in v.path}
    for variable in model.variables:
        if variable.path in left:
            variable.assign(values["variables", variable.path])
            left.remove(variable.path)
    assert not left
    return model


def test_outputs_are_those_of_the_other_library(reference_case, convert):
    name = reference_case.path.stem.partition("__")[0]
    with reference_case() as case:
        image = case.input("image")[np.newaxis].astype(np.float32)
        outputs = _COMPUTE[name](case, convert, tf.constant(image))
        for array in case.names():
            if array in ("image", "boxes_xyxy"):
                continue
            value = np.asarray(outputs[reference_weights.output_of(array)])
            reference_weights.compare(case, array, value)


def _compute_panoptic_deeplab(case, convert, image):
    override = []
    window = case.meta["image_pooling"]
    if window != "global":
        sides = [32 * (side - 1) + 1 for side in window]
        override = [f"train_dataset_options {{ crop_size: {sides} }}"]
    name = "bowenc0221_panoptic_deeplab_R50"
    model = convert(name, *override)
    outputs = dict(model.compute_features(image, training=False))
    outputs["stem_stride4"] = pool_stem(outputs["res1"])
    for branch in ("semantic", "instance"):
        decoder = getattr(model, f"{branch}_decoder")
        outputs[f"{branch}_aspp"] = decoder.aspp(outputs["res5"])
        outputs[f"{branch}_decoder"] = decoder(outputs)
    raw = model(image, training=False)
    full = resize_outputs(raw, image.shape[1:3])
    full["center_heatmap"] = full["center_heatmap"][..., np.newaxis]
    for theirs, ours in _NAMES.items():
        outputs[f"raw_{theirs}"] = raw[ours]
        outputs[f"full_{theirs}"] = full[ours]
    return outputs


def _compute_panoptic_fpn(case, convert, image):
    model = convert("detectron2_panoptic_fpn_R_50")
    assert case.meta["padded_size"] == list(image.shape[1:3])
    outputs = dict(model.compute_features(image, training=False))
    outputs["stem_stride4"] = pool_stem(outputs["res1"])
    levels = model.pyramid(outputs)
    outputs |= levels
    logits = model.semantic_branch(levels)
    outputs["semantic_logits_stride4"] = logits
    # As in the losses; `upsampling_test` compares the post-processing.
    outputs["semantic_logits_full"] = resize_half_pixel(
        logits, image.shape[1:3]
    )
    branch = model.instance_branch
    for level, (objectness, codes) in branch.proposal_head(levels).items():
        outputs[f"rpn_objectness_{level}"] = objectness
        outputs[f"rpn_deltas_{level}"] = _their_codes(codes)
    boxes = tf.constant(case.input("boxes_xyxy")[np.newaxis, :, [1, 0, 3, 2]])
    chosen = roi_align.choose_levels(boxes, 4)[0] + 2
    assert list(chosen.numpy()) == case.meta["box_levels"]
    pooled = branch._pool_rois(levels, boxes, 7)
    x = tf.reshape(pooled, [len(pooled), -1])
    for layer in branch.box_head.dense:
        x = layer(x)
    class_logits, codes = branch.box_head(pooled)
    masks = branch._pool_rois(levels, boxes, 14)
    return outputs | {
        "box_pooled": pooled,
        "box_hidden": x,
        "box_class_logits": class_logits,
        "box_deltas": _their_codes(tf.reshape(codes, [len(codes), -1])),
        "mask_pooled": masks,
        "mask_logits": branch.mask_head(masks),
    }


def _their_codes(codes):
    """Returns codes (dy, dx, dh, dw) as (dx, dy, dw, dh)."""
    order = np.arange(codes.shape[-1]).reshape(-1, 4)[:, [1, 0, 3, 2]]
    return tf.gather(codes, order.ravel(), axis=-1)


_COMPUTE = {
    "bowenc0221_panoptic_deeplab_R50": _compute_panoptic_deeplab,
    "detectron2_panoptic_fpn_R_50": _compute_panoptic_fpn,
}
