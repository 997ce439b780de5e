# SPDX-License-Identifier: Apache-2.0
"""Requests to a served model whose right answers are known.

The right answer of a file is that of the function `encoded_compact` of the
exported model for this file alone, computed in this process.
"""

import base64
import dataclasses
import io
import json
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from deeplab2_like.scenes import scene

PREDICT_PATH = "/v1/models/mine:predict"
INFER_PATH = "/v2/models/mine/infer"
# Heights and widths of the good files.
SIZES = ((513, 1025), (480, 640), (321, 213), (97, 160), (33, 40))
_MAX_SCORE_DIFFERENCE = 1e-5
_MIN_EQUAL_PIXELS = 0.9999

Row = Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class Request:
    """A request, and what its answer must be.

    Attributes:
        name: What it is.
        path: Path of the URL.
        body: The bytes to send.
        status: Status of the right answer.
        check: Function of the body of an answer with that status: an empty
            text if it is right, or what is wrong with it.
        num_images: Images that are predicted for it.
    """

    name: str
    path: str
    body: bytes
    status: int
    check: Callable[[bytes], str]
    num_images: int = 0


def encode(
    pixels: npt.NDArray[Any], kind: str = "JPEG", **options: Any
) -> bytes:
    """Returns the bytes of an image file; see `PIL.Image.Image.save`."""
    return encode_picture(Image.fromarray(pixels), kind, **options)


def encode_picture(picture: Image.Image, kind: str, **options: Any) -> bytes:
    """Returns the bytes of an image file; see `PIL.Image.Image.save`."""
    stream = io.BytesIO()
    picture.save(stream, kind, **options)
    return stream.getvalue()


def draw_files() -> dict[str, bytes]:
    """Draws good files of several sizes, JPEG and PNG, by name."""
    files = {}
    for seed, size in enumerate(SIZES):
        image = scene.make_scene(seed, size).image
        name = f"{size[0]}x{size[1]}"
        files[f"{name}.jpg"] = encode(image, "JPEG", quality=90)
        if seed:
            files[f"{name}.png"] = encode(image, "PNG")
    return files


