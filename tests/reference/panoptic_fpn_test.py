# SPDX-License-Identifier: Apache-2.0
"""The semantic branch and the heuristic merge equal detectron2's."""

import numpy as np
import tensorflow as tf

from deeplab2_like.losses import cross_entropy
from deeplab2_like.model.decoders import feature_pyramid
from deeplab2_like.postprocess import options
from deeplab2_like.postprocess.masks import heuristic_merge
from deeplab2_like.postprocess.pixels import merging

FAMILY = "panoptic_fpn"
IGNORE = 255


def test_results_equal_the_reference(reference_case, run_in):
    with reference_case() as case:
        if "masks" in case:
            _compare_merge(case, run_in)
        else:
            _compare_semantic_branch(case, run_in)


def _compare_merge(case, run_in):
    masks = case.input("masks").astype(np.float32)
    semantic = case.input("semantic_0_is_things").astype(np.int32)
    scores = case.input("scores").astype(np.float32)
    classes = case.input("classes")
    size = semantic.shape
    class_rules = options.ClassRules(
        num_classes=int(semantic.max()) + 1,
        thing_ids=(0,),
        ignore_label=IGNORE,
        label_divisor=10_000,
        stuff_area_limit=int(case.input("stuff_area_limit")),
    )
    mask_rules = options.MaskRules(
        score_threshold=float(case.input("score_threshold")),
        overlap_threshold=float(case.input("overlap_threshold")),
    )

    number = len(scores)

    def merge(masks, scores, semantic):
        # Each mask lies in a box of the size of the image.
        box = tf.constant([[0.0, 0.0, *size]] * number, tf.float32)
        placed = heuristic_merge.place_masks(
            masks, box, scores, size, tf.constant(size), mask_rules
        )
        merged = merging.merge_known(
            semantic,
            placed.instance,
            tf.ones(size, tf.bool),
            tf.zeros(number, tf.int32),
            scores,
            class_rules,
        )
        return placed, merged

    placed, merged = run_in(merge)(*map(tf.constant, (masks, scores, semantic)))
    # The reference numbers things by their scores, then stuff by its class.
    order = [i for i in np.argsort(-scores, kind="stable") if placed.is_kept[i]]
    is_valid = merged.is_valid.numpy()
    stuff = [i for i in np.nonzero(is_valid)[0] if i >= number]
    segment_id = merged.segment_id.numpy()
    panoptic = np.zeros(size, np.int32)
    for place, row in enumerate([*order, *stuff], 1):
        if is_valid[row]:
            panoptic[merged.panoptic.numpy() == segment_id[row]] = place
    total = len(order) + len(stuff)
    category = segment_id[stuff] // class_rules.label_divisor
    case.compare("panoptic", panoptic)
    case.compare("seg_id", np.arange(1, total + 1))
    case.compare("seg_isthing", np.arange(total) < len(order))
    case.compare("seg_category", np.concatenate([classes[order], category]))


def _compare_semantic_branch(case, run_in):
    levels = {
        level: tf.constant(np.moveaxis(case.input(level), 1, -1))
        for level in feature_pyramid.LEVELS
    }
    num_channels, filters = case.input("w:predictor.weight").shape[:2]
    branch = feature_pyramid.SemanticBranch(num_channels, filters)
    branch.build({level: x.shape for level, x in levels.items()})
    _assign(case, branch)
    labels = tf.constant(case.input("labels").astype(np.int32))

    def compute(levels, labels):
        logits = branch(levels)
        size = labels.shape[1:]
        resized = tf.image.resize(logits, size)  # half-pixel centers
        loss = cross_entropy.compute_mean_cross_entropy(
            resized, labels, ignore_label=IGNORE
        )
        return logits, tf.reduce_mean(loss)

    logits, loss = run_in(compute)(levels, labels)
    logits = np.moveaxis(logits.numpy(), -1, 1)
    scale = np.abs(logits).max()
    case.compare("logits_stride4", logits, rtol=1e-4, atol=1e-5 * scale)
    case.compare("cross_entropy_loss_full_res", loss, rtol=1e-5)


def _assign(case, branch):
    """Takes the weights of a branch whose operations alternate with resizes."""
    values = {}
    for level in feature_pyramid.LEVELS:
        number = 0
        while f"w:{level}.{2 * number}.weight" in case:
            place = f"w:{level}.{2 * number}"
            name = f"{level}_{number}"
            values[f"{name}_conv/kernel"] = case.input(f"{place}.weight")
            values[f"{name}_norm/gamma"] = case.input(f"{place}.norm.weight")
            values[f"{name}_norm/beta"] = case.input(f"{place}.norm.bias")
            number += 1
    values["last/kernel"] = case.input("w:predictor.weight")
    values["last/bias"] = case.input("w:predictor.bias")
    for variable in branch.variables:
        value = values.pop(variable.path.split("/", 1)[1])
        if value.ndim == 4:
            value = np.transpose(value, [2, 3, 1, 0])
        variable.assign(value)
    assert not values
