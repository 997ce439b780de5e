# SPDX-License-Identifier: Apache-2.0
"""The features of records as TensorFlow Datasets writes them, in the graph.

Two forms are read. `coco/2017_panoptic`: an image, a PNG of segment ids and the
table of the segments. `cityscapes`: an image and the PNG of the ids of labels.
`tfds_labels` decodes their labels.
"""

import re

import tensorflow as tf

COCO, CITYSCAPES = "tfds coco", "tfds cityscapes"
SEGMENTS = "segments"

IMAGE = "image"
PANOPTIC = "panoptic_image"
SEGMENT_ID = "panoptic_objects/id"
SEGMENT_CLASS = "panoptic_objects/label"
SEGMENT_CROWD = "panoptic_objects/is_crowd"
FRAME_NAME = "image_id"
FRAME_IMAGE = "image_left"
LABEL_IDS = "segmentation_label"

# Names of COCO's images end so; those of records here do not.
_ENDING = r"\.jpe?g$"
_TEXT = tf.io.FixedLenFeature([], tf.string, default_value="")
_NUMBERS = tf.io.FixedLenSequenceFeature([], tf.int64, allow_missing=True)
FEATURES = {
    IMAGE: _TEXT,
    PANOPTIC: _TEXT,
    SEGMENT_ID: _NUMBERS,
    SEGMENT_CLASS: _NUMBERS,
    SEGMENT_CROWD: _NUMBERS,
    FRAME_NAME: _TEXT,
    FRAME_IMAGE: _TEXT,
    LABEL_IDS: _TEXT,
}


def shorten_name(name: str) -> str:
    """Returns the name of an image of COCO as records here have it."""
    return re.sub(_ENDING, "", name)


def is_kind(label_format: tf.Tensor) -> tf.Tensor:
    """Returns whether the format of a label, string [], is one of TFDS."""
    return (label_format == COCO) | (label_format == CITYSCAPES)


def merge(
    own: dict[str, tf.Tensor], parsed: dict[str, tf.Tensor]
) -> dict[str, tf.Tensor]:
    """Takes the features of TFDS where a record is one of these.

    Args:
        own: "name", "image", "label", "label_format" of a record of ours;
            empty in one of TFDS, except for the name of COCO's.
        parsed: The tensors of `FEATURES`.

    Returns:
        `own` of the record, and "segments", int64 [N, 3]: id, class of TFDS,
        and whether it is a crowd.
    """
    is_coco = tf.strings.length(parsed[IMAGE]) > 0
    is_frame = tf.strings.length(parsed[FRAME_IMAGE]) > 0

    def take(coco: tf.Tensor, frame: tf.Tensor, other: tf.Tensor) -> tf.Tensor:
        # tf.where would copy the files.
        return tf.cond(
            is_coco,
            lambda: tf.identity(coco),
            lambda: tf.cond(
                is_frame, lambda: tf.identity(frame), lambda: other
            ),
        )

    short = tf.strings.regex_replace(own["name"], _ENDING, "")
    return {
        "name": take(short, parsed[FRAME_NAME], own["name"]),
        "image": take(parsed[IMAGE], parsed[FRAME_IMAGE], own["image"]),
        "label": take(parsed[PANOPTIC], parsed[LABEL_IDS], own["label"]),
        "label_format": take(
            tf.constant(COCO), tf.constant(CITYSCAPES), own["label_format"]
        ),
        SEGMENTS: tf.stack(
            [
                parsed[SEGMENT_ID],
                parsed[SEGMENT_CLASS],
                parsed[SEGMENT_CROWD],
            ],
            axis=-1,
        ),
    }
