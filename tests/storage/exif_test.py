# SPDX-License-Identifier: Apache-2.0
import io
import random
import struct

import numpy as np
import pytest
from PIL import Image, ImageOps

from deeplab2_like.storage import exif

_SHORT, _LONG = 3, 4
# Of the main image: maker, orientation, unit of resolution.
_TAGS = ((0x010F, _LONG, 1, 7), (0x0112, _SHORT, 1, 6), (0x0128, _SHORT, 1, 2))


def make_block(tags=_TAGS, order="<", first=8, thumbnail=b""):
    """EXIF data: a TIFF header, a directory, and perhaps a second one."""
    start = b"II*\0" if order == "<" else b"MM\0*"
    block = (start + struct.pack(f"{order}I", first)).ljust(first, b"x")
    block += struct.pack(f"{order}H", len(tags))
    for tag, kind, count, value in tags:
        block += struct.pack(f"{order}HHI", tag, kind, count)
        form = "HH" if kind == _SHORT else "I"
        values = (value, 0) if kind == _SHORT else (value,)
        block += struct.pack(order + form, *values)
    following = len(block) + 4 if thumbnail else 0
    return block + struct.pack(f"{order}I", following) + thumbnail


def make_file(kind, block, pixels=None):
    if pixels is None:
        pixels = np.arange(5 * 7 * 3, dtype=np.uint8).reshape(5, 7, 3)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, kind, exif=exif.EXIF_START + block)
    return stream.getvalue()


def _with_orientation(value, kind=_SHORT, count=1):
    return (_TAGS[0], (0x0112, kind, count, value), _TAGS[2])


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("value", range(1, 9))
def test_the_eight_orientations_are_those_of_pillow(value, kind, order):
    data = make_file(kind, make_block(_with_orientation(value), order))
    assert exif.read_orientation(data) == value
    with Image.open(io.BytesIO(data)) as image:
        expected = np.asarray(ImageOps.exif_transpose(image))
        stored = np.asarray(image)
    upright = exif.turn_upright(stored, value)
    np.testing.assert_array_equal(upright, expected)
    assert exif.turn_size(stored.shape[:2], value) == upright.shape[:2]
    np.testing.assert_array_equal(exif.turn_back(upright, value), stored)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize(
    "block",
    [
        b"",
        b"garbage, no EXIF data at all",
        b"II*\0",
        b"MM\0*\xff\xff\xff\xff",
        make_block(()),
        make_block(_TAGS[::2]),
        make_block()[:17],
        make_block(_with_orientation(0)),
        make_block(_with_orientation(9)),
        make_block(_with_orientation(6, count=2)),
        make_block(_with_orientation(6, kind=7)),
    ],
)
def test_what_cannot_be_read_is_no_orientation(kind, block):
    assert exif.read_orientation(make_file(kind, block)) == 1


def test_an_offset_beyond_the_end_is_no_orientation():
    block = make_block()
    far = block[:4] + struct.pack("<I", 2**32 - 1) + block[8:]
    assert exif.read_orientation(make_file("JPEG", far)) == 1


def test_a_number_of_four_bytes_is_read_too():
    block = make_block(_with_orientation(8, kind=_LONG), ">", first=21)
    assert exif.read_orientation(make_file("JPEG", block)) == 8


def test_thumbnails_are_not_looked_at():
    inner = make_file("JPEG", make_block(_with_orientation(8)))
    other = make_block(_with_orientation(3))[8:]
    without = make_block(_TAGS[::2], thumbnail=other + inner)
    assert exif.read_orientation(make_file("JPEG", without)) == 1
    block = make_block(thumbnail=other + inner)
    assert exif.read_orientation(make_file("JPEG", block)) == 6


def test_other_segments_may_come_first():
    data = make_file("JPEG", make_block())
    start = data.index(b"\xff\xe1")
    comment = b"\xff\xfe\x00\x09\xff\xe1Exif\0"
    other = b"\xff\xe1\x00\x10http://ns.xap/"
    fill = b"\xff\xff"
    moved = data[:start] + comment + other + fill + data[start:]
    assert exif.read_orientation(moved) == 6
    # A file that keeps a reader busy is given up.
    many = data[:start] + b"\xff\xfe\0\2" * 100 + data[start:]
    assert exif.read_orientation(many) == 1


def test_the_orientation_of_xmp_does_not_count():
    stream = io.BytesIO()
    xmp = b'<x tiff:Orientation="6"/>'
    Image.new("RGB", (3, 2)).save(stream, "JPEG", xmp=xmp)
    assert exif.read_orientation(stream.getvalue()) == 1


def test_other_kinds_are_left_to_pillow():
    stream = io.BytesIO()
    Image.new("RGB", (3, 2)).save(stream, "BMP")
    assert exif.read_orientation(stream.getvalue()) is None
    assert exif.read_orientation(b"") is None


def test_no_bytes_make_it_fail():
    dice = random.Random(0)
    seeds = [make_file(kind, make_block()) for kind in ("JPEG", "PNG", "WEBP")]
    found = set()
    for _ in range(5000):
        data = bytearray(dice.choice(seeds))
        for _ in range(dice.choice((1, 1, 4))):
            place = dice.randrange(min(len(data), 120))
            data[place] = dice.randrange(256)
        found.add(exif.read_orientation(bytes(data[: dice.randrange(200)])))
    assert {1, 6, None} <= found
