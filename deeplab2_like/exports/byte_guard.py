# SPDX-License-Identifier: Apache-2.0
"""Decodes untrusted images in the graph, after checking their headers.

A file of a few kilobytes can decode to gigabytes. So only JPEG and PNG are
decoded, and only if the size in the header is allowed. Images are turned
upright as their EXIF orientation says. Messages contain sizes
and numbers, never bytes of the file, which Python's TensorFlow client fails to
decode.
"""

import tensorflow as tf

from deeplab2_like.exports import orientation as orientation_lib
from deeplab2_like.graph import checks

_JPEG_START = b"\xff\xd8\xff"
_JPEG_SCAN = b"\xff\xda"
_PNG_START = b"\x89PNG\r\n\x1a\n"
_PNG_SIZE_BYTE = 16  # IHDR comes first: length, name, width, height.
_PNG_BIT_DEPTH_BYTE = 24
_PNG_HEADER_BYTES = 33
_MAX_BITS = 8
# A progressive JPEG may have any number of scans, each as much work as the
# whole image. Encoders write about 10.
MAX_SCANS = 40


def check_size(count: tf.Tensor, size: tf.Tensor, max_pixels: int) -> tf.Tensor:
    """Checks that a request is neither empty nor too large.

    Args:
        count: Integer scalar, the number of images.
        size: Integers [2], their height and width.
        max_pixels: Most pixels of all images together.

    Returns:
        bool scalar; see `graph.checks.check`.
    """
    sides = tf.concat([[count], size], axis=0)
    sides = tf.cast(sides, tf.int64)
    # Each is limited first, because products of sizes may overflow.
    is_good = tf.reduce_all((sides > 0) & (sides <= max_pixels))
    sides = tf.where(is_good, sides, 1)
    is_good &= sides[1] * sides[2] <= max_pixels
    sides = tf.where(is_good, sides, 1)
    is_good &= tf.reduce_prod(sides) <= max_pixels
    return checks.check(
        is_good,
        lambda: checks.sentence(
            "The request has ",
            count,
            " image(s) of height ",
            size[0],
            " and width ",
            size[1],
            f". Allowed are 1 to {max_pixels} pixels in all: send fewer or "
            "smaller images.",
        ),
        checks.REQUEST,
    )


def decode_images(encoded_b: tf.Tensor, max_pixels: int) -> tf.Tensor:
    """Decodes JPEG and PNG files of equal size to RGB, upright.

    Grayscale is repeated, alpha is dropped, the EXIF orientation is applied.

    Args:
        encoded_b: string [B], the bytes of the files; B >= 1.
        max_pixels: Most pixels of all images together.

    Returns:
        uint8 [B, H, W, 3].

    Raises:
        tf.errors.InvalidArgumentError: When the graph runs: a file is neither
            JPEG nor PNG, is damaged, too large or of 16 bits a channel, or
            the sizes of the upright images differ.
    """
    count = tf.size(encoded_b)
    some = checks.check(
        count > 0,
        lambda: checks.sentence("The request has no image."),
        checks.REQUEST,
    )
    with checks.after(some):
        orientations, sizes = tf.map_fn(
            _read_header,
            tf.identity(encoded_b),
            fn_output_signature=(
                tf.TensorSpec([], tf.int64),
                tf.TensorSpec([2], tf.int64),
            ),
        )
    differs = tf.reduce_any(sizes != sizes[:1], axis=1)
    equal = checks.check(
        ~tf.reduce_any(differs),
        lambda: checks.sentence(
            "The images of one request have different (height, width), for "
            "example ",
            sizes[0],
            " and ",
            sizes[tf.argmax(tf.cast(differs, tf.int32))],
            ". They must be equal: send images of other sizes in other "
            "requests.",
        ),
        checks.REQUEST,
    )
    with checks.after(equal, check_size(count, sizes[0], max_pixels)):
        return tf.map_fn(
            _decode_image,
            (tf.identity(encoded_b), orientations),
            fn_output_signature=tf.TensorSpec([None, None, 3], tf.uint8),
        )


def _decode_image(file: tuple[tf.Tensor, tf.Tensor]) -> tf.Tensor:
    encoded, orientation = file
    image = tf.io.decode_image(encoded, channels=3, expand_animations=False)
    image = tf.ensure_shape(image, [None, None, 3])
    return orientation_lib.turn_upright(image, orientation)


def _read_header(encoded: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Reads the orientation and the size of the upright image, int64 [2]."""
    size = _read_size(encoded)
    orientation = orientation_lib.read_orientation(encoded)
    is_transposed = orientation_lib.is_transposed(orientation)
    return orientation, tf.where(is_transposed, tf.reverse(size, [0]), size)


def _read_size(encoded: tf.Tensor) -> tf.Tensor:
    """Reads the stored height and width, int64 [2], from a header."""
    is_jpeg = tf.strings.substr(encoded, 0, 3) == _JPEG_START
    is_png = tf.strings.substr(encoded, 0, 8) == _PNG_START
    is_png &= tf.strings.length(encoded) >= _PNG_HEADER_BYTES
    known = checks.check(
        is_jpeg | is_png,
        lambda: checks.sentence(
            "The data is neither a JPEG nor a PNG file. Send the unchanged "
            "bytes of one (in JSON: base64 under the key b64)."
        ),
        checks.REQUEST,
    )
    with checks.after(known):
        return tf.cond(
            is_jpeg,
            lambda: _read_jpeg_size(encoded),
            lambda: _read_png_size(encoded),
        )


def _read_jpeg_size(encoded: tf.Tensor) -> tf.Tensor:
    # In compressed data the byte 0xFF is always escaped.
    scans = tf.size(tf.strings.split(encoded, _JPEG_SCAN)) - 1
    few = checks.check(
        scans <= MAX_SCANS,
        lambda: checks.sentence(
            "The JPEG file has ",
            scans,
            f" scans. Allowed are {MAX_SCANS}: save it as a baseline JPEG.",
        ),
        checks.REQUEST,
    )
    with checks.after(few):
        shape = tf.image.extract_jpeg_shape(tf.identity(encoded))
    return tf.cast(shape[:2], tf.int64)


def _read_png_size(encoded: tf.Tensor) -> tf.Tensor:
    bits = tf.strings.substr(encoded, _PNG_BIT_DEPTH_BYTE, 1)
    bits = tf.io.decode_raw(bits, tf.uint8)[0]
    is_known = checks.check(
        bits <= _MAX_BITS,
        lambda: checks.sentence(
            "The PNG file has more than 8 bits a channel (",
            bits,
            " bits), and which of them are in use is not known. Scale it to 8 "
            "bits first.",
        ),
        checks.REQUEST,
    )
    with checks.after(is_known):
        size = tf.strings.substr(encoded, _PNG_SIZE_BYTE, 8)
    data = tf.io.decode_raw(size, tf.uint8)
    digits = tf.reshape(tf.cast(data, tf.int64), [2, 4])
    width_height = tf.reduce_sum(digits * [1 << 24, 1 << 16, 1 << 8, 1], axis=1)
    return width_height[::-1]
