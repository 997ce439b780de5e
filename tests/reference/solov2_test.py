# SPDX-License-Identifier: Apache-2.0
"""The parts of SOLOv2 equal the published code."""

import numpy as np
import tensorflow as tf

from deeplab2_like.losses import grid_masks
from deeplab2_like.model.decoders import feature_pyramid
from deeplab2_like.model.heads import solov2_heads
from deeplab2_like.model.layers.upsample import upsample_bilinear
from deeplab2_like.postprocess import options as options_lib
from deeplab2_like.postprocess.masks import solov2_decoding
from deeplab2_like.targets import grid_cells

FAMILY = "solov2"


def test_results_equal_the_reference(reference_case, run_in):
    compare = {
        "dice_loss": _compare_dice,
        "focal_loss": _compare_focal,
        "head_forward": _compare_head,
        "inference": _compare_inference,
        "mask_feature_forward": _compare_features,
        "matrix_nms": _compare_matrix_nms,
        "points_nms": _compare_points_nms,
        "targets": _compare_targets,
    }
    with reference_case() as case:
        compare[reference_case.path.stem](case, run_in)


def _close(case, name, actual):
    case.compare(name, actual, rtol=1e-5, atol=1e-5 * np.abs(actual).max())


def _compare_dice(case, run_in):
    compute = run_in(grid_masks.compute_dice_error)
    loss = compute(
        tf.constant(case.input("logits")), tf.constant(case.input("targets"))
    )
    case.compare("loss_per_mask", loss, rtol=1e-5)


def _compare_focal(case, run_in):
    logits = case.input("logits")
    category = case.input("labels_0_is_background").astype(np.int32) - 1
    number = int(case.input("num_pos"))

    def compute(logits, category):
        is_class = category[:, tf.newaxis] == tf.range(logits.shape[1])
        loss = grid_masks.compute_cell_loss(
            logits[tf.newaxis], category[tf.newaxis], tf.constant([number])
        )
        return grid_masks.compute_focal_error(logits, is_class), loss[0]

    error, loss = run_in(compute)(tf.constant(logits), tf.constant(category))
    case.compare("loss_elementwise", error, rtol=1e-5, atol=1e-7)
    case.compare("loss_sum", np.sum(error), rtol=1e-5)
    case.compare("loss_over_numpos_plus1", loss, rtol=1e-5)


def _levels(case, names):
    return {
        name: tf.constant(np.moveaxis(case.input(f"fpn_{i}"), 1, -1))
        for i, name in enumerate(names)
    }


def _assign(case, layer, parts):
    """Takes the weights of a layer, whose parts have other names there."""
    left = {name for name in case.names() if name.startswith("w:")}
    ends = {"gamma": "weight", "beta": "bias", "kernel": "weight"}
    for variable in layer.variables:
        part, end = variable.path.split("/")[1:]
        name = f"w:{parts[part]}.{ends.get(end, end)}"
        value = case.input(name)
        if value.ndim == 4:
            value = np.transpose(value, [2, 3, 1, 0])
        variable.assign(value)
        left.remove(name)
    assert not left


def _compare_head(case, run_in):
    levels = _levels(case, feature_pyramid.STRIDES)
    num_classes = len(case.input("w:solo_cate.bias"))
    grids = [
        case.input(f"cate_logits_{i}").shape[-1] for i in range(len(levels))
    ]
    head = solov2_heads.GridHead(
        num_classes, 32, grids=grids, filters=32, num_convs=2
    )
    head.build({name: x.shape for name, x in levels.items()})
    parts = {"classes": "solo_cate", "kernels": "solo_kernel"}
    for ours, theirs in (("class", "cate"), ("kernel", "kernel")):
        for number in range(2):
            place = f"{theirs}_convs.{number}"
            parts[f"{ours}_{number}_conv"] = f"{place}.conv"
            parts[f"{ours}_{number}_norm"] = f"{place}.norm"
    _assign(case, head, parts)

    def compute(levels):
        logits, kernels = head(levels)
        found = solov2_decoding.compute_probabilities(logits[0], grids)
        return logits[0], kernels[0], found

    counts = [side * side for side in grids]
    logits, kernels, found = (
        np.split(x.numpy(), np.cumsum(counts)[:-1])
        for x in run_in(compute)(levels)
    )
    for i, side in enumerate(grids):
        square = [1, side, side, -1]
        for name, values in (("cate_logits", logits), ("kernel", kernels)):
            values = np.moveaxis(values[i].reshape(square), -1, 1)
            _close(case, f"{name}_{i}", values)
        _close(case, f"cate_eval_nhwc_{i}", found[i].reshape(square))


def _compare_features(case, run_in):
    levels = _levels(case, feature_pyramid.LEVELS)
    branch = solov2_heads.MaskFeatureBranch(32, 32)
    branch.build({name: x.shape for name, x in levels.items()})
    parts = {"last_conv": "conv_pred.0.conv", "last_norm": "conv_pred.0.norm"}
    for index, level in enumerate(feature_pyramid.LEVELS):
        for number in range(max(1, index)):
            place = f"convs_all_levels.{index}.conv{number}"
            parts[f"{level}_{number}_conv"] = f"{place}.conv"
            parts[f"{level}_{number}_norm"] = f"{place}.norm"
    _assign(case, branch, parts)
    out = run_in(branch)(levels)
    _close(case, "out", np.moveaxis(out.numpy(), -1, 1))


