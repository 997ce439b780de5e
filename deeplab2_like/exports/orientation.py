# SPDX-License-Identifier: Apache-2.0
"""Reads the EXIF orientation of JPEG and PNG files in the graph; turns images.

The same as `storage.exif` for the same bytes, so that a served file and a file
that `Predictor` reads give the same map. Nothing here fails: positions beyond
the end read as zeros, and garbage is no orientation.
"""

from collections.abc import Callable, Sequence

import tensorflow as tf

from deeplab2_like.storage import exif

_JPEG_APP1 = 0xE1
_JPEG_LAST = (0xDA, 0xD9)  # Pixels follow, or the end.
_JPEG_HEAD = 4 + len(exif.EXIF_START)

# (whether the search is over, whether it was successful, place in the file,
# bytes of what was found there)
_State = tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]


def read_orientation(encoded: tf.Tensor) -> tf.Tensor:
    """Reads the orientation in the header of a JPEG or PNG.

    Args:
        encoded: string scalar, the bytes of the file.

    Returns:
        int64 scalar, 1..8; 1, as stored, where there is none.
    """
    is_jpeg = tf.strings.substr(encoded, 0, 2) == exif.JPEG_START
    is_png = tf.strings.substr(encoded, 0, 8) == exif.PNG_START
    block = tf.cond(
        is_jpeg,
        lambda: _find(encoded, len(exif.JPEG_START), _step_through_jpeg),
        lambda: tf.cond(
            is_png,
            lambda: _find(encoded, len(exif.PNG_START), _step_through_png),
            lambda: tf.constant(b""),
        ),
    )
    return tf.cond(
        tf.strings.length(block) > 0,
        lambda: _parse(block),
        lambda: tf.constant(1, tf.int64),
    )


def turn_upright(image_hwc: tf.Tensor, orientation: tf.Tensor) -> tf.Tensor:
    """Turns stored pixels upright; see `exif.turn_upright`.

    Args:
        image_hwc: uint8 [H, W, C], as stored.
        orientation: Integer scalar, 1..8.

    Returns:
        uint8 [H, W, C], or [W, H, C] for some orientations.
    """

    def turn() -> tf.Tensor:
        image = tf.cond(
            is_transposed(orientation),
            lambda: tf.transpose(image_hwc, [1, 0, 2]),
            lambda: image_hwc,
        )
        is_flipped = [
            _is_among(orientation, exif.FLIPPED_ROWS),
            _is_among(orientation, exif.FLIPPED_COLUMNS),
        ]
        return tf.reverse(image, tf.boolean_mask([0, 1], is_flipped))

    return tf.cond(orientation == 1, lambda: tf.identity(image_hwc), turn)


def is_transposed(orientation: tf.Tensor) -> tf.Tensor:
    """Returns whether turning exchanges height and width: a bool scalar."""
    return _is_among(orientation, exif.TRANSPOSED)


def _is_among(value: tf.Tensor, choices: Sequence[int]) -> tf.Tensor:
    return tf.reduce_any(value == tf.constant(choices, value.dtype))


def _read_bytes(data: tf.Tensor, place: tf.Tensor, count: int) -> tf.Tensor:
    """Reads int64 [count] from a place on; zeros beyond the end."""
    place = tf.minimum(place, _length(data))
    part = tf.strings.substr(data, place, tf.constant(count, tf.int64))
    padded = tf.strings.join([part, b"\0" * count])
    digits = tf.io.decode_raw(padded, tf.uint8)[:count]
    return tf.cast(tf.ensure_shape(digits, [count]), tf.int64)


def _length(data: tf.Tensor) -> tf.Tensor:
    return tf.cast(tf.strings.length(data), tf.int64)


def _to_number(digits: tf.Tensor, is_little: tf.Tensor | bool) -> tf.Tensor:
    """Computes the number that bytes [n] or [..., n] stand for."""
    count = digits.shape[-1]
    little = [256**n for n in range(count)]
    powers = tf.where(
        is_little,
        tf.constant(little, tf.int64),
        tf.constant(little[::-1], tf.int64),
    )
    return tf.reduce_sum(digits * powers, axis=-1)


def _equals(digits: tf.Tensor, text: bytes) -> tf.Tensor:
    return tf.reduce_all(digits == tf.constant([*text], tf.int64))


