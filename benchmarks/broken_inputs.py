# SPDX-License-Identifier: Apache-2.0
"""Requests that no careful client sends, drawn by seed."""

import base64
import dataclasses
import json
import random
import struct
import zlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image

from benchmarks import serving_requests
from deeplab2_like.scenes import scene

_PNG_START = b"\x89PNG\r\n\x1a\n"
# Four blocks of 8x8 gray pixels in the code of Pillow's grayscale JPEG.
_GRAY_BLOCKS = b"\x28\xa2\x8a"
_SIDE = 20_000


@dataclasses.dataclass(frozen=True)
class Broken:
    """A request that is sent as it is.

    Attributes:
        kind: What was broken: "file", "map", "json", "tensor", "http".
        path: Path of the URL.
        body: The bytes to send; for "http" those of the whole request.
        headers: Further headers.
    """

    kind: str
    path: str
    body: bytes
    headers: Mapping[str, str] = dataclasses.field(default_factory=dict)


def mutate(data: bytes, dice: random.Random) -> bytes:
    """Changes, removes, adds or repeats a few bytes, or cuts the end off."""
    found = bytearray(data)
    for _ in range(dice.choice((1, 1, 2, 4, 16))):
        if not found:
            break
        place = dice.randrange(len(found))
        kind = dice.randrange(7)
        if kind == 0:
            found[place] = dice.randrange(256)
        elif kind == 1:
            found[place] ^= 1 << dice.randrange(8)
        elif kind == 2:
            del found[place : place + dice.randrange(1, 9)]
        elif kind == 3:
            found[place:place] = dice.randbytes(dice.randrange(1, 9))
        elif kind == 4:
            # Sizes stand near the beginning.
            found[min(place, dice.randrange(64))] = dice.randrange(256)
        elif kind == 5:
            found[place:place] = found[place : place + dice.randrange(1, 64)]
        else:
            del found[place:]
    return bytes(found)


def make_seeds() -> list[bytes]:
    """Makes 20 files of different kinds."""
    pixels = scene.make_scene(0, (48, 64)).image
    gray = pixels[..., 0]
    encode = serving_requests.encode
    seeds = [
        encode(image, "JPEG", **options)
        for image in (pixels, gray)
        for options in (
            {"quality": 90},
            {"quality": 20, "optimize": True},
            {"progressive": True},
            {"exif": b"Exif\x00\x00" + bytes(40)},
        )
    ]
    seeds += [
        encode(image, "PNG", **options)
        for image in (pixels, gray, gray > 100)
        for options in ({}, {"compress_level": 0})
    ]
    alpha = np.dstack([pixels, gray])
    deep = gray.astype(np.uint16) * 256
    seeds += [encode(alpha, "PNG"), encode(deep, "PNG")]
    picture = Image.fromarray(pixels)
    seeds += [
        serving_requests.encode_picture(picture.convert("P"), "PNG"),
        serving_requests.encode_picture(picture.convert("CMYK"), "JPEG"),
        encode(pixels, "GIF"),
        encode(pixels, "BMP"),
    ]
    return seeds


def draw(count: int, seed: int = 0) -> Iterator[Broken]:
    """Draws broken requests.

    Args:
        count: Number of requests.
        seed: Seed of the drawing.
    """
    dice = random.Random(seed)
    seeds = make_seeds()
    makers = {
        _break_files: 12,
        _break_map: 2,
        _break_json: 3,
        _break_tensor: 2,
        _break_http: 1,
    }
    for _ in range(count):
        (make,) = dice.choices(list(makers), list(makers.values()))
        yield make(seeds, dice)


def _break_files(seeds: Sequence[bytes], dice: random.Random) -> Broken:
    """Makes a good request with broken files."""
    files = [
        mutate(dice.choice(seeds), dice) for _ in range(dice.choice((1, 1, 3)))
    ]
    body = serving_requests.make_body(files)
    return Broken("file", serving_requests.PREDICT_PATH, body)


def _break_map(seeds: Sequence[bytes], dice: random.Random) -> Broken:
    """Makes a good request for maps with a broken file."""
    file = mutate(dice.choice(seeds), dice)
    body = serving_requests.make_body([file], "encoded")
    return Broken("map", serving_requests.PREDICT_PATH, body)


def _break_json(seeds: Sequence[bytes], dice: random.Random) -> Broken:
    """Makes a broken document in one of the two protocols."""
    file = dice.choice(seeds)
    path, body = (
        serving_requests.PREDICT_PATH,
        serving_requests.make_body([file]),
    )
    if dice.random() < 0.4:
        path, body = serving_requests.INFER_PATH, _make_infer(file)
    elif dice.random() < 0.5:
        pixels = np.zeros((1, 4, 6, 3), int).tolist()
        body = json.dumps({"instances": pixels}).encode()
    # Most bytes are those of the file, and what is around them matters more.
    head = mutate(body[:200], dice) + body[200:]
    return Broken(
        "json", path, head if dice.random() < 0.8 else mutate(body, dice)
    )


