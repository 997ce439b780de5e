# SPDX-License-Identifier: Apache-2.0
"""Training targets of Panoptic-DeepLab: centers, offsets and loss weights.

`compute_packed_targets` runs on the host, in tf.data, where sizes are dynamic;
`unpack_targets` on the device: of a pixel 12 bytes are sent to it in place of
the 28 that the losses read. All instances are handled together: the cost does
not depend on their number, except for the Gaussians, which are small.

N pixels, R runs of equal pixels, U different panoptic ids in the order of
their first pixels, K instances.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import tensorflow as tf

from deeplab2_like import errors
from deeplab2_like.targets import gaussians, label_runs, pixel_kinds

# Largest size of the list of classes of numbered things.
MAX_THING_ID = 1 << 15


class _Segments(NamedTuple):
    """The different panoptic ids of a label map.

    Attributes:
        kind: int32 [U], a constant of `pixel_kinds`.
        category: int64 [U].
        is_instance: bool [U], the segment has a center.
        is_thing: bool [U], the segment is of a thing class.
        center: int64 [U, 2], (y, x) of the mean pixel, rounded.
        of_run: int32 [R], the segment of each run.
    """

    kind: tf.Tensor
    category: tf.Tensor
    is_instance: tf.Tensor
    is_thing: tf.Tensor
    center: tf.Tensor
    of_run: tf.Tensor


def compute_packed_targets(
    panoptic_hw: tf.Tensor,
    *,
    thing_ids: Sequence[int],
    ignore_label: int,
    label_divisor: int,
    sigma: float,
    small_instance_threshold: int,
    small_instance_weight: float,
    max_class: int | None = None,
) -> dict[str, tf.Tensor]:
    """Computes what `unpack_targets` needs of one label map.

    Args:
        panoptic_hw: See `compute_center_offset_targets`, as for the others.
        thing_ids: Classes with instances.
        ignore_label: Class of void pixels.
        label_divisor: Greater than the largest instance number.
        sigma: Standard deviation of the Gaussian at each center, in pixels.
        small_instance_threshold: Instances of fewer pixels than this are
            small; 0 for none.
        small_instance_weight: Semantic weight of pixels of small instances.
        max_class: Largest class in the label, `ignore_label` among them; None
            where it is not known, so that more bytes are needed.

    Returns:
        * packed_class: int32 [H, W], class and kind; or, where `max_class` is
          None or above `pixel_kinds.MAX_CLASS`, semantic, int32 [H, W], and
          pixel_kind, uint8 [H, W], the constants of `pixel_kinds`.
        * small_instance_weight: float32 scalar.
        * center_heatmap: float32 [H, W] in 0..1.
        * packed_offset: int32 [H, W].

    Raises:
        DataError: An option or the shape of the label is not allowed.
    """
    _check(panoptic_hw, label_divisor, sigma)
    runs, segments = _find_runs_and_segments(
        panoptic_hw,
        thing_ids=thing_ids,
        ignore_label=ignore_label,
        label_divisor=label_divisor,
        small_instance_threshold=small_instance_threshold,
    )
    return _draw_packed(
        runs,
        segments,
        panoptic_hw,
        label_divisor=label_divisor,
        sigma=sigma,
        small_instance_weight=small_instance_weight,
        max_class=max_class,
    )


def unpack_targets(packed: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    """Computes the targets of the losses from packed ones, on any device.

    Args:
        packed: Result of `compute_packed_targets`, with or without a batch
            axis; the last two may be missing.

    Returns:
        The targets of `compute_center_offset_targets` from semantic to
        offset_weight, without panoptic, as far as `packed` has them.
    """
    if "packed_class" in packed:
        semantic, kinds = pixel_kinds.decode(
            label_runs.unpack_codes(packed["packed_class"])
        )
    else:
        semantic, kinds = packed["semantic"], packed["pixel_kind"]
    targets = pixel_kinds.compute_weights(
        kinds, packed["small_instance_weight"][..., tf.newaxis, tf.newaxis]
    )
    targets["semantic"] = semantic
    if "center_heatmap" in packed:
        targets["center_heatmap"] = packed["center_heatmap"]
    if "packed_offset" in packed:
        targets["offset_map"] = tf.where(
            pixel_kinds.is_instance(kinds)[..., tf.newaxis],
            label_runs.unpack_offsets(packed["packed_offset"]),
            0.0,
        )
    return targets


def compute_center_offset_targets(
    panoptic_hw: tf.Tensor,
    *,
    thing_ids: Sequence[int],
    ignore_label: int,
    label_divisor: int,
    sigma: float,
    small_instance_threshold: int,
    small_instance_weight: float,
    max_thing_id: int | None = None,
) -> dict[str, tf.Tensor]:
    """Computes the targets and loss weights of one label map.

    deeplab2: PanopticSampleGenerator. Differences: centers are exact, not
    float32 means of the coordinates, and the peak of the Gaussian is on the
    center for every sigma. As there, every segment that is not void and whose
    id is not a multiple of the divisor has a center and offsets, stuff too.

    Args:
        panoptic_hw: int32 [H, W], category * label_divisor + instance, H and
            W at most 32768. A thing class with instance 0 is a crowd.
        thing_ids: Classes with instances.
        ignore_label: Class of void pixels.
        label_divisor: Greater than the largest instance number.
        sigma: Standard deviation of the Gaussian at each center, in pixels.
        small_instance_threshold: Instances of fewer pixels than this are
            small; 0 for none.
        small_instance_weight: Semantic weight of pixels of small instances.
        max_thing_id: Size of `thing_id_class`. The last two targets exist
            only if it is given. Things beyond it have no number.

    Returns:
        * semantic: int32 [H, W], classes; ignore_label where void.
        * panoptic: int32 [H, W], the label itself.
        * is_crowd: bool [H, W].
        * center_heatmap: float32 [H, W] in 0..1, the largest Gaussian.
        * offset_map: float32 [H, W, 2], (dy, dx) from the pixel to its
          center, in pixels; 0 where there is no instance.
        * semantic_weight: float32 [H, W], small_instance_weight or 1.
        * center_weight: float32 [H, W], 0 on crowd and void, else 1.
        * offset_weight: float32 [H, W], 1 on things that are not crowd,
          else 0.
        * thing_id_mask: int32 [H, W], number of the thing in order of first
          pixels, -1 elsewhere.
        * thing_id_class: float32 [max_thing_id], class of each numbered
          thing, padded by -1.

    Raises:
        DataError: An option or the shape of the label is not allowed.
    """
    _check(panoptic_hw, label_divisor, sigma)
    _check_numbers(max_thing_id)
    runs, segments = _find_runs_and_segments(
        panoptic_hw,
        thing_ids=thing_ids,
        ignore_label=ignore_label,
        label_divisor=label_divisor,
        small_instance_threshold=small_instance_threshold,
    )
    packed = _draw_packed(
        runs,
        segments,
        panoptic_hw,
        label_divisor=label_divisor,
        sigma=sigma,
        small_instance_weight=small_instance_weight,
        max_class=None,
    )
    targets = unpack_targets(packed)
    targets["panoptic"] = tf.cast(panoptic_hw, tf.int32)
    if max_thing_id is not None:
        mask, classes = _number_things(runs, segments, max_thing_id)
        mask = tf.reshape(mask, tf.shape(panoptic_hw))
        targets["thing_id_mask"] = _with_shape(mask, panoptic_hw.shape)
        targets["thing_id_class"] = classes
    return targets


def _find_runs_and_segments(
    panoptic_hw: tf.Tensor, **rules: Any
) -> tuple[label_runs.LabelRuns, _Segments]:
    runs = label_runs.find_runs(tf.cast(panoptic_hw, tf.int32))
    return runs, _find_segments(runs, **rules)


def _draw_packed(
    runs: label_runs.LabelRuns,
    segments: _Segments,
    panoptic_hw: tf.Tensor,
    *,
    label_divisor: int,
    sigma: float,
    small_instance_weight: float,
    max_class: int | None,
) -> dict[str, tf.Tensor]:
    """Draws the maps of `compute_packed_targets`."""
    shape = tf.shape(panoptic_hw)
    kind = tf.gather(segments.kind, segments.of_run)
    if max_class is not None and max_class <= pixel_kinds.MAX_CLASS:
        category = tf.gather(segments.category, segments.of_run)
        codes = pixel_kinds.encode(tf.cast(category, tf.int32), kind)
        maps = {"packed_class": label_runs.draw_packed_codes(runs, codes)}
    else:
        kinds = label_runs.draw_codes(runs, kind)
        maps = {
            "semantic": tf.cast(panoptic_hw, tf.int32) // label_divisor,
            "pixel_kind": tf.cast(kinds, tf.uint8),
        }
    centers = tf.boolean_mask(segments.center, segments.is_instance)
    maps["center_heatmap"] = gaussians.draw_gaussians(centers, shape, sigma)
    maps["packed_offset"] = _draw_offsets(runs, segments)
    weight = tf.constant(small_instance_weight, tf.float32)
    return {"small_instance_weight": weight} | {
        name: _with_shape(tf.reshape(values, shape), panoptic_hw.shape)
        for name, values in maps.items()
    }


def _check(
    panoptic_hw: tf.Tensor,
    label_divisor: int,
    sigma: float,
) -> None:
    """Raises DataError for options and shapes that are not allowed."""
    shape = panoptic_hw.shape
    if shape.rank != 2:
        raise errors.DataError(
            f"The panoptic label has shape {shape}. It must be [height, "
            "width]: give one image, without channels."
        )
    if any(side is not None and side > label_runs.MAX_SIDE for side in shape):
        raise errors.DataError(
            f"The panoptic label has shape {shape}. A side may have up to "
            f"{label_runs.MAX_SIDE} pixels: crop or resize the image."
        )
    if label_divisor < 1:
        raise errors.DataError(
            f"label_divisor is {label_divisor}. It must be positive."
        )
    if not sigma > 0 or math.isinf(sigma):
        raise errors.DataError(
            f"sigma is {sigma}. It must be a positive number of pixels."
        )


def _check_numbers(max_thing_id: int | None) -> None:
    """Raises DataError for a list of classes of a size that is not allowed."""
    if max_thing_id is not None and not 1 <= max_thing_id <= MAX_THING_ID:
        raise errors.DataError(
            f"max_thing_id is {max_thing_id}. It must be 1 to {MAX_THING_ID}."
        )


def _find_segments(
    runs: label_runs.LabelRuns,
    *,
    thing_ids: Sequence[int],
    ignore_label: int,
    label_divisor: int,
    small_instance_threshold: int,
) -> _Segments:
    """Finds the different ids, their kinds and their centers."""
    label, of_run = tf.unique(runs.label)
    num_segments = tf.size(label)

    def sum_runs(values: tf.Tensor) -> tf.Tensor:
        return tf.math.unsorted_segment_sum(values, of_run, num_segments)

    area = sum_runs(runs.length)
    x_sum = runs.x * runs.length + runs.length * (runs.length - 1) // 2
    center = tf.stack(
        [
            _round_quotient(sum_runs(runs.y * runs.length), area),
            _round_quotient(sum_runs(x_sum), area),
        ],
        axis=1,
    )

    category = label // label_divisor
    is_void = category == ignore_label
    is_numbered = label % label_divisor != 0
    things = tf.constant(list(thing_ids), tf.int64, [len(thing_ids)])
    is_thing = tf.reduce_any(category[:, tf.newaxis] == things, axis=1)
    is_small = area < small_instance_threshold
    kind = tf.where(
        is_thing,
        tf.where(is_small, pixel_kinds.SMALL_THING, pixel_kinds.THING),
        tf.where(
            is_small,
            pixel_kinds.SMALL_STUFF_INSTANCE,
            pixel_kinds.STUFF_INSTANCE,
        ),
    )
    kind = tf.where(
        is_numbered,
        kind,
        tf.where(is_thing, pixel_kinds.CROWD, pixel_kinds.STUFF),
    )
    return _Segments(
        kind=tf.where(is_void, pixel_kinds.VOID, kind),
        category=category,
        is_instance=is_numbered & ~is_void,
        is_thing=is_thing,
        center=center,
        of_run=of_run,
    )


def _round_quotient(sums: tf.Tensor, counts: tf.Tensor) -> tf.Tensor:
    """Returns sums / counts rounded to the nearest, halves to even; int64."""
    quotient = sums // counts
    twice = 2 * (sums - quotient * counts)
    is_up = (twice > counts) | ((twice == counts) & (quotient % 2 == 1))
    return quotient + tf.cast(is_up, tf.int64)


def _draw_offsets(runs: label_runs.LabelRuns, segments: _Segments) -> tf.Tensor:
    """Draws the offsets to the centers of all segments: int32 [N], packed."""
    center_of_run = tf.gather(segments.center, segments.of_run)
    return label_runs.draw_packed_offsets(
        runs,
        dy=center_of_run[:, 0] - runs.y,
        dx=center_of_run[:, 1] - runs.x,
    )


def _number_things(
    runs: label_runs.LabelRuns, segments: _Segments, max_thing_id: int
) -> tuple[tf.Tensor, tf.Tensor]:
    """Numbers the thing instances in the order of their first pixels.

    Returns:
        int32 [N], the numbers, -1 elsewhere; float32 [max_thing_id], the
        classes.
    """
    is_numbered = segments.is_instance & segments.is_thing
    number = tf.cumsum(tf.cast(is_numbered, tf.int32)) - 1
    is_numbered &= number < max_thing_id
    number = tf.where(is_numbered, number, -1)
    mask = label_runs.draw_codes(runs, tf.gather(number, segments.of_run))
    classes = tf.cast(
        tf.boolean_mask(segments.category, is_numbered), tf.float32
    )
    padding = [[0, max_thing_id - tf.size(classes)]]
    classes = tf.pad(classes, padding, constant_values=-1.0)
    return mask, tf.ensure_shape(classes, [max_thing_id])


def _with_shape(values: tf.Tensor, shape: tf.TensorShape) -> tf.Tensor:
    """Restores static sizes that drawing loses."""
    values.set_shape(shape)
    return values
