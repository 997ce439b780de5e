# SPDX-License-Identifier: Apache-2.0
import io
import pathlib
import random
import struct
import zlib

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from deeplab2_like.exports import byte_guard

_LIMIT = 1_000_000


@pytest.fixture(scope="module")
def decode():
    function = tf.function(
        lambda encoded: byte_guard.decode_images(encoded, _LIMIT),
        input_signature=[tf.TensorSpec([None], tf.string)],
    )

    def run(*files):
        return function(tf.constant(list(files), tf.string)).numpy()

    return run


def _make_pixels(height=24, width=40, channels=3, seed=0):
    random_state = np.random.RandomState(seed)
    small = random_state.randint(0, 256, (3, 4, channels), dtype=np.uint8)
    image = np.repeat(np.repeat(small, 8, 0), 10, 1)[:height, :width]
    return image[..., 0] if channels == 1 else image


def _encode(pixels, kind, **options):
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, kind, **options)
    return stream.getvalue()


def _make_png_header(width, height):
    body = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", 13) + body + struct.pack(">I", zlib.crc32(body))
    data = b"IDAT" + zlib.compress(bytes(100))
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk
        + struct.pack(">I", len(data) - 4)
        + data
        + struct.pack(">I", zlib.crc32(data))
    )


def _set_jpeg_size(data, height, width):
    """Writes another size into the frame header of a JPEG."""
    place = data.index(b"\xff\xc0") + 5
    return data[:place] + struct.pack(">HH", height, width) + data[place + 4 :]


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_images_are_decoded_as_in_training(decode, kind, channels):
    if (kind, channels) == ("JPEG", 4):
        pytest.skip("JPEG has no alpha")
    data = _encode(_make_pixels(channels=channels), kind)
    expected = tf.io.decode_image(data, channels=3).numpy()
    np.testing.assert_array_equal(decode(data, data), [expected, expected])


def test_sixteen_bits_are_refused(decode):
    pixels = (np.arange(24 * 40).reshape(24, 40) * 4).astype(np.uint16)
    with pytest.raises(
        tf.errors.InvalidArgumentError,
        match=r"\(16 bits\).*Scale it to 8 bits first",
    ):
        decode(_encode(pixels, "PNG"))


def test_progressive_jpegs_are_decoded(decode):
    data = _encode(_make_pixels(), "JPEG", progressive=True)
    assert decode(data).shape == (1, 24, 40, 3)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"hello",
        b"\x89PNG\r\n\x1a\n",
        _make_png_header(8, 8)[:30],
        b"\xff\xd8",
        _encode(_make_pixels(), "GIF"),
        _encode(_make_pixels(), "BMP"),
        _encode(_make_pixels(), "WEBP"),
        _encode(_make_pixels(), "TIFF"),
        "<svg xmlns='http://www.w3.org/2000/svg'/>".encode("utf-16"),
    ],
)
def test_other_files_are_refused_by_their_first_bytes(decode, data):
    with pytest.raises(
        tf.errors.InvalidArgumentError, match="neither a JPEG nor a PNG"
    ):
        decode(data)


def _read_memory():
    """Resident megabytes of this process."""
    fields = pathlib.Path("/proc/self/statm").read_text().split()
    return int(fields[1]) * 4096 / 1e6


@pytest.mark.parametrize(
    "data",
    [
        _make_png_header(20_000, 20_000),
        _make_png_header(2**31 - 1, 2**31 - 1),
        _make_png_header(2**32 - 1, 2**32 - 1),
        _make_png_header(1_000_001, 1),
        _set_jpeg_size(_encode(_make_pixels(), "JPEG"), 20_000, 20_000),
        _set_jpeg_size(_encode(_make_pixels(), "JPEG"), 65_500, 65_500),
    ],
)
def test_bombs_are_refused_by_their_header(decode, data):
    if not pathlib.Path("/proc/self/statm").exists():
        pytest.skip("needs /proc")
    decode(_encode(_make_pixels(), "PNG"))
    before = _read_memory()
    with pytest.raises(
        tf.errors.InvalidArgumentError, match="1 to 1000000 pixels in all"
    ):
        decode(data)
    assert _read_memory() - before < 50


def test_an_image_of_exactly_the_limit_is_decoded(decode):
    data = _encode(np.zeros((1000, 1000, 3), np.uint8), "PNG")
    assert decode(data).shape == (1, 1000, 1000, 3)


