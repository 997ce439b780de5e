# SPDX-License-Identifier: Apache-2.0
"""The result of post-processing, the same for every system."""

from typing import NamedTuple

import tensorflow as tf


class Prediction(NamedTuple):
    """Class and segment of every pixel, and a table of the segments.

    B images of H rows and W columns; S rows of the table. Shapes are static
    where those of the inputs are: the table has as many rows as there can be
    segments, and `segment_is_valid` marks those that are used. The fields of
    other rows are 0.

    Attributes:
        semantic: int32 [B, H, W], the most probable class; the ignore label
            outside of the valid part of the canvas.
        panoptic: int32 [B, H, W], category * label_divisor + instance number;
            ignore_label * label_divisor where there is no segment (void).
            None for systems without instances.
        segment_id: int32 [B, S], value in `panoptic`. It may be 0: class 0.
        segment_category: int32 [B, S], class.
        segment_score: float32 [B, S], confidence of the segment: at least 0,
            and rarely above 1, since center heatmaps have no upper bound.
        segment_area: int32 [B, S], pixels in `panoptic`.
        segment_is_valid: bool [B, S], the row is a segment.
        num_dropped: int32 [B], instances that became void because their
            class had more than label_divisor - 1 of them.
    """

    semantic: tf.Tensor
    panoptic: tf.Tensor | None
    segment_id: tf.Tensor
    segment_category: tf.Tensor
    segment_score: tf.Tensor
    segment_area: tf.Tensor
    segment_is_valid: tf.Tensor
    num_dropped: tf.Tensor

    def as_dict(self) -> dict[str, tf.Tensor]:
        """Returns the fields by name, without those that are None."""
        return {
            name: value
            for name, value in self._asdict().items()
            if value is not None
        }
