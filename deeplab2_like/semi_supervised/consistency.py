# SPDX-License-Identifier: Apache-2.0
"""Losses between a teacher's maps and a student's, for images without labels.

In reading order: `Rules`, `Targets` and `make_targets` (the teacher's maps in
the student's views), `compute_losses`, `compute_statistics`, `compute_ramp`.

The sums over the pixels that count are divided by the number of valid pixels,
so that images in which few pixels are confident count less, as in UniMatch
(Yang et al., CVPR 2023, arXiv:2208.09910). Losses of a batch are the mean over
its images, as those of images with labels.

Shape suffixes: b batch, h height, w width, c classes. All maps are at the
resolution of the network's outputs.
"""

import dataclasses
from collections.abc import Mapping, Sequence

import tensorflow as tf

from deeplab2_like.losses import pixelwise
from deeplab2_like.model.layers.resize import spatial_size
from deeplab2_like.model.outputs import Output, offset_scale
from deeplab2_like.semi_supervised import views as views_lib

CLASS_LOSS = "consistency_class_loss"
CENTER_LOSS = "consistency_center_loss"
OFFSET_LOSS = "consistency_offset_loss"
# Of the exponent of `compute_ramp`.
_RAMP_STEEPNESS = 5.0


@dataclasses.dataclass(frozen=True)
class Rules:
    """What is learned from the teacher.

    Attributes:
        confidence_threshold: Least probability of the teacher's class where
            its prediction is learned from.
        takes_best_class: Whether the target is the teacher's most probable
            class, not its probabilities.
        thing_ids: Classes whose pixels have offsets.
    """

    confidence_threshold: float
    takes_best_class: bool
    thing_ids: Sequence[int] = ()


@dataclasses.dataclass(frozen=True)
class Targets:
    """The teacher's maps in the views of the student, without gradient.

    Attributes:
        logits_bhwc: float32 [B, h, w, C].
        is_valid_bhw: bool [B, h, w], where the views show an image.
        heatmap_bhw1: float32 [B, h, w, 1]; None without instances.
        offset_bhw2: float32 [B, h, w, 2], (dy, dx) in pixels of the maps; None
            without instances.
        is_center_shown_bhw: bool [B, h, w], where `offset_bhw2` points to a
            pixel of the view that shows the same image; None without
            instances.
    """

    logits_bhwc: tf.Tensor
    is_valid_bhw: tf.Tensor
    heatmap_bhw1: tf.Tensor | None = None
    offset_bhw2: tf.Tensor | None = None
    is_center_shown_bhw: tf.Tensor | None = None


def make_targets(
    outputs: Mapping[str, tf.Tensor],
    valid_bhw: tf.Tensor,
    views: views_lib.Views,
    boxes_b4: tf.Tensor | None = None,
) -> Targets:
    """Shows the teacher's outputs for the canvases in the student's views.

    Args:
        outputs: Outputs of the model (`Output`) for the canvases, of a size
            that is static.
        valid_bhw: bool [B, H, W], which pixels of the canvases are image.
        views: The views.
        boxes_b4: Result of `views.draw_boxes`; None: views are not mixed.

    Returns:
        The targets.
    """
    logits = views_lib.show_maps(outputs[Output.SEMANTIC_LOGITS], views)
    height, width = logits.shape[1:3]
    size = (height, width)
    is_valid = views_lib.find_visible(valid_bhw, views, size)
    is_in_box = tf.zeros_like(is_valid)
    if boxes_b4 is not None:
        is_in_box = views_lib.find_in_boxes(boxes_b4, size, views.canvas_size)

    def mix(values: tf.Tensor) -> tf.Tensor:
        if boxes_b4 is None:
            return tf.stop_gradient(values)
        return tf.stop_gradient(views_lib.mix_pairs(values, is_in_box))

    is_valid = mix(is_valid)
    if Output.OFFSET_MAP not in outputs:
        return Targets(mix(logits), is_valid)
    offset = mix(views_lib.show_offsets(outputs[Output.OFFSET_MAP], views))
    heatmap = views_lib.show_maps(outputs[Output.CENTER_HEATMAP], views)
    return Targets(
        mix(logits),
        is_valid,
        mix(heatmap),
        offset,
        _find_shown_centers(offset, is_valid, is_in_box),
    )


def _find_shown_centers(
    offset_bhw2: tf.Tensor, is_valid_bhw: tf.Tensor, is_in_box_bhw: tf.Tensor
) -> tf.Tensor:
    """Finds the offsets that point to a valid pixel of the same image."""
    height, width = offset_bhw2.shape[1:3]
    rows, columns = tf.meshgrid(
        tf.range(height, dtype=tf.float32),
        tf.range(width, dtype=tf.float32),
        indexing="ij",
    )
    last_2 = tf.constant([height - 1.0, width - 1.0])
    target_bhw2 = tf.round(tf.stack([rows, columns], axis=-1) + offset_bhw2)
    is_inside_bhw = tf.reduce_all(
        (target_bhw2 >= 0.0) & (target_bhw2 <= last_2), axis=-1
    )
    place_bhw2 = tf.cast(
        tf.clip_by_value(target_bhw2, tf.zeros_like(last_2), last_2), tf.int32
    )
    # 0 padding, 1 the image of the view, 2 the other one of its pair.
    source_bhw = tf.where(is_valid_bhw, 1 + tf.cast(is_in_box_bhw, tf.int32), 0)
    reached_bhw = tf.gather_nd(source_bhw, place_bhw2, batch_dims=1)
    return is_inside_bhw & is_valid_bhw & (reached_bhw == source_bhw)