def _make_infer(file: bytes) -> bytes:
    tensor = {
        "name": "image_bytes",
        "shape": [1],
        "datatype": "BYTES",
        "parameters": {"content_type": "base64"},
        "data": [base64.b64encode(file).decode()],
    }
    return json.dumps({"id": "a", "inputs": [tensor]}).encode()


def _break_tensor(seeds: Sequence[bytes], dice: random.Random) -> Broken:
    """Makes a broken request with tensors as bytes."""
    file = dice.choice(seeds)
    data = struct.pack("<I", len(file)) + file
    tensor: dict[str, Any] = {
        "name": "image_bytes",
        "shape": [1],
        "datatype": "BYTES",
        "parameters": {"binary_data_size": len(data)},
    }
    if dice.random() < 0.5:
        data = bytes(72)
        tensor |= {"name": "images", "shape": [1, 4, 6, 3], "datatype": "UINT8"}
        tensor["parameters"] = {"binary_data_size": len(data)}
    head = json.dumps({"inputs": [tensor]}).encode()
    length = len(head)
    if dice.random() < 0.5:
        head = mutate(head, dice)
    elif dice.random() < 0.5:
        length = dice.choice((0, 1, length - 1, length + 1, 10**9))
    else:
        data = mutate(data, dice)
    headers = {"Inference-Header-Content-Length": str(length)}
    return Broken("tensor", serving_requests.INFER_PATH, head + data, headers)


def _break_http(seeds: Sequence[bytes], dice: random.Random) -> Broken:
    """Makes bytes that are no good HTTP."""
    body = serving_requests.make_body([dice.choice(seeds)])
    head = (
        f"POST {serving_requests.PREDICT_PATH} HTTP/1.1\r\nHost: a\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return Broken("http", "", mutate(head.encode(), dice) + body)


def make_bombs() -> dict[str, bytes]:
    """Makes files of which a decoder would make gigabytes, by name."""
    gray = serving_requests.encode(np.full((8, 8), 128, np.uint8))
    scan = gray.index(b"\xff\xda")
    size = gray.index(b"\xff\xc0") + 5
    data = scan + 2 + struct.unpack(">H", gray[scan + 2 : scan + 4])[0]
    sides = struct.pack(">HH", _SIDE, _SIDE)
    start = gray[:size] + sides + gray[size + 4 : data]
    blocks = _SIDE * _SIDE // 64 // 4
    small = serving_requests.encode(np.zeros((8, 8, 3), np.uint8))
    size = small.index(b"\xff\xc0") + 5
    lying = (
        small[:size] + struct.pack(">HH", 65_000, 65_000) + small[size + 4 :]
    )
    gif = bytearray(serving_requests.encode(np.zeros((8, 8), np.uint8), "GIF"))
    gif[6:10] = struct.pack("<HH", 32_767, 32_767)
    progressive = serving_requests.encode(
        scene.make_scene(0, (48, 64)).image, progressive=True
    )
    first = progressive.index(b"\xff\xda")
    last = progressive.rindex(b"\xff\xda")
    scans = progressive[:first] + 5000 * progressive[first:last]
    return {
        "jpeg_20000": start + _GRAY_BLOCKS * blocks + b"\xff\xd9",
        "jpeg_of_a_lying_header": lying,
        "jpeg_of_many_scans": scans + progressive[last:],
        "png_20000": _make_png(_SIDE, _SIDE, 3),
        "png_2147483647": _make_png(2**31 - 1, 2**31 - 1, 0),
        "gif_32767": bytes(gif),
    }


def make_text_bomb(num_bytes: int = 1_000_000_000) -> bytes:
    """Makes a small PNG with a note that is compressed from many bytes."""
    packed = _compress_zeros(num_bytes)
    small = serving_requests.encode(np.zeros((16, 16, 3), np.uint8), "PNG")
    note = _make_chunk(b"zTXt", b"a\x00\x00" + packed)
    return small[:33] + note + small[33:]


def _make_png(height: int, width: int, channels: int) -> bytes:
    """Makes a black PNG; without any pixel where there are no channels."""
    kind = 2 if channels else 0
    header = struct.pack(">IIBBBBB", width, height, 8, kind, 0, 0, 0)
    num_bytes = height * (1 + width * channels) if channels else 1
    return (
        _PNG_START
        + _make_chunk(b"IHDR", header)
        + _make_chunk(b"IDAT", _compress_zeros(num_bytes))
        + _make_chunk(b"IEND", b"")
    )


def _compress_zeros(num_bytes: int) -> bytes:
    packer = zlib.compressobj(9)
    part = bytes(1 << 20)
    parts = [packer.compress(part) for _ in range(num_bytes >> 20)]
    parts.append(packer.compress(bytes(num_bytes & ((1 << 20) - 1))))
    return b"".join([*parts, packer.flush()])


def _make_chunk(kind: bytes, data: bytes) -> bytes:
    check = zlib.crc32(kind + data)
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", check)
