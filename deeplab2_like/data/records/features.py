# SPDX-License-Identifier: Apache-2.0
"""One labeled image as a tf.train.Example, with deeplab2's features.

In reading order: the feature names, `encode_example` (host) and
`parse_example` (graph; the module `decoding` decodes its result). The label is
a panoptic map, class * label_divisor + instance, stored as raw little-endian
int32; a data set with classes only may store them as a greyscale PNG. Records
of a test split have no label.
"""

import io
import os
from collections.abc import Mapping

import numpy as np
import tensorflow as tf
from PIL import Image

from deeplab2_like import errors
from deeplab2_like.data.records import tfds_features

IMAGE = "image/encoded"
NAME = "image/filename"
IMAGE_FORMAT = "image/format"
HEIGHT = "image/height"
WIDTH = "image/width"
CHANNELS = "image/channels"
LABEL = "image/segmentation/class/encoded"
LABEL_FORMAT = "image/segmentation/class/format"
# Frames of videos only: their names repeat from one sequence to the next.
SEQUENCE = "video/sequence_id"
FRAME = "video/frame_id"
# Features that are read; all are text.
TEXTS = (IMAGE, NAME, SEQUENCE, LABEL, LABEL_FORMAT)


def _bytes_feature(value: bytes) -> tf.train.Feature:
    return tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))


def _int_feature(value: int) -> tf.train.Feature:
    return tf.train.Feature(int64_list=tf.train.Int64List(value=[value]))


def _check_label(
    label: np.ndarray, name: str, size: tuple[int, int], limit: int
) -> None:
    if label.shape != size:
        raise errors.DataError(
            f"Image {name!r} is {size[0]}x{size[1]} (height x width) but its"
            f" label has the shape {list(label.shape)}. The two must be equal."
        )
    if label.dtype.kind not in "iu":
        raise errors.DataError(
            f"The label of image {name!r} has the type {label.dtype}; it must"
            " be an integer type."
        )
    if label.size and (label.min() < 0 or label.max() > limit):
        raise errors.DataError(
            f"The label of image {name!r} has values from {label.min()} to"
            f" {label.max()}; 0 to {limit} can be stored."
        )


def _encode_png(label: np.ndarray) -> bytes:
    dtype = np.uint8 if label.max(initial=0) <= 255 else np.uint16
    stream = io.BytesIO()
    Image.fromarray(label.astype(dtype)).save(stream, format="PNG")
    return stream.getvalue()


def encode_name(name: str) -> bytes:
    """Encodes the name of an image or a video.

    Raises:
        errors.DataError: It is no text: names of files may have any bytes.
    """
    try:
        return name.encode()
    except UnicodeEncodeError:
        raise errors.DataError(
            f"The name {name!a} has bytes that are no UTF-8. Rename the file."
        ) from None


def encode_example(
    *,
    name: str,
    image: bytes,
    image_format: str,
    size: tuple[int, int],
    panoptic: np.ndarray | None = None,
    semantic: np.ndarray | None = None,
    sequence: str = "",
) -> bytes:
    """Encodes one image and its label as a serialized tf.train.Example.

    deeplab2: `data/data_utils.py`, the same features.

    Args:
        name: Name of the image in messages, predictions and metrics.
        image: Content of a JPEG or PNG file.
        image_format: "jpeg" or "png".
        size: (height, width) of the image, pixels.
        panoptic: int [H, W], class * label_divisor + instance.
        semantic: int [H, W], classes, for data without instances. At most one
            of `panoptic` and `semantic` is given, neither for a test split.
        sequence: Name of the video that the image is a frame of; the id of
            the frame is its name without extension.

    Returns:
        The serialized record.

    Raises:
        errors.DataError: The label has a wrong size, type or range, or a name
            is no text.
        ValueError: Both labels are given, or the format is not known.
    """
    if image_format not in ("jpeg", "png"):
        raise ValueError(f"image_format is {image_format!r}, not jpeg or png.")
    if panoptic is not None and semantic is not None:
        raise ValueError("Give a panoptic or a semantic label, not both.")
    features = {
        IMAGE: _bytes_feature(image),
        NAME: _bytes_feature(encode_name(name)),
        IMAGE_FORMAT: _bytes_feature(image_format.encode()),
        HEIGHT: _int_feature(size[0]),
        WIDTH: _int_feature(size[1]),
        CHANNELS: _int_feature(3),
    }
    if sequence:
        features[SEQUENCE] = _bytes_feature(encode_name(sequence))
        frame = os.path.splitext(name)[0]
        features[FRAME] = _bytes_feature(encode_name(frame))
    if panoptic is not None:
        _check_label(panoptic, name, size, 2**31 - 1)
        features[LABEL] = _bytes_feature(
            panoptic.astype("<i4", copy=False).tobytes()
        )
        features[LABEL_FORMAT] = _bytes_feature(b"raw")
    if semantic is not None:
        _check_label(semantic, name, size, 2**16 - 1)
        features[LABEL] = _bytes_feature(_encode_png(semantic))
        features[LABEL_FORMAT] = _bytes_feature(b"png")
    example = tf.train.Example(features=tf.train.Features(feature=features))
    return example.SerializeToString(deterministic=True)


def parse_example(serialized: tf.Tensor) -> dict[str, tf.Tensor]:
    """Parses a record; the image and the label stay encoded.

    Records of TensorFlow Datasets are parsed too; see `tfds_features`.

    Features of videos other than the sequence (deeplab2: neighboring frames,
    depth) are ignored.

    Args:
        serialized: string scalar.

    Returns:
        string scalars: "name", for a frame of a video "sequence/name", ""
        where the record has none; "image"; "label", "" where the record has
        none; "label_format". And "segments" of `tfds_features.merge`.
    """
    text = tf.io.FixedLenFeature([], tf.string, default_value="")
    parsed = tf.io.parse_single_example(
        serialized, dict.fromkeys(TEXTS, text) | tfds_features.FEATURES
    )
    return tfds_features.merge(take_texts(parsed), parsed)


def take_texts(parsed: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    """Names what was parsed of a record of this package or of deeplab2.

    Args:
        parsed: string scalars by the names of `TEXTS`.

    Returns:
        See `parse_example`; without segments.
    """
    name, sequence = parsed[NAME], parsed[SEQUENCE]
    is_frame = tf.strings.length(sequence) > 0
    return {
        "name": tf.where(is_frame, sequence + "/" + name, name),
        "image": parsed[IMAGE],
        "label": parsed[LABEL],
        "label_format": parsed[LABEL_FORMAT],
    }
