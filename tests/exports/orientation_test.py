# SPDX-License-Identifier: Apache-2.0
"""The orientation of photos in the graph is that of files on the host."""

import io
import random
import struct

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageOps

from deeplab2_like.exports import byte_guard, orientation
from deeplab2_like.storage import exif

_ENTRIES = {"<": b"\x12\x01\x03\0\1\0\0\0", ">": b"\x01\x12\0\3\0\0\0\1"}


def _make_block(value, order="<", first=8, tags=None):
    """EXIF data: a directory of two tags, and a thumbnail's behind it."""
    start = b"II*\0" if order == "<" else b"MM\0*"
    block = (start + struct.pack(f"{order}I", first)).ljust(first, b"x")
    other = struct.pack(f"{order}HHII", 0x010F, 4, 1, 7)
    entry = _ENTRIES[order] + struct.pack(f"{order}HH", value, 0)
    tags = [other, entry] if tags is None else tags
    block += struct.pack(f"{order}H", len(tags)) + b"".join(tags)
    thumbnail = struct.pack(f"{order}H", 1) + _ENTRIES[order]
    thumbnail += struct.pack(f"{order}HHI", 8, 0, 0)
    return block + struct.pack(f"{order}I", len(block) + 4) + thumbnail


def _make_file(kind, block, size=(24, 40)):
    generator = np.random.default_rng(0)
    pixels = generator.integers(0, 256, (*size, 3), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, kind, exif=exif.EXIF_START + block)
    return stream.getvalue()


@pytest.fixture(scope="module")
def read():
    function = tf.function(
        orientation.read_orientation,
        input_signature=[tf.TensorSpec([], tf.string)],
        autograph=False,
    )
    return lambda data: int(function(tf.constant(data)))


@pytest.fixture(scope="module")
def decode():
    function = tf.function(
        lambda encoded: byte_guard.decode_images(encoded, 10**6),
        input_signature=[tf.TensorSpec([None], tf.string)],
        autograph=False,
    )
    return lambda *files: function(tf.constant(list(files))).numpy()


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
@pytest.mark.parametrize("order", ["<", ">"])
def test_the_eight_orientations_are_those_of_pillow(read, decode, kind, order):
    for value in range(1, 9):
        data = _make_file(kind, _make_block(value, order))
        assert read(data) == exif.read_orientation(data) == value
        stored = tf.io.decode_image(data, channels=3).numpy()
        image = Image.fromarray(stored)
        image.getexif()[0x0112] = value
        expected = np.asarray(ImageOps.exif_transpose(image))
        (upright,) = decode(data)
        np.testing.assert_array_equal(upright, expected)
        np.testing.assert_array_equal(
            exif.turn_upright(stored, value), expected
        )


def test_garbage_is_no_orientation(read, decode):
    blocks = [
        b"",
        b"garbage",
        b"II*\0",
        b"MM\0*\xff\xff\xff\xff",
        _make_block(6, tags=[]),
        _make_block(6, first=20)[:24],
        _make_block(0),
        _make_block(9),
        _make_block(6).replace(b"II*", b"II+"),
    ]
    for block in blocks:
        for kind in ("JPEG", "PNG"):
            data = _make_file(kind, block)
            assert read(data) == 1
            assert decode(data).shape == (1, 24, 40, 3)
    for data in (b"", b"\xff\xd8", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n\0"):
        assert read(data) == 1


def test_other_segments_may_come_first(read):
    data = _make_file("JPEG", _make_block(6))
    place = data.index(b"\xff\xe1")
    comment = b"\xff\xfe\x00\x09\xff\xe1Exif\0"
    moved = data[:place] + comment + b"\xff\xff" + data[place:]
    assert read(moved) == exif.read_orientation(moved) == 6
    many = data[:place] + b"\xff\xfe\0\2" * 100 + data[place:]
    assert read(many) == exif.read_orientation(many) == 1


@pytest.mark.parametrize(
    "count", [500, pytest.param(10_000, marks=pytest.mark.slow)]
)
def test_spoiled_headers_are_read_as_on_the_host(read, count):
    seeds = [
        _make_file(kind, _make_block(value, order, first=8 + 3 * value))
        for kind in ("JPEG", "PNG")
        for order in "<>"
        for value in (1, 3, 6, 8)
    ]
    dice = random.Random(count)
    found = set()
    for _ in range(count):
        data = bytearray(dice.choice(seeds))
        for _ in range(dice.choice((1, 1, 2, 8))):
            place = dice.randrange(min(len(data), 110))
            kind = dice.randrange(4)
            if kind == 0:
                data[place] = dice.randrange(256)
            elif kind == 1:
                del data[place : place + dice.randrange(1, 9)]
            elif kind == 2:
                data[place:place] = dice.randbytes(dice.randrange(1, 9))
            else:
                data[place : place + 2] = b"\xff\xe1"
        if dice.random() < 0.1:
            del data[dice.randrange(len(data)) :]
        value = read(bytes(data))
        assert value == (exif.read_orientation(bytes(data)) or 1)
        found.add(value)
    assert {1, 3, 6, 8} <= found


def test_images_of_one_request_are_of_one_size_when_upright(decode):
    upright = _make_file("PNG", _make_block(1), (24, 40))
    turned = _make_file("PNG", _make_block(6), (40, 24))
    assert decode(upright, turned).shape == (2, 24, 40, 3)
    lying = _make_file("PNG", _make_block(6), (24, 40))
    with pytest.raises(
        tf.errors.InvalidArgumentError, match=r"\[24 40\] and \[40 24\]"
    ):
        decode(upright, lying)