def _compare_points_nms(case, run_in):
    heat = case.input("heat")
    suppress = run_in(
        lambda x: solov2_decoding.suppress_neighbors(x, [heat.shape[-1]])
    )
    out = []
    for image in np.moveaxis(heat, 1, -1):
        cells = suppress(tf.constant(image.reshape(-1, image.shape[-1])))
        out.append(cells.numpy().reshape(image.shape))
    case.compare("out", np.moveaxis(np.stack(out), -1, 1))


def _compare_matrix_nms(case, run_in):
    masks, labels = case.input("masks"), case.input("labels")
    scores = case.input("scores")
    flat = masks.reshape(len(masks), -1).astype(np.float32)
    for name, options in (
        ("gaussian_sigma2", {"decay": "gaussian", "sigma": 2.0}),
        ("linear", {"decay": "linear"}),
    ):
        rules = options_lib.CellRules(**options)

        def compute(shared, area, category, rules=rules):
            valid = tf.ones_like(category, tf.bool)
            return solov2_decoding.compute_decay(
                shared, area, category, valid, rules
            )

        decay = run_in(compute)(
            tf.constant(flat @ flat.T),
            tf.constant(flat.sum(axis=1)),
            tf.constant(labels.astype(np.int32)),
        )
        case.compare(name, scores * decay.numpy(), rtol=1e-5, atol=1e-7)


def _compare_targets(case, run_in):
    masks = case.input("gt_masks")
    boxes = case.input("gt_boxes_xyxy")
    labels = case.input("gt_labels_1based").astype(np.int32) - 1
    rules = grid_cells.GridRules(
        grids=case.input("num_grids").tolist(),
        ranges=case.input("scale_ranges").tolist(),
        max_pairs=256,
    )
    size = masks.shape[1:]
    is_empty = ~masks.any(axis=(1, 2))
    centers = np.stack(
        [np.argwhere(m).mean(axis=0) if m.any() else [0, 0] for m in masks]
    )
    targets = run_in(
        lambda *x: grid_cells.compute_cell_targets(
            grid_cells.Objects(*x), size, rules
        )
    )(
        tf.constant(centers, tf.float32),
        tf.constant(boxes[:, [1, 0, 3, 2]], tf.float32),
        tf.constant(np.where(is_empty, -1, labels)),
    )
    shrunk = grid_cells.shrink_instances(
        tf.constant(masks.astype(np.int32)), (size[0] // 4, size[1] // 4)
    )
    # Each mask is an image with one object here.
    small = grid_cells.compute_mask_targets(
        shrunk, tf.zeros([len(masks), 1], tf.int32)
    )[:, 0].numpy()
    is_mask = targets["is_mask"].numpy()
    cell = targets["mask_cell"].numpy()[is_mask]
    slot = targets["mask_slot"].numpy()[is_mask]
    for level, side in enumerate(rules.grids):
        first = rules.first_cells[level]
        cells = slice(first, first + side * side)
        cell_class = targets["cell_class"].numpy()[cells]
        case.compare(f"cate_label_{level}", 1 + cell_class.reshape(side, side))
        is_here = (cell >= first) & (cell < first + side * side)
        case.compare(f"grid_order_{level}", cell[is_here] - first)
        is_hit = np.zeros(side * side, bool)
        is_hit[cell[is_here] - first] = True
        case.compare(f"ins_ind_{level}", is_hit)
        case.compare(f"ins_label_{level}", small[slot[is_here]])


def _compare_inference(case, run_in):
    scores = case.input("cate_scores_after_points_nms")
    features = np.moveaxis(case.input("mask_feature")[0], 0, -1)
    rules = options_lib.CellRules(
        grids=case.input("num_grids").tolist(),
        smallest_masks=case.input("strides").tolist(),
        candidates=scores.size,
    )
    height, width = features.shape[:2]
    found = run_in(
        lambda *x: solov2_decoding.find_objects(
            *x, tf.constant([height, width]), rules
        )
    )(
        tf.constant(scores),
        tf.constant(case.input("kernels")),
        tf.constant(features),
    )
    number = int(case.input("out_masks_shape")[0])
    assert found.is_valid.numpy().sum() == number
    case.compare("out_labels", found.category[:number])
    case.compare("out_scores", found.score[:number], rtol=1e-4)
    # As there: probabilities are resized twice.
    masks = tf.sigmoid(found.logits[:number])[..., tf.newaxis]
    masks = upsample_bilinear(masks, (4 * height, 4 * width), 4)
    inner = case.input("image_shape")
    masks = tf.image.resize(
        masks[:, : inner[0], : inner[1]], case.input("orig_shape")
    )[..., 0]
    packed = np.packbits(masks.numpy() > 0.5, axis=-1)
    expected = case.input("out_masks_packed")
    different = np.unpackbits(packed ^ expected).sum()
    # Pixels at the threshold, up to rounding.
    assert different <= 1e-5 * np.prod(case.input("out_masks_shape"))
