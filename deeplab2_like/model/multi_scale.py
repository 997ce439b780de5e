# SPDX-License-Identifier: Apache-2.0
"""Test-time averages over scaled and mirrored views of an image.

deeplab2: `eval_scales` and `add_flipped_images`. In reading order: `View`,
`make_views`, `average_views` and its two halves, `make_view` and `undo_view`.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import tensorflow as tf

from deeplab2_like.model.layers.resize import (
    resize_align_corners,
    scaled_size,
    spatial_size,
)
from deeplab2_like.model.outputs import Output, resize_outputs

ComputeOutputs = Callable[[tf.Tensor, float], Mapping[str, tf.Tensor]]


class View(NamedTuple):
    """A view of an image: its scale, and whether it is mirrored.

    Attributes:
        scale: Factor by which the image is enlarged, corners on corners.
        is_mirrored: Whether left and right are then exchanged.
    """

    scale: float = 1.0
    is_mirrored: bool = False


def make_views(scales: Sequence[float], add_mirrored: bool) -> tuple[View, ...]:
    """Returns the views of each scale; scale 1 where none is given."""
    mirrored = (False, True) if add_mirrored else (False,)
    return tuple(
        View(scale, is_mirrored)
        for scale in scales or [1.0]
        for is_mirrored in mirrored
    )


def average_views(
    compute_outputs: ComputeOutputs,
    images_bhw3: tf.Tensor,
    views: Sequence[View],
    *,
    keep_logits: bool = True,
) -> dict[str, tf.Tensor]:
    """Averages the outputs of a model over several views of images.

    As in deeplab2, logits, probabilities, center heatmap and offsets are each
    averaged at the size of the images. The views are computed one after the
    other and added up, so that only the maps of one view and the sums are in
    memory. The outputs of a single unmirrored view stay as they are.

    Args:
        compute_outputs: Function that returns the outputs of a model
            (`Output`) for images of a view and its scale.
        images_bhw3: uint8 or float32 [B, H, W, 3].
        views: Views to average, at least one.
        keep_logits: Whether the averaged logits are returned too; only losses
            need them.

    Returns:
        float32 [B, H, W, ...] under the names of `Output`, semantic_probs in
        place of or besides semantic_logits; of a single unmirrored view the
        outputs at head resolution.
    """
    if len(views) == 1 and not views[0].is_mirrored:
        images = make_view(images_bhw3, views[0])
        return dict(compute_outputs(images, views[0].scale))
    size = spatial_size(images_bhw3)
    sums: dict[str, tf.Tensor] = {}
    for view in views:
        # Without this a graph computes all views at once.
        with tf.control_dependencies(list(sums.values())):
            images = make_view(tf.identity(images_bhw3), view)
        maps = undo_view(compute_outputs(images, view.scale), view, size)
        logits = maps[Output.SEMANTIC_LOGITS.value]
        maps[Output.SEMANTIC_PROBS.value] = tf.nn.softmax(logits)
        if not keep_logits:
            del maps[Output.SEMANTIC_LOGITS.value]
        sums = {
            name: sums[name] + value if sums else value
            for name, value in maps.items()
        }
    return {name: total / len(views) for name, total in sums.items()}


def make_view(images_bhw3: tf.Tensor, view: View) -> tf.Tensor:
    """Returns the images of a view.

    Args:
        images_bhw3: uint8 or float32 [B, H, W, 3].
        view: Scale and mirroring.

    Returns:
        [B, h, w, 3], h = int((H - 1) * scale + 1); float32 where the scale is
        not 1.
    """
    images = images_bhw3
    if view.scale != 1.0:
        size = scaled_size(spatial_size(images), view.scale)
        images = resize_align_corners(tf.cast(images, tf.float32), size)
    return tf.reverse(images, [2]) if view.is_mirrored else images


def undo_view(
    outputs: Mapping[str, tf.Tensor], view: View, size
) -> dict[str, tf.Tensor]:
    """Returns the outputs of a view as those of the whole image.

    Args:
        outputs: Outputs of a model (`Output`), at any size.
        view: View that the outputs belong to.
        size: (height, width) of the images, Python numbers or int32 scalars.

    Returns:
        float32 [B, height, width, ...]; offsets in pixels of this size.
    """
    maps = dict(outputs)
    if view.is_mirrored:
        maps = {name: tf.reverse(value, [2]) for name, value in maps.items()}
        if Output.OFFSET_MAP in maps:
            maps[Output.OFFSET_MAP.value] *= [1.0, -1.0]
    resized = resize_outputs(maps, size)
    if Output.CENTER_HEATMAP in resized:
        heatmap_bhw = resized[Output.CENTER_HEATMAP.value]
        resized[Output.CENTER_HEATMAP.value] = heatmap_bhw[..., tf.newaxis]
    return resized
