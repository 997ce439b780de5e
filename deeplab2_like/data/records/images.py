# SPDX-License-Identifier: Apache-2.0
"""Decodes the images of records, in the graph.

Pixels are those that the file stores, whatever its EXIF orientation: the label
of the record is drawn on them. See `decoding` for whole records.
"""

from collections.abc import Callable

import tensorflow as tf

from deeplab2_like.data.records import features as record_features
from deeplab2_like.graph import checks

PNG_START = b"\x89PNG\r\n\x1a\n"
PNG_BIT_DEPTH_BYTE = 24
_JPEG_START = b"\xff\xd8\xff"
_MAX_BITS = 8


def starts_with(encoded: tf.Tensor, start: bytes) -> tf.Tensor:
    """Returns whether the bytes of a file begin so: a bool scalar."""
    return tf.strings.substr(encoded, 0, len(start)) == start


def read_png_byte(encoded: tf.Tensor, position: int) -> tf.Tensor:
    """Reads one byte of a file that is long enough: an int32 scalar."""
    byte = tf.strings.substr(encoded, position, 1)
    return tf.cast(tf.io.decode_raw(byte, tf.uint8)[0], tf.int32)


def decode_or_empty(
    decode: Callable[[tf.Tensor], tf.Tensor], encoded: tf.Tensor, channels: int
) -> tf.Tensor:
    """Decodes a file; the result is empty where that fails.

    A graph cannot catch errors, but a data set may ignore them.

    Args:
        decode: Function from a string scalar to [H, W, channels].
        encoded: string scalar, the bytes of the file.
        channels: Channels of the result.

    Returns:
        The result of `decode`, or [0, 0, channels].
    """
    decoded = tf.data.Dataset.from_tensors(encoded).map(decode).ignore_errors()
    empty = tf.zeros([0, 0, channels], decoded.element_spec.dtype)
    either = decoded.concatenate(tf.data.Dataset.from_tensors(empty))
    found = either.take(1).get_single_element()
    return tf.ensure_shape(found, [None, None, channels])


def check_not_empty(
    decoded: tf.Tensor, what: str, name: tf.Tensor, allows_damage: bool
) -> tf.Tensor:
    """Returns the check that `decode_or_empty` succeeded.

    Args:
        decoded: Result of `decode_or_empty`.
        what: Kind of the file, the first words of the message.
        name: string scalar, the image in messages.
        allows_damage: Whether the check always passes.
    """
    return checks.check(
        (tf.size(decoded) > 0) | allows_damage,
        lambda: checks.sentence(
            f"{what} '",
            name,
            "' is damaged or incomplete and cannot be decoded. Write its record"
            " again, or leave such images out of training with"
            " train_dataset_options { on_damage: SKIP }.",
        ),
    )


def decode_image(
    encoded: tf.Tensor, name: tf.Tensor, *, allows_damage: bool = False
) -> tf.Tensor:
    """Decodes a JPEG or PNG to RGB.

    Greyscale is repeated, a palette is applied, alpha is dropped and CMYK is
    converted.

    Args:
        encoded: string scalar, the bytes of the file.
        name: string scalar, the image in messages.
        allows_damage: Whether a damaged file is no error but gives an image
            without pixels.

    Returns:
        uint8 [H, W, 3].

    Raises:
        tf.errors.InvalidArgumentError: The file is neither a JPEG nor a PNG,
            has more than 8 bits a channel, or is damaged; see
            `graph_errors.as_data_error`.
    """
    is_png = starts_with(encoded, PNG_START)
    is_known = is_png | starts_with(encoded, _JPEG_START)

    def describe() -> tf.Tensor:
        return tf.where(
            tf.strings.length(encoded) == 0,
            checks.sentence(
                "The record of image '",
                name,
                f"' has no image: its feature {record_features.IMAGE!r} is"
                " missing or empty.",
            ),
            checks.sentence(
                "Image '",
                name,
                "' is neither a JPEG nor a PNG. Convert it, and write the"
                " records again.",
            ),
        )

    def read_bits() -> tf.Tensor:
        return read_png_byte(encoded, PNG_BIT_DEPTH_BYTE)

    has_bits = is_png & (tf.strings.length(encoded) > PNG_BIT_DEPTH_BYTE)
    bits = tf.cond(has_bits, read_bits, lambda: tf.constant(_MAX_BITS))
    is_byte = checks.check(
        bits <= _MAX_BITS,
        lambda: checks.sentence(
            "Image '",
            name,
            "' has more than 8 bits a channel (",
            bits,
            " bits), and which of them are in use is not known. Scale it to 8"
            " bits first, and write the records again.",
        ),
    )
    with checks.after(checks.check(is_known, describe), is_byte):
        image = decode_or_empty(
            lambda data: tf.ensure_shape(
                tf.io.decode_image(data, channels=3, expand_animations=False),
                [None, None, 3],
            ),
            tf.identity(encoded),
            3,
        )
    is_good = check_not_empty(image, "Image", name, allows_damage)
    with checks.after(is_good):
        return tf.identity(image)
