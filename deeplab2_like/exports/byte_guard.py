# SPDX-License-Identifier: Apache-2.0
"""Decodes untrusted images in the graph, after checking their headers.

A file of a few kilobytes can decode to gigabytes. So only JPEG and PNG are
decoded, and only if the size in the header is allowed. Images are turned
upright as their EXIF orientation says. Messages contain sizes
and numbers, never bytes of the file, which Python's TensorFlow client fails to
decode.
"""

from typing import NamedTuple

import tensorflow as tf

from deeplab2_like.exports import orientation as orientation_lib
from deeplab2_like.graph import attempts, checks

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
_DAMAGED = (
    "The JPEG or PNG file is damaged: it cannot be decoded. Send the unchanged "
    "bytes of the file."
)


class Row(NamedTuple):
    """A decoded file, or what is wrong with it.

    Attributes:
        image: uint8 [H, W, 3], upright; [1, 1, 3] where there is a problem.
        problem: string scalar, a sentence; empty where there is none.
    """

    image: tf.Tensor
    problem: tf.Tensor


def check_size(count: tf.Tensor, size: tf.Tensor, max_pixels: int) -> tf.Tensor:
    """Checks that a request is neither empty nor too large.

    Args:
        count: Integer scalar, the number of images.
        size: Integers [2], their height and width.
        max_pixels: Most pixels of all images together.

    Returns:
        bool scalar; see `graph.checks.check`.
    """
    return checks.check(
        _is_allowed(count, size, max_pixels),
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


def _is_allowed(
    count: tf.Tensor | int, size: tf.Tensor, max_pixels: int
) -> tf.Tensor:
    sides = tf.concat([[count], size], axis=0)
    sides = tf.cast(sides, tf.int64)
    # Each is limited first, because products of sizes may overflow.
    is_good = tf.reduce_all((sides > 0) & (sides <= max_pixels))
    sides = tf.where(is_good, sides, 1)
    is_good &= sides[1] * sides[2] <= max_pixels
    sides = tf.where(is_good, sides, 1)
    return is_good & (tf.reduce_prod(sides) <= max_pixels)


def check_any(encoded_b: tf.Tensor) -> tf.Tensor:
    """Checks that a request has an image; see `graph.checks.check`."""
    return checks.check(
        tf.size(encoded_b) > 0,
        lambda: checks.sentence("The request has no image."),
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
    with checks.after(check_any(encoded_b)):
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
    allowed = check_size(tf.size(encoded_b), sizes[0], max_pixels)
    with checks.after(equal, allowed):
        return tf.map_fn(
            lambda file: _decode_image(*file),
            (tf.identity(encoded_b), orientations),
            fn_output_signature=tf.TensorSpec([None, None, 3], tf.uint8),
        )


def decode_row(encoded: tf.Tensor, max_pixels: int) -> Row:
    """Decodes one file as `decode_images` does; nothing fails.

    Args:
        encoded: string scalar, the bytes of a file.
        max_pixels: Most pixels of the image.
    """
    unreadable = tf.constant([-1, -1], tf.int64)
    problem = _find_problem(encoded)
    size = tf.cond(
        problem == "",
        lambda: attempts.attempt(_read_size, encoded, unreadable),
        lambda: unreadable,
    )
    size = tf.ensure_shape(size, [2])
    problem = tf.cond(
        problem == "",
        lambda: _find_size_problem(size, max_pixels),
        lambda: problem,
    )
    # Its size is not known while the graph is made.
    blank = tf.zeros(tf.concat([tf.ones_like(size), [3]], axis=0), tf.uint8)
    image = tf.cond(
        problem == "",
        lambda: attempts.attempt(decode_upright, encoded, blank[:0]),
        lambda: blank,
    )
    is_damaged = tf.size(image) == 0
    return Row(
        tf.ensure_shape(
            tf.cond(is_damaged, lambda: blank, lambda: image), [None, None, 3]
        ),
        tf.where(is_damaged, _DAMAGED, problem),
    )


def read_upright_size(encoded: tf.Tensor, max_pixels: int) -> tf.Tensor:
    """Reads the size of an upright image in the header; nothing fails.

    Args:
        encoded: string scalar, the bytes of a file.
        max_pixels: Most pixels of the image.

    Returns:
        int32 [2], height and width; ones where `decode_row` has a problem that
        the header shows.
    """
    unknown = tf.constant([1, 1], tf.int64)
    size = tf.cond(
        _find_problem(encoded) == "",
        lambda: attempts.attempt(_read_size, encoded, unknown),
        lambda: unknown,
    )
    size = tf.ensure_shape(size, [2])
    size = tf.where(_is_allowed(1, size, max_pixels), size, unknown)
    orientation = orientation_lib.read_orientation(encoded)
    is_transposed = orientation_lib.is_transposed(orientation)
    size = tf.where(is_transposed, tf.reverse(size, [0]), size)
    return tf.cast(size, tf.int32)


def decode_upright(encoded: tf.Tensor) -> tf.Tensor:
    """Decodes a file for which `decode_row` has no problem: uint8 [H, W, 3]."""
    return _decode_image(encoded, orientation_lib.read_orientation(encoded))


def _decode_image(encoded: tf.Tensor, orientation: tf.Tensor) -> tf.Tensor:
    image = tf.io.decode_image(encoded, channels=3, expand_animations=False)
    image = tf.ensure_shape(image, [None, None, 3])
    return orientation_lib.turn_upright(image, orientation)


def _read_header(encoded: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Reads the orientation and the size of the upright image, int64 [2]."""
    problem = _find_problem(encoded)
    known = checks.check(problem == "", lambda: problem, checks.REQUEST)
    with checks.after(known):
        size = _read_size(tf.identity(encoded))
    orientation = orientation_lib.read_orientation(encoded)
    is_transposed = orientation_lib.is_transposed(orientation)
    return orientation, tf.where(is_transposed, tf.reverse(size, [0]), size)


def _find_problem(encoded: tf.Tensor) -> tf.Tensor:
    """Finds what is wrong with the kind of a file.

    Returns:
        string scalar, a sentence; empty where nothing is wrong.
    """
    is_jpeg = _is_jpeg(encoded)
    is_png = tf.strings.substr(encoded, 0, 8) == _PNG_START
    is_png &= tf.strings.length(encoded) >= _PNG_HEADER_BYTES
    return tf.cond(
        is_jpeg,
        lambda: _find_jpeg_problem(encoded),
        lambda: tf.cond(
            is_png,
            lambda: _find_png_problem(encoded),
            lambda: tf.constant(
                "The data is neither a JPEG nor a PNG file. Send the unchanged "
                "bytes of one (in JSON: base64 under the key b64)."
            ),
        ),
    )


def _find_jpeg_problem(encoded: tf.Tensor) -> tf.Tensor:
    # In compressed data the byte 0xFF is always escaped.
    scans = tf.size(tf.strings.split(encoded, _JPEG_SCAN)) - 1
    return tf.cond(
        scans <= MAX_SCANS,
        lambda: tf.constant(""),
        lambda: checks.sentence(
            "The JPEG file has ",
            scans,
            f" scans. Allowed are {MAX_SCANS}: save it as a baseline JPEG.",
        ),
    )


def _find_png_problem(encoded: tf.Tensor) -> tf.Tensor:
    bits = tf.strings.substr(encoded, _PNG_BIT_DEPTH_BYTE, 1)
    bits = tf.io.decode_raw(bits, tf.uint8)[0]
    return tf.cond(
        bits <= _MAX_BITS,
        lambda: tf.constant(""),
        lambda: checks.sentence(
            "The PNG file has more than 8 bits a channel (",
            bits,
            " bits), and which of them are in use is not known. Scale it to 8 "
            "bits first.",
        ),
    )


def _find_size_problem(size: tf.Tensor, max_pixels: int) -> tf.Tensor:
    """Finds what is wrong with the size of a file; negative is damaged."""
    return tf.cond(
        _is_allowed(1, size, max_pixels),
        lambda: tf.constant(""),
        lambda: tf.where(
            size[0] < 0,
            _DAMAGED,
            checks.sentence(
                "The image has the height ",
                size[0],
                " and the width ",
                size[1],
                f", as stored. Allowed are 1 to {max_pixels} pixels: send a "
                "smaller image.",
            ),
        ),
    )


def _is_jpeg(encoded: tf.Tensor) -> tf.Tensor:
    return tf.strings.substr(encoded, 0, 3) == _JPEG_START


def _read_size(encoded: tf.Tensor) -> tf.Tensor:
    """Reads the stored height and width, int64 [2], of a JPEG or PNG."""
    return tf.cond(
        _is_jpeg(encoded),
        lambda: tf.cast(tf.image.extract_jpeg_shape(encoded)[:2], tf.int64),
        lambda: _read_png_size(encoded),
    )


def _read_png_size(encoded: tf.Tensor) -> tf.Tensor:
    size = tf.strings.substr(encoded, _PNG_SIZE_BYTE, 8)
    data = tf.io.decode_raw(size, tf.uint8)
    digits = tf.reshape(tf.cast(data, tf.int64), [2, 4])
    width_height = tf.reduce_sum(digits * [1 << 24, 1 << 16, 1 << 8, 1], axis=1)
    return width_height[::-1]