def test_the_limit_is_that_of_the_whole_request(decode):
    data = _encode(np.zeros((600, 1000, 3), np.uint8), "PNG")
    decode(data)
    with pytest.raises(
        tf.errors.InvalidArgumentError, match=r"2 image\(s\) of height 600"
    ):
        decode(data, data)


@pytest.mark.parametrize(("height", "width"), [(0, 8), (8, 0)])
def test_images_without_pixels_are_refused(decode, height, width):
    with pytest.raises(tf.errors.InvalidArgumentError, match="1 to 1000000"):
        decode(_make_png_header(width, height))


def test_a_header_that_lies_within_the_limit_does_no_harm(decode):
    with pytest.raises(tf.errors.InvalidArgumentError):
        decode(_make_png_header(900, 900))
    # libjpeg fills up what is missing.
    data = _set_jpeg_size(_encode(_make_pixels(), "JPEG"), 900, 900)
    assert decode(data).shape == (1, 900, 900, 3)


def test_a_jpeg_of_very_many_scans_is_refused(decode):
    data = _encode(_make_pixels(), "JPEG", progressive=True)
    scans = data.removesuffix(b"\xff\xd9").split(b"\xff\xda")
    bomb = b"\xff\xda".join(scans + scans[-1:] * 500) + b"\xff\xd9"
    with pytest.raises(tf.errors.InvalidArgumentError, match="Allowed are 40"):
        decode(bomb)


def test_sizes_of_one_request_must_be_equal(decode):
    files = [_encode(_make_pixels(24, w), "PNG") for w in (40, 40, 30)]
    with pytest.raises(
        tf.errors.InvalidArgumentError, match=r"\[24 40\] and \[24 30\]"
    ):
        decode(*files)


def test_an_empty_request_is_an_error(decode):
    with pytest.raises(tf.errors.InvalidArgumentError, match="no image"):
        decode()


def _make_seeds():
    """Good files of many kinds."""
    seeds = []
    for channels in (1, 3):
        pixels = _make_pixels(channels=channels)
        for options in (
            {"quality": 60},
            {"quality": 95, "progressive": True},
            {"quality": 30, "optimize": True},
            {"exif": b"Exif\x00\x00" + bytes(40)},
        ):
            seeds.append(_encode(pixels, "JPEG", **options))
        seeds.append(_encode(pixels, "PNG"))
        seeds.append(_encode(pixels, "PNG", compress_level=0))
        seeds.append(_encode(pixels.astype(np.uint8) // 32, "PNG"))
    seeds.append(_encode(_make_pixels(channels=4), "PNG"))
    palette = Image.fromarray(_make_pixels()).convert("P")
    stream = io.BytesIO()
    palette.save(stream, "PNG")
    seeds.append(stream.getvalue())
    stream = io.BytesIO()
    Image.fromarray(_make_pixels()).convert("CMYK").save(stream, "JPEG")
    seeds.append(stream.getvalue())
    return seeds


def _mutate(data, dice):
    data = bytearray(data)
    for _ in range(dice.choice((1, 1, 2, 4, 16))):
        place = dice.randrange(len(data))
        kind = dice.randrange(5)
        if kind == 0:
            data[place] = dice.randrange(256)
        elif kind == 1:
            data[place] ^= 1 << dice.randrange(8)
        elif kind == 2:
            del data[place : place + dice.randrange(1, 9)]
        elif kind == 3:
            data[place:place] = dice.randbytes(dice.randrange(1, 9))
        else:
            # Sizes stand near the beginning.
            data[min(place, dice.randrange(64))] = dice.randrange(256)
        if not data:
            return b""
    return bytes(data)


def _decode_or_refuse(decode, data):
    """Says whether the data was decoded; any other error is a failure."""
    try:
        decode(data)
    except tf.errors.InvalidArgumentError:
        return True
    return False


@pytest.mark.parametrize(
    "count", [1_000, pytest.param(10_000, marks=pytest.mark.slow)]
)
def test_spoiled_files_are_decoded_or_refused_and_nothing_else(decode, count):
    seeds = _make_seeds()
    dice = random.Random(count)
    refused = [
        _decode_or_refuse(decode, _mutate(dice.choice(seeds), dice))
        for _ in range(count)
    ]
    assert any(refused)
    assert not all(refused)


def test_files_cut_off_anywhere_are_refused(decode):
    for data in _make_seeds()[:5:2]:
        for length in range(min(512, len(data) - 12)):
            assert _decode_or_refuse(decode, data[:length])
