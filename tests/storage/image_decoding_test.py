# SPDX-License-Identifier: Apache-2.0
import io
import random
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from deeplab2_like import errors
from deeplab2_like.storage import image_decoding


def _make_image(mode="RGB", size=(7, 5), seed=0):
    channels = len(Image.new(mode, (1, 1)).getbands())
    values = np.random.default_rng(seed).integers(
        0, 256, (*size[::-1], channels), dtype=np.uint8
    )
    image = Image.fromarray(values[..., 0] if channels == 1 else values)
    return image if image.mode == mode else image.convert(mode)


def _encode(image, kind, **options):
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def _open(data, **options):
    return image_decoding.open_image(data, "Image 'a'", **options)


def _refuse(data, **options):
    with pytest.raises(errors.DataError) as caught:
        _open(data, **options).decode()
    return str(caught.value)


@pytest.mark.parametrize("mode", ["RGB", "L", "P", "LA", "RGBA", "1", "CMYK"])
@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_colors_of_all_modes_become_rgb(kind, mode):
    if (kind, mode) == ("PNG", "CMYK"):
        pytest.skip("A PNG has no CMYK.")
    image = _make_image(mode)
    encoded = _open(_encode(image, kind))
    np.testing.assert_array_equal(
        encoded.decode(), np.asarray(image.convert("RGB"))
    )
    assert encoded.is_plain == (kind == "PNG" and mode in ("RGB", "L"))
    assert encoded.note == ""


def test_a_transparent_palette_keeps_its_colors(recwarn):
    image = _make_image().quantize(8)
    data = _encode(image, "PNG", transparency=bytes(range(0, 240, 30)))
    np.testing.assert_array_equal(
        _open(data).decode(), np.asarray(image.convert("RGB"))
    )
    assert not recwarn.list


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
@pytest.mark.parametrize("top", [1023, 4095, 65535])
def test_sixteen_bits_are_refused_whatever_they_hold(kind, top):
    ramp = np.linspace(0, top, 35).reshape(5, 7).astype(np.uint16)
    message = _refuse(_encode(Image.fromarray(ramp), kind))
    assert "Image 'a' has more than 8 bits a channel (16 bits)" in message
    assert message.endswith("Scale it to 8 bits first.")


def _make_deep_png():
    """A PNG of 16-bit colors, which Pillow can read but not write."""

    def chunk(kind, body):
        head, crc = struct.pack(">I", len(body)), zlib.crc32(kind + body)
        return head + kind + body + struct.pack(">I", crc)

    header = struct.pack(">IIBBBBB", 2, 1, 16, 2, 0, 0, 0)
    pixels = zlib.compress(b"\0" + bytes(range(12)))
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", pixels)
        + chunk(b"IEND", b"")
    )


def test_sixteen_bit_colors_that_pillow_halves_are_refused():
    data = _make_deep_png()
    assert Image.open(io.BytesIO(data)).mode == "RGB"
    assert "(16 bits)" in _refuse(data)
    with pytest.raises(errors.DataError, match="Scale it to 8 bits first"):
        image_decoding.from_pillow(Image.open(io.BytesIO(data)))


def test_floats_and_twelve_bit_jpegs_are_refused():
    assert "(32 bits)" in _refuse(
        _encode(Image.fromarray(np.ones((5, 7), np.float32)), "TIFF")
    )
    data = bytearray(_encode(_make_image(), "JPEG"))
    data[data.index(b"\xff\xc0") + 4] = 12
    assert "has more than 8 bits a channel (12 bits)" in _refuse(bytes(data))


@pytest.mark.parametrize(
    ("kind", "word"),
    [("TIFF", "pages"), ("GIF", "animated"), ("PNG", "animated")],
)
def test_of_several_pictures_the_first_is_read_with_a_note(kind, word):
    pages = [_make_image("P", seed=seed) for seed in range(3)]
    data = _encode(pages[0], kind, save_all=True, append_images=pages[1:])
    encoded = _open(data)
    np.testing.assert_array_equal(
        encoded.decode(), np.asarray(pages[0].convert("RGB"))
    )
    assert "Image 'a' has 3 " in encoded.note
    assert word in encoded.note
    assert "the first is read" in encoded.note