def draw_broken_files() -> dict[str, bytes]:
    """Makes files that cannot be predicted, by name."""
    image = scene.make_scene(0, (97, 160)).image
    jpeg, png = encode(image), encode(image, "PNG")
    deep = np.zeros((16, 16), np.uint16) + 300
    return {
        "empty": b"",
        "text": b"hello",
        "half_jpeg": jpeg[: len(jpeg) // 2],
        "half_png": png[: len(png) // 2],
        "gif": encode(image, "GIF"),
        "16_bits.png": encode(deep, "PNG"),
        "20000x20000.png": png[:16] + 2 * (20_000).to_bytes(4) + png[24:],
    }


class Answers:
    """The function `encoded_compact` of an exported model, in this process."""

    def __init__(self, folder: str | os.PathLike[str]):
        """Loads the model."""
        import tensorflow as tf

        loaded = tf.saved_model.load(os.fspath(folder))
        self._tf = tf
        # Without the loaded object its variables would be gone.
        self._loaded = loaded

    def predict(self, *files: bytes) -> list[Row]:
        """Answers files, a row each."""
        outputs = self.run("encoded_compact", *files)
        return [
            {name: value[index] for name, value in outputs.items()}
            for index in range(len(files))
        ]

    def run(self, signature: str, *files: bytes) -> dict[str, npt.NDArray[Any]]:
        """Runs a signature that takes files."""
        outputs = self._loaded.signatures[signature](
            image_bytes=self._tf.constant(list(files), self._tf.string)
        )
        return {name: value.numpy() for name, value in outputs.items()}


def make_body(files: Sequence[bytes], signature: str = "encoded_compact"):
    """Makes the body of a `:predict` request, bytes."""
    rows = [{"b64": base64.b64encode(file).decode()} for file in files]
    document = {"signature_name": signature, "instances": rows}
    return json.dumps(document).encode()


def make_predict(name: str, files: Sequence[bytes], rows: Sequence[Row]):
    """Makes the `Request` for files with the rows that must be answered."""

    def check(body: bytes) -> str:
        found = json.loads(body)["predictions"]
        if len(found) != len(rows):
            return f"{len(found)} rows for {len(rows)} files"
        wrong = map(compare, found, rows)
        return next((text for text in wrong if text), "")

    good = sum(not row["error"] for row in rows)
    return Request(name, PREDICT_PATH, make_body(files), 200, check, good)


def make_infer(name: str, file: bytes, row: Row, versions: list[int]):
    """Makes the `Request` for a file in the Open Inference Protocol.

    Args:
        name: What it is.
        file: The file.
        row: The row that must be answered.
        versions: To it is added what version each answer names.
    """
    tensor = {
        "name": "image_bytes",
        "shape": [1],
        "datatype": "BYTES",
        "parameters": {"content_type": "base64"},
        "data": [base64.b64encode(file).decode()],
    }

    def check(body: bytes) -> str:
        document = json.loads(body)
        found: dict[str, Any] = {}
        for output in document["outputs"]:
            shape = output["shape"][1:]
            value: Any = output["data"]
            if output["name"].endswith("_bytes"):
                value = {"b64": value[0]}
            elif not shape:
                (value,) = value
            found[output["name"]] = value
        versions.append(int(document["model_version"]))
        return compare(found, row)

    body = json.dumps({"inputs": [tensor]}).encode()
    return Request(name, INFER_PATH, body, 200, check, 1)


def make_refused(name: str, body: bytes, status: int) -> Request:
    """Makes a `Request` that must be refused with a sentence."""
    return Request(name, PREDICT_PATH, body, status, check_sentence)


def check_sentence(body: bytes) -> str:
    """Checks that an answer is one sentence under the key `error`."""
    try:
        document = json.loads(body)
    except ValueError:
        return "no JSON"
    if not isinstance(document, dict) or list(document) != ["error"]:
        return "not the key error alone"
    return check_text(document["error"])


def check_text(text: Any) -> str:
    """Checks that a text is a sentence for a person, and not a traceback."""
    if not isinstance(text, str) or not text.strip():
        return "no sentence"
    if "\n" in text or "Traceback" in text or len(text) > 600:
        return f"no sentence but {text[:200]!r}"
    return ""


def compare(found: Mapping[str, Any], expected: Row) -> str:
    """Compares a row that was read from JSON with the right one.

    Scores may differ by rounding, and single pixels between segments, since
    the network sums in another order when it has several images.
    """
    if set(found) != set(expected):
        return f"other outputs: {sorted(found)}"
    for name, value in expected.items():
        if name == "panoptic_png_bytes":
            continue
        if isinstance(value, bytes):
            is_equal = found[name] == value.decode()
        elif name == "segment_score":
            difference = np.abs(np.array(found[name]) - value).max()
            is_equal = difference <= _MAX_SCORE_DIFFERENCE
        elif name == "segment_area":
            total = max(1, int(expected["height"]) * int(expected["width"]))
            difference = np.abs(np.array(found[name]) - value).max()
            is_equal = difference <= (1 - _MIN_EQUAL_PIXELS) * total
        else:
            is_equal = np.array_equal(found[name], value)
        if not is_equal:
            return f"{name} is {str(found[name])[:80]}, not {str(value)[:80]}"
    png = base64.b64decode(found["panoptic_png_bytes"]["b64"])
    return _compare_maps(png, expected["panoptic_png_bytes"])


def _compare_maps(found: bytes, expected: bytes) -> str:
    if found == expected:
        return ""
    if not found or not expected:
        return f"a map of {len(found)} bytes, not {len(expected)}"
    maps = [np.array(Image.open(io.BytesIO(x))) for x in (found, expected)]
    if maps[0].shape != maps[1].shape:
        return f"a map of the shape {maps[0].shape}"
    equal = float((maps[0] == maps[1]).all(axis=2).mean())
    return "" if equal >= _MIN_EQUAL_PIXELS else f"{equal} of the map is right"