def _find(
    encoded: tf.Tensor,
    start: int,
    step: Callable[[tf.Tensor, tf.Tensor], _State],
) -> tf.Tensor:
    """Steps through the parts of a file; returns the EXIF data, "" if none.

    Args:
        encoded: string scalar.
        start: Place of the first part.
        step: Function from `encoded` and the place of a part to the place of
            the next, or of what was found.
    """

    def is_searching(is_over: tf.Tensor, *_: tf.Tensor) -> tf.Tensor:
        return ~is_over

    def search(
        is_over: tf.Tensor,
        is_found: tf.Tensor,
        place: tf.Tensor,
        length: tf.Tensor,
    ) -> _State:
        del is_over, is_found, length
        return step(encoded, place)

    zero = tf.constant(0, tf.int64)
    _, is_found, place, length = tf.while_loop(
        is_searching,
        search,
        (tf.constant(False), tf.constant(False), zero + start, zero),
        maximum_iterations=exif.MAX_PARTS,
    )
    return tf.cond(
        is_found,
        lambda: tf.strings.substr(
            encoded, tf.minimum(place, _length(encoded)), length
        ),
        lambda: tf.constant(b""),
    )


def _step_through_jpeg(encoded: tf.Tensor, place: tf.Tensor) -> _State:
    head = _read_bytes(encoded, place, _JPEG_HEAD)
    marker, length = head[1], _to_number(head[2:4], False)
    is_fill = marker == 0xFF  # Bytes of 0xFF may precede a marker.
    is_over = (head[0] != 0xFF) | (
        ~is_fill & (_is_among(marker, _JPEG_LAST) | (length < 2))
    )
    is_found = ~is_over & ~is_fill & (marker == _JPEG_APP1)
    is_found &= (length >= _JPEG_HEAD - 2) & _equals(head[4:], exif.EXIF_START)
    next_place = place + tf.where(is_fill, tf.constant(1, tf.int64), 2 + length)
    return (
        is_over | is_found,
        is_found,
        tf.where(is_found, place + _JPEG_HEAD, next_place),
        length - (_JPEG_HEAD - 2),
    )


def _step_through_png(encoded: tf.Tensor, place: tf.Tensor) -> _State:
    head = _read_bytes(encoded, place, 8)
    length = _to_number(head[:4], False)
    is_over = (place + 8 > _length(encoded)) | _equals(head[4:], b"IDAT")
    is_found = ~is_over & _equals(head[4:], b"eXIf")
    # Behind the data are four bytes of checksum.
    next_place = place + tf.where(
        is_found, tf.constant(8, tf.int64), length + 12
    )
    return is_over | is_found, is_found, next_place, length


def _parse(block: tf.Tensor) -> tf.Tensor:
    """Reads the orientation in EXIF data; see `exif.parse_orientation`."""
    start = _read_bytes(block, tf.constant(0, tf.int64), 8)
    is_little, is_big = (_equals(start[:4], text) for text in exif.TIFF_STARTS)
    first = _to_number(start[4:], is_little)
    count = _to_number(_read_bytes(block, first, 2), is_little)
    size = exif.ENTRY_BYTES
    entries = tf.strings.substr(
        block, tf.minimum(first + 2, _length(block)), count * size
    )
    # A last entry that is cut off is filled up, and one of zeros follows.
    padded = tf.strings.join([entries, b"\0" * (2 * size)])
    num_rows = tf.strings.length(padded) // size
    digits = tf.cast(tf.io.decode_raw(padded, tf.uint8), tf.int64)
    table = tf.reshape(digits[: num_rows * size], [num_rows, size])
    is_meant = _to_number(table[:, :2], is_little) == exif.ORIENTATION_TAG
    entry = table[tf.argmax(tf.cast(is_meant, tf.int32))]
    kind = _to_number(entry[2:4], is_little)
    is_short = kind == exif.SHORT
    value = tf.where(
        is_short,
        _to_number(entry[8:10], is_little),
        _to_number(entry[8:], is_little),
    )
    is_good = (is_little | is_big) & tf.reduce_any(is_meant)
    is_good &= is_short | (kind == exif.LONG)
    is_good &= _to_number(entry[4:8], is_little) == 1
    is_good &= (value >= 1) & (value <= 8)
    return tf.where(is_good, value, tf.constant(1, tf.int64))