def test_a_photo_of_a_phone_that_holds_a_second_one_is_a_jpeg():
    photos = [_make_image(seed=seed) for seed in range(2)]
    data = _encode(photos[0], "MPO", save_all=True, append_images=photos[1:])
    encoded = _open(data)
    assert (encoded.format, encoded.is_plain) == ("JPEG", True)
    assert encoded.note == ""


@pytest.mark.parametrize("value", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP", "AVIF"])
def test_images_are_upright_or_as_stored(kind, value):
    if not image_decoding.can_read(f".{kind.lower()}"):
        pytest.skip("Pillow does not read it here.")
    image = _make_image()
    tags = Image.Exif()
    tags[0x0112] = value
    data = _encode(image, kind, exif=tags)
    plain = _encode(image, kind)
    stored = _open(plain).decode()
    encoded = _open(data)
    assert encoded.stored_size == (5, 7)
    assert encoded.size == ((7, 5) if value > 4 else (5, 7))
    np.testing.assert_array_equal(_open(data).decode(upright=False), stored)
    transposition = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_270,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_90,
    }.get(value)
    expected = Image.fromarray(stored)
    if transposition is not None:
        expected = expected.transpose(transposition)
    np.testing.assert_array_equal(encoded.decode(), np.asarray(expected))
    np.testing.assert_array_equal(
        image_decoding.from_pillow(Image.open(io.BytesIO(data))), expected
    )


@pytest.mark.parametrize("brand", [b"heic", b"mif1"])
def test_heic_is_named_where_it_cannot_be_read(brand):
    if image_decoding.can_read(".heic"):
        pytest.skip("pillow-heif is installed.")
    message = _refuse(b"\0\0\0\x18ftyp" + brand + bytes(40))
    assert "Image 'a' is an image of the kind HEIC" in message
    assert "pillow-heif" in message
    assert image_decoding.list_fixes([".heic", ".txt"]) == [
        "HEIC: Install pillow-heif (pip install pillow-heif), or save the "
        "image as JPEG or PNG."
    ]


def test_the_size_is_checked_before_decoding():
    data = _encode(Image.new("L", (100, 120)), "PNG")
    message = _refuse(data, max_pixels=10_000)
    assert "has 100 x 120 pixels" in message
    assert "--tile=1025" in message
    assert _open(data).size == (120, 100)


@pytest.mark.parametrize("data", [b"", b"hello", b"<svg/>", b"%PDF-1.4"])
def test_what_is_no_image_is_one_sentence(data):
    assert "Image 'a' is not an image" in _refuse(data)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "GIF", "WEBP"])
def test_a_file_that_is_cut_off_is_one_sentence(kind):
    data = _encode(_make_image(size=(70, 60)), kind)
    message = _refuse(data[: len(data) * 2 // 3])
    assert "Image 'a' is " in message
    assert "damaged or incomplete" in message or "not an image" in message


def _spoil(data, dice):
    data = bytearray(data)
    for _ in range(dice.choice((1, 1, 2, 8))):
        place = dice.randrange(len(data))
        kind = dice.randrange(4)
        if kind == 0:
            data[place] = dice.randrange(256)
        elif kind == 1:
            del data[place : place + dice.randrange(1, 9)]
        elif kind == 2:
            data[place:place] = dice.randbytes(dice.randrange(1, 9))
        else:
            data[min(place, dice.randrange(64))] = dice.randrange(256)
        if not data:
            break
    return bytes(data)


@pytest.mark.parametrize(
    "count", [500, pytest.param(10_000, marks=pytest.mark.slow)]
)
def test_spoiled_files_are_read_or_refused_and_nothing_else(count):
    tags = Image.Exif()
    tags[0x0112] = 6
    image = _make_image(size=(30, 20))
    seeds = [
        _encode(image, kind, **options)
        for kind in ("JPEG", "PNG", "TIFF", "GIF", "WEBP", "BMP")
        for options in ({}, {"exif": tags})
    ]
    seeds.append(_encode(image.quantize(8), "PNG", transparency=3))
    seeds.append(_encode(image, "TIFF", save_all=True, append_images=[image]))
    dice = random.Random(count)
    read = 0
    for _ in range(count):
        try:
            encoded = _open(_spoil(dice.choice(seeds), dice), max_pixels=10**5)
            pixels = encoded.decode()
        except errors.DataError:
            continue
        assert pixels.dtype == np.uint8
        assert pixels.ndim == 3
        read += 1
    assert 0 < read < count
