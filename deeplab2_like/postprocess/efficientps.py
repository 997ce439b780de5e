# SPDX-License-Identifier: Apache-2.0
"""Post-processing of EfficientPS: class logits and mask logits to segments.

Objects come from Mask R-CNN, as boxes with a small mask each, or from SOLOv2,
as cells whose kernels make a mask of the whole image.

Only operations that XLA compiles for CPU, GPU and TPU; shapes are static
where those of the inputs are. Images of a batch are handled one after the
other, so that the memory is that of one image.

B images; h, w: size of the class logits; H, W: size of the result; D objects
that there can be; C classes.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from deeplab2_like.graph.compilation import Size
from deeplab2_like.postprocess import batch, options
from deeplab2_like.postprocess.masks import (
    fusion,
    fusion_masks,
    solov2_decoding,
)
from deeplab2_like.postprocess.masks.pasting import TILE
from deeplab2_like.postprocess.panoptic_fpn import Objects, name_channels
from deeplab2_like.postprocess.pixels import semantic
from deeplab2_like.postprocess.prediction import Prediction

# Of the masks of cells.
_MASK_STRIDE = 4


@dataclasses.dataclass(frozen=True)
class Task:
    """What there is to be done, the same for every image.

    Attributes:
        channel_classes: Class that each channel of the class logits stands
            for. A channel for all things together has any one of them.
        size: (H, W). The class logits are upsampled to it bilinearly with
            aligned corners.
        class_rules: The classes.
        fusion_rules: Which objects become instances.
    """

    channel_classes: Sequence[int]
    size: tuple[Size, Size]
    class_rules: options.ClassRules
    fusion_rules: fusion_masks.FusionRules

    @property
    def stuff_channels(self) -> list[int]:
        """Channels that stand for no things."""
        return [
            channel
            for channel, category in enumerate(self.channel_classes)
            if category not in self.class_rules.thing_ids
        ]

    @property
    def class_channels(self) -> np.ndarray:
        """int32 [C], the channel of each class: things may share one."""
        channels = list(self.channel_classes)
        things = self.class_rules.thing_ids
        shared = [i for i, c in enumerate(channels) if c in things]
        return np.array(
            [
                channels.index(c) if c in channels else (shared or [0])[0]
                for c in range(self.class_rules.num_classes)
            ],
            np.int32,
        )


class Cells(NamedTuple):
    """What the head of SOLOv2 gives.

    Attributes:
        logits: float [B, G, T], of the T thing classes in their order.
        kernels: float [B, G, E].
        features: float [B, h, w, E], at stride 4.
    """

    logits: tf.Tensor
    kernels: tf.Tensor
    features: tf.Tensor


def postprocess(
    logits_bhwc: tf.Tensor,
    objects: Objects,
    task: Task,
    *,
    valid_size: tf.Tensor | None,
    frames_bd4: tf.Tensor | None = None,
) -> Prediction:
    """Fuses the objects of Mask R-CNN and classes to segments.

    The score of a thing is that of its detection, that of stuff the mean
    probability of its class. What no instance wins is of its most probable
    class: void if that is a thing, or stuff of too few pixels.

    Args:
        logits_bhwc: float [B, h, w, channels].
        objects: What the instance branch found; its masks are *logits*.
        task: Classes, size and rules.
        valid_size: int32 [B, 2], (height, width) of the top left part that is
            image. The rest is void and counts for nothing. None: all is.
        frames_bd4: float32 [B, D, 4], where each mask lies, if not in its box.
    """

    def process(valid_size: tf.Tensor, *inputs: tf.Tensor) -> batch.Fields:
        *found, frames, logits_hwc = inputs
        return _fuse(Objects(*found), frames, logits_hwc, valid_size, task)

    frames = objects.boxes if frames_bd4 is None else frames_bd4
    return _map_images(
        process,
        [*objects, frames, tf.cast(logits_bhwc, tf.float32)],
        valid_size,
        task,
        objects.score.shape[1],
    )


def postprocess_cells(
    logits_bhwc: tf.Tensor,
    cells: Cells,
    task: Task,
    grid_rules: solov2_decoding.GridObjectRules,
    *,
    valid_size: tf.Tensor | None,
) -> Prediction:
    """Fuses the objects of SOLOv2 and classes to segments.

    As `postprocess`. The boxes are those around the masks.

    Args:
        logits_bhwc: float [B, h, w, channels].
        cells: What the head gives.
        task: Classes, size and rules.
        grid_rules: Which cells are objects.
        valid_size: As in `postprocess`.
    """

    def process(valid_size: tf.Tensor, *inputs: tf.Tensor) -> batch.Fields:
        found = solov2_decoding.find_objects(
            solov2_decoding.compute_probabilities(inputs[0], grid_rules.grids),
            inputs[1],
            inputs[2],
            (valid_size + _MASK_STRIDE - 1) // _MASK_STRIDE,
            grid_rules,
        )
        boxes, frames = place_masks(found, task.size)
        things = tf.constant(task.class_rules.thing_ids, tf.int32)
        objects = Objects(
            boxes,
            tf.gather(things, found.category),
            found.score,
            found.is_valid,
            found.logits,
        )
        # Of 64 pixels, with one more for rounding, and the upper neighbor.
        reach = TILE // _MASK_STRIDE + 3
        return _fuse(objects, frames, inputs[3], valid_size, task, reach)

    inputs = [tf.cast(x, tf.float32) for x in (*cells, logits_bhwc)]
    return _map_images(
        process, inputs, valid_size, task, grid_rules.max_objects
    )


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
        float32 [D, 4], the boxes, wider by half a pixel of a mask than what is
        above the threshold there, because the interpolated mask reaches
        beyond; float32 [D, 4], what the masks fill.
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
    task: Task,
    reach: int | None = None,
) -> batch.Fields:
    """Makes the fields of a `Prediction` for one image."""
    classes = semantic.compute_semantic_map(
        semantic.Scores(logits_hwc, False), task.size, valid_size[0]
    )
    stuff = task.stuff_channels
    if stuff:
        best = semantic.compute_largest(
            tf.gather(logits_hwc, stuff, axis=-1), task.size, valid_size[0]
        )
    else:
        # A mask has to be more than nothing then, whatever its class: logits
        # of things alone say nothing of where none is.
        best = tf.zeros(tf.stack(task.size))
        logits_hwc = tf.zeros_like(logits_hwc)
    masks = fusion_masks.FusionMasks(
        logits=found.masks,
        frames=frames,
        boxes=found.boxes,
        channel=tf.gather(task.class_channels, found.category),
        score=tf.where(found.is_valid, found.score, float("-inf")),
        reach=reach,
    )
    placed = fusion.fuse_masks(
        masks, logits_hwc, best, valid_size, task.fusion_rules
    )
    return batch.segment_known(
        classes,
        name_channels(classes.category, task.channel_classes),
        placed.instance,
        batch.mask_valid(task.size, valid_size),
        found.category,
        found.score,
        task.class_rules,
    )


def _map_images(
    process: Callable[..., batch.Fields],
    inputs: Sequence[tf.Tensor],
    valid_size: tf.Tensor | None,
    task: Task,
    max_objects: int,
) -> Prediction:
    """Processes the images of a batch, one after the other."""
    fields = batch.map_images(
        process,
        inputs,
        valid_size,
        task.size,
        batch.describe(
            task.size,
            task.class_rules,
            options.CenterRules(0.0, 1, max_objects),
        ),
    )
    return Prediction(**fields)
