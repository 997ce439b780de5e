# SPDX-License-Identifier: Apache-2.0
"""Reads names and headers of the images in records, without pixels."""

import io

import tensorflow as tf
from PIL import Image

from deeplab2_like import errors
from deeplab2_like.data.inspection import facts as facts_lib
from deeplab2_like.data.inspection.facts import ImageFacts
from deeplab2_like.data.records import features, tfds_features
from deeplab2_like.storage import image_decoding, user_paths

_HEADER_BYTES = 12  # Length of a record, and its checksum.
_LABEL_BYTES = 4  # Of a pixel of a raw label.


def read_record(path: str, offset: int, length: int) -> bytes:
    """Reads the data of a record.

    Args:
        path: Path of a TFRecord file.
        offset: Byte at which the record begins.
        length: Bytes of its data.

    Raises:
        errors.DataError: The file cannot be read.
    """
    try:
        if user_paths.is_remote(path):
            stream = tf.io.gfile.GFile(path, "rb")
        else:
            stream = open(path, "rb")  # noqa: SIM115
        with stream:
            stream.seek(offset + _HEADER_BYTES)
            return bytes(stream.read(length))
    except (OSError, tf.errors.OpError) as error:
        raise errors.DataError(f"Cannot read {path!r}: {error}.") from error


def read_name(serialized: bytes) -> str:
    """Returns the name of the image in a record, "" where it has none."""
    try:
        return _read_name(tf.train.Example.FromString(serialized))
    except ValueError:  # Of protobuf, too.
        return ""
    except Exception:  # Kinds of errors depend on the version of protobuf.
        return ""


def _read_name(example: tf.train.Example) -> str:
    if tfds_features.IMAGE in example.features.feature:
        return tfds_features.shorten_name(
            _get_bytes(example, features.NAME).decode()
        )
    name = _get_first(example, features.NAME, tfds_features.FRAME_NAME).decode()
    sequence = _get_bytes(example, features.SEQUENCE).decode()
    return f"{sequence}/{name}" if sequence else name


def _get_bytes(example: tf.train.Example, key: str) -> bytes:
    if key not in example.features.feature:
        return b""
    values = example.features.feature[key].bytes_list.value
    return bytes(values[0]) if values else b""


def _get_first(example: tf.train.Example, *keys: str) -> bytes:
    return next(filter(None, (_get_bytes(example, key) for key in keys)), b"")


def measure(
    serialized: bytes, *, is_label_required: bool = True
) -> tuple[str, ImageFacts]:
    """Reads the headers of the image and the label of a record.

    Args:
        serialized: Data of the record.
        is_label_required: Whether a record without a label is an error.

    Returns:
        Name and size of the image; its digest is that of the encoded image.

    Raises:
        errors.DataError: The record or its image is none, or the label is
            missing or has another size.
    """
    try:
        example = tf.train.Example.FromString(serialized)
        name = _read_name(example)
    except Exception as error:  # Kinds of errors depend on the version.
        raise errors.DataError(
            "A record is not a tf.train.Example. Check that the file pattern"
            " matches record files of this package or of deeplab2 only."
        ) from error
    content = _get_first(
        example,
        features.IMAGE,
        tfds_features.IMAGE,
        tfds_features.FRAME_IMAGE,
    )
    image = image_decoding.open_image(content, f"Image {name!r}")
    if image.format not in ("JPEG", "PNG"):
        raise errors.DataError(
            f"Image {name!r} is neither a JPEG nor a PNG. Convert it, and"
            " write the records again."
        )
    _check_label(example, name, image.stored_size, is_label_required)
    return name, ImageFacts(
        image.stored_size,
        facts_lib.compute_digest(content, "file"),
        is_turned=image.orientation != 1,
    )


def _check_label(
    example: tf.train.Example,
    name: str,
    size: tuple[int, int],
    is_required: bool,
) -> None:
    """Checks that a label is there and has the size of the image."""
    label = _get_first(
        example,
        features.LABEL,
        tfds_features.PANOPTIC,
        tfds_features.LABEL_IDS,
    )
    kind = _get_bytes(example, features.LABEL_FORMAT)
    height, width = size
    if not label:
        if is_required:
            raise errors.DataError(
                f"The record of image {name!r} has no label (feature"
                f" {features.LABEL!r}), so it can be neither trained on nor"
                " scored. Use the records of another split, or write them with"
                " labels."
            )
        return
    if kind == b"raw":
        if len(label) != _LABEL_BYTES * height * width:
            raise errors.DataError(
                f"The label of image {name!r} has {len(label)} bytes but the"
                f" image of (height, width) {list(size)} needs"
                f" {_LABEL_BYTES * height * width} (one int32 a pixel). Image"
                " and label must have the same size."
            )
        return
    try:
        with Image.open(io.BytesIO(label)) as header:
            found = header.height, header.width
    except Exception as error:  # Decoders raise a dozen kinds.
        raise errors.DataError(
            f"The label of image {name!r} is not a PNG although its record"
            " says so. Write the records again."
        ) from error
    if found != size:
        raise errors.DataError(
            f"Image {name!r} has the (height, width) {list(size)} but its"
            f" label has {list(found)}. The two must be equal."
        )
