# SPDX-License-Identifier: Apache-2.0
"""Post-processing of EfficientPS: class logits and mask logits to segments.

Objects come from Mask R-CNN, as boxes with a small mask each, or from SOLOv2,
as cells whose kernels make a mask of the whole image.

B images; h, w: size of the class logits; H, W: size of the result; D objects
that there can be; C classes.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import tensorflow as tf

from deeplab2_like.graph import compilation
from deeplab2_like.graph.compilation import Size
from deeplab2_like.postprocess import batch, options
from deeplab2_like.postprocess.masks import (
    fusion,
    fusion_masks,
    solov2_decoding,
)
from deeplab2_like.postprocess.masks.pasting import TILE
from deeplab2_like.postprocess.objects import Cells, Objects
from deeplab2_like.postprocess.pixels import channels, semantic
from deeplab2_like.postprocess.prediction import Prediction

# Stride of the masks of cells.
_MASK_STRIDE = 4


def postprocess(
    semantic_logits_bhwc: tf.Tensor | None,
    objects: Objects,
    *,
    canvas_size: batch.CanvasSize,
    valid_size: tf.Tensor | None = None,
    class_rules: options.ClassRules,
    fusion_rules: options.FusionRules,
    channel_classes: Sequence[int] | None = None,
    frames_bd4: tf.Tensor | None = None,
) -> Prediction:
    """Fuses the objects of Mask R-CNN and classes to segments.

    The score of a thing is that of its detection, that of stuff the mean
    probability of its class. Pixels that no instance wins have their most
    probable class, and are void if that is a thing, or stuff of too few
    pixels.

    Args:
        semantic_logits_bhwc: As in `panoptic_fpn.postprocess`.
        objects: Objects of the instance branch; masks are *logits*.
        canvas_size: As in `panoptic_fpn.postprocess`.
        valid_size: As in `semantic_only.postprocess`.
        class_rules: The classes.
        fusion_rules: Which objects become instances.
        channel_classes: As in `panoptic_fpn.postprocess`.
        frames_bd4: float [B, D, 4], the rectangle that each mask fills, as
            (y1, x1, y2, x2). If None, that is its box.

    Raises:
        ConfigError: The semantic branch has another number of channels.
    """
    objects = objects.as_tensors()
    if frames_bd4 is None:
        frames_bd4 = objects.boxes
    logits, classes = _read_logits(
        semantic_logits_bhwc, objects.score, class_rules, channel_classes
    )
    task = _Task(
        batch.unpack_size(canvas_size), class_rules, fusion_rules, classes
    )

    def process(valid_size: tf.Tensor, *inputs: tf.Tensor) -> batch.Fields:
        *found, frames, logits_hwc = inputs
        return _fuse(Objects(*found), frames, logits_hwc, valid_size, task)

    frames = tf.cast(frames_bd4, tf.float32)
    return _map_images(
        process,
        [*objects, frames, logits],
        valid_size,
        task,
        objects.score.shape[1],
    )


def postprocess_cells(
    semantic_logits_bhwc: tf.Tensor | None,
    cells: Cells,
    *,
    canvas_size: batch.CanvasSize,
    valid_size: tf.Tensor | None = None,
    class_rules: options.ClassRules,
    fusion_rules: options.FusionRules,
    cell_rules: options.CellRules,
    channel_classes: Sequence[int] | None = None,
) -> Prediction:
    """Fuses the objects of SOLOv2 and classes to segments.

    As `postprocess`. The boxes are those around the masks.

    Args:
        semantic_logits_bhwc: As in `postprocess`.
        cells: Outputs of the head.
        canvas_size: As in `postprocess`.
        valid_size: As in `postprocess`.
        class_rules: The classes.
        fusion_rules: Which objects become instances.
        cell_rules: Which cells become objects.
        channel_classes: As in `postprocess`.

    Raises:
        ConfigError: The semantic branch has another number of channels.
    """
    cells = cells.as_tensors()
    logits, classes = _read_logits(
        semantic_logits_bhwc, cells.logits, class_rules, channel_classes
    )
    task = _Task(
        batch.unpack_size(canvas_size), class_rules, fusion_rules, classes
    )

    def process(valid_size: tf.Tensor, *inputs: tf.Tensor) -> batch.Fields:
        found = solov2_decoding.find_objects(
            solov2_decoding.compute_probabilities(inputs[0], cell_rules.grids),
            inputs[1],
            inputs[2],
            (valid_size + _MASK_STRIDE - 1) // _MASK_STRIDE,
            cell_rules,
        )
        boxes, frames = place_masks(found, task.size)
        things = tf.constant(class_rules.thing_ids, tf.int32)
        objects = Objects(
            boxes,
            tf.gather(things, found.category),
            found.score,
            found.is_valid,
            found.logits,
        )
        # Places of the pixels of a tile, one more for rounding, and the upper
        # neighbors.
        reach = TILE // _MASK_STRIDE + 3
        return _fuse(objects, frames, inputs[3], valid_size, task, reach)

    return _map_images(
        process, [*cells, logits], valid_size, task, cell_rules.max_objects
    )


def _read_logits(
    logits_bhwc: tf.Tensor | None,
    outputs: tf.Tensor,
    class_rules: options.ClassRules,
    channel_classes: Sequence[int] | None,
) -> tuple[tf.Tensor, tuple[int, ...]]:
    """Returns class logits, float32 [B, h, w, channels], and their classes.

    Args:
        logits_bhwc: As in `postprocess`. If None, the result is one channel of
            zeros, of a thing, which are neither for nor against a mask.
        outputs: [B, ...], an output of the instance branch.
        class_rules: The classes.
        channel_classes: As in `postprocess`.
    """
    if logits_bhwc is None:
        number = compilation.sizes(outputs)[0]
        return tf.zeros([number, 1, 1, 1]), tuple(class_rules.thing_ids[:1])
    logits = tf.cast(logits_bhwc, tf.float32)
    return logits, channels.find_channel_classes(
        logits, class_rules, channel_classes
    )


class _Task(NamedTuple):
    """Size, rules and channels: the same for every image.

    Attributes:
        size: (H, W).
        class_rules: The classes.
        fusion_rules: Which objects become instances.
        channel_classes: Class of each channel of the class logits.
    """

    size: tuple[Size, Size]
    class_rules: options.ClassRules
    fusion_rules: options.FusionRules
    channel_classes: tuple[int, ...]


def place_masks(
    found: solov2_decoding.GridObjects, size: tuple[Size, Size]
) -> tuple[tf.Tensor, tf.Tensor]:
    """Finds where masks at stride 4 are in the image.

    As the training targets (`targets.grid_cells.shrink_instances`): with a
    quarter of the pixels of the image, those of a mask are in the middle of 4
    pixels of the image; else at every fourth one.

    Args:
        found: Objects; masks [D, h, w].
        size: (H, W).

    Returns:
        float32 [D, 4], the boxes: wider by half a pixel of a mask than the
        pixels above the threshold, because the interpolated mask reaches
        beyond them; float32 [D, 4], the rectangles that the masks fill.
    """
    starts, ends = [], []
    for axis, side in enumerate(size):
        number = tf.shape(found.logits)[axis + 1]
        start = tf.where(
            number * _MASK_STRIDE == side, 0.0, 0.5 - _MASK_STRIDE / 2
        )
        starts.append(start)
        extent = tf.cast(number * _MASK_STRIDE, tf.float32)
        ends.append(start + extent)
    frame = tf.stack([*starts, *ends])
    half = _MASK_STRIDE / 2
    boxes = found.boxes * float(_MASK_STRIDE) + tf.stack(starts * 2)
    boxes += tf.constant([-half, -half, half, half])
    is_empty = found.boxes[:, 2:3] <= found.boxes[:, :1]
    boxes = tf.where(is_empty, 0.0, boxes)
    return boxes, tf.broadcast_to(frame, tf.shape(boxes))


def _fuse(
    found: Objects,
    frames: tf.Tensor,
    logits_hwc: tf.Tensor,
    valid_size: tf.Tensor,
    task: _Task,
    reach: int | None = None,
) -> batch.Fields:
    """Makes the fields of a `Prediction` for one image."""
    class_rules, channel_classes = task.class_rules, task.channel_classes
    classes = semantic.compute_semantic_map(
        semantic.Scores(logits_hwc), task.size, valid_size[0]
    )
    stuff = channels.list_stuff_channels(channel_classes, class_rules)
    if stuff:
        best = semantic.compute_largest(
            tf.gather(logits_hwc, stuff, axis=-1), task.size, valid_size[0]
        )
    else:
        # Logits of things alone do not show where none is. Masks have to claim
        # more than 0 then, whatever their classes.
        best = tf.zeros(tf.stack(task.size))
        logits_hwc = tf.zeros_like(logits_hwc)
    channel = channels.find_class_channels(channel_classes, class_rules)
    masks = fusion_masks.FusionMasks(
        logits=found.masks,
        frames=frames,
        boxes=found.boxes,
        channel=tf.gather(channel, found.category),
        score=tf.where(found.is_valid, found.score, float("-inf")),
        reach=reach,
    )
    placed = fusion.fuse_masks(
        masks, logits_hwc, best, valid_size, task.fusion_rules
    )
    return batch.segment_known(
        classes,
        channels.name_channels(classes.category, channel_classes),
        placed.instance,
        batch.mask_valid(task.size, valid_size),
        found.category,
        found.score,
        class_rules,
    )


def _map_images(
    process: Callable[..., batch.Fields],
    inputs: Sequence[tf.Tensor],
    valid_size: tf.Tensor | None,
    task: _Task,
    max_objects: int,
) -> Prediction:
    """Processes the images of a batch, one after the other."""
    description = batch.describe(task.size, task.class_rules, max_objects)
    return Prediction(
        **batch.map_images(process, inputs, valid_size, task.size, description)
    )