def find_confident(targets: Targets, rules: Rules) -> tf.Tensor:
    """Finds the pixels that are learned from: bool [B, h, w]."""
    best = tf.reduce_max(tf.nn.softmax(targets.logits_bhwc), axis=-1)
    return targets.is_valid_bhw & (best >= rules.confidence_threshold)


def compute_losses(
    outputs: Mapping[str, tf.Tensor],
    targets: Targets,
    canvas_size: tuple[int, int],
    rules: Rules,
) -> dict[str, tf.Tensor]:
    """Computes how far the student is from the teacher.

    - Classes: the Kullback-Leibler divergence of the student's probabilities
      from the teacher's, or the cross entropy of the teacher's best class.
    - Centers: squared error of the heat maps.
    - Offsets: absolute error, mean of y and x, in pixels of the canvas; where
      the teacher sees a thing whose center the view shows.

    Args:
        outputs: The student's outputs (`Output`) for the views.
        targets: Result of `make_targets`.
        canvas_size: (height, width).
        rules: What is learned.

    Returns:
        float32 [B] each, not weighted.
    """
    is_counted = find_confident(targets, rules)
    is_valid = targets.is_valid_bhw
    losses = {
        CLASS_LOSS: _average(
            _compute_class_error(
                outputs[Output.SEMANTIC_LOGITS],
                targets.logits_bhwc,
                rules.takes_best_class,
            ),
            is_counted,
            is_valid,
        )
    }
    heatmap, offset = targets.heatmap_bhw1, targets.offset_bhw2
    is_shown = targets.is_center_shown_bhw
    if heatmap is None or offset is None or is_shown is None:
        return losses
    losses[CENTER_LOSS] = _average(
        pixelwise.compute_squared_error(
            outputs[Output.CENTER_HEATMAP], heatmap
        ),
        is_counted,
        is_valid,
    )
    factor = offset_scale(spatial_size(offset), canvas_size)
    is_thing = is_valid & is_shown & _find_things(targets, rules.thing_ids)
    losses[OFFSET_LOSS] = _average(
        pixelwise.compute_absolute_error(
            outputs[Output.OFFSET_MAP] * factor, offset * factor
        ),
        is_counted & is_thing,
        is_thing,
    )
    return losses


def _compute_class_error(
    logits_bhwc: tf.Tensor, target_bhwc: tf.Tensor, takes_best_class: bool
) -> tf.Tensor:
    """Computes float32 [B, h, w]."""
    log_probs = tf.nn.log_softmax(tf.cast(logits_bhwc, tf.float32))
    if takes_best_class:
        best = tf.argmax(target_bhwc, axis=-1, output_type=tf.int32)
        return -tf.reduce_sum(
            log_probs * tf.one_hot(best, target_bhwc.shape[-1]), axis=-1
        )
    target = tf.nn.log_softmax(target_bhwc)
    return tf.reduce_sum(tf.exp(target) * (target - log_probs), axis=-1)


def _find_things(targets: Targets, thing_ids: Sequence[int]) -> tf.Tensor:
    best = tf.argmax(targets.logits_bhwc, axis=-1, output_type=tf.int32)
    is_thing = tf.zeros_like(targets.is_valid_bhw)
    for thing_id in thing_ids:
        is_thing |= best == thing_id
    return is_thing


def _average(
    error_bhw: tf.Tensor, is_counted_bhw: tf.Tensor, is_valid_bhw: tf.Tensor
) -> tf.Tensor:
    """Divides the sum over counted pixels by the valid ones: float32 [B]."""
    counted = tf.where(is_counted_bhw, error_bhw, 0.0)
    return tf.math.divide_no_nan(
        tf.reduce_sum(counted, axis=[1, 2]), _count(is_valid_bhw)
    )


def _count(is_true_bhw: tf.Tensor) -> tf.Tensor:
    return tf.reduce_sum(tf.cast(is_true_bhw, tf.float32), axis=[1, 2])


def compute_statistics(
    outputs: Mapping[str, tf.Tensor], targets: Targets, rules: Rules
) -> dict[str, tf.Tensor]:
    """Computes how far teacher and student agree.

    Args:
        outputs: The student's outputs for the views.
        targets: Result of `make_targets`.
        rules: What is learned.

    Returns:
        float32 [B] in 0..1 each: "agreement", the share of the valid pixels to
        which both give the same class; "confident", the share that is learned
        from.
    """
    own = tf.argmax(outputs[Output.SEMANTIC_LOGITS], axis=-1)
    best = tf.argmax(targets.logits_bhwc, axis=-1)
    valid = _count(targets.is_valid_bhw)
    agreed = _count(targets.is_valid_bhw & (own == best))
    confident = _count(find_confident(targets, rules))
    return {
        "agreement": tf.math.divide_no_nan(agreed, valid),
        "confident": tf.math.divide_no_nan(confident, valid),
    }


def compute_ramp(step: tf.Tensor, ramp_up_steps: int) -> tf.Tensor:
    """Computes the factor of the losses, which rises to 1.

    exp(-5 (1 - step / ramp_up_steps) ** 2): Laine and Aila, ICLR 2017
    (arXiv:1610.02242), as in mean teacher (Tarvainen and Valpola, NeurIPS
    2017, arXiv:1703.01780).

    Args:
        step: Integer scalar, steps done.
        ramp_up_steps: The step from which it is 1; 0: always.

    Returns:
        float32 scalar.
    """
    if not ramp_up_steps:
        return tf.constant(1.0)
    done = tf.minimum(tf.cast(step, tf.float32) / ramp_up_steps, 1.0)
    return tf.exp(-_RAMP_STEEPNESS * tf.square(1.0 - done))
