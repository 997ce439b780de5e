# SPDX-License-Identifier: Apache-2.0
"""The ways from image files to maps that `answers_agree.py` compares.

A way is a function from the files of a request to a map for each: int32 [H, W],
the numbers of the segments in the order of their table, 0 for none. A further
way is an entry of `WAYS`.
"""

import base64
import contextlib
import dataclasses
import io
import json
import pathlib
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf
from PIL import Image

from benchmarks import session_loader
from deeplab2_like import errors
from deeplab2_like.exports import byte_guard, exported_model, signatures
from deeplab2_like.labels import coco_format, label_map
from deeplab2_like.predict import panoptic_model
from deeplab2_like.predict.images import ImagePredictor
from deeplab2_like.predict.predictor import Predictor

Map = npt.NDArray[np.int32]
Files = Sequence[bytes]
Way = Callable[[Files], list[Map]]

_NAME = "model"
_START_SECONDS = 300.0


class LeftOutError(errors.UserError):
    """A way that does not exist here, and why."""


@dataclasses.dataclass(frozen=True)
class Subject:
    """What is compared.

    Attributes:
        model: Folder of the exported model.
        run: Model folder or checkpoint that it was exported from; None to
            leave out the live model.
        info: Facts about the exported model.
        work: Folder for files.
    """

    model: pathlib.Path
    run: str | None
    info: exported_model.ExportInfo
    work: pathlib.Path


def number_maps(outputs: Mapping[str, Any], divisor: int) -> list[Map]:
    """Returns the maps of a signature with maps, numbered as by the compact."""
    arrays = {name: np.asarray(value) for name, value in outputs.items()}
    ids_bhw = arrays.get("panoptic")
    if ids_bhw is None:
        ids_bhw = arrays["semantic"] * divisor
    maps = []
    for ids_hw, table, is_valid in zip(
        ids_bhw, arrays["segment_id"], arrays["segment_is_valid"], strict=True
    ):
        ids = table[is_valid]
        numbers = np.arange(1, len(ids) + 1)
        maps.append(label_map.replace_values(ids_hw, ids, numbers))
    return maps


def decode_answers(outputs: Mapping[str, Any]) -> list[Map]:
    """Returns the maps of a compact answer; 1x1 of -1 for one with an error."""
    maps = []
    for data, error in zip(
        np.asarray(outputs["panoptic_png_bytes"]),
        np.asarray(outputs["error"]),
        strict=True,
    ):
        if error:
            maps.append(np.full((1, 1), -1, np.int32))
            continue
        with Image.open(io.BytesIO(data)) as image:
            maps.append(coco_format.decode_ids(np.asarray(image)))
    return maps


def _live_model(
    subject: Subject, decode: Callable[[bytes], npt.NDArray[np.uint8]]
) -> Iterator[Way]:
    if subject.run is None:
        raise LeftOutError("--run is not given")
    sizes = ",".join(f"{h}x{w}" for h, w in subject.info.fixed_sizes)
    options = {"canvas_size": sizes} if sizes else {}
    model = panoptic_model.load_model(subject.run, **options)
    yield _predict_pixels(model, decode)


def _predict_pixels(
    model: ImagePredictor, decode: Callable[[bytes], npt.NDArray[np.uint8]]
) -> Way:
    divisor = model.descriptor.label_divisor

    def predict(files: Files) -> list[Map]:
        maps = []
        for data in files:
            outputs = model.predict_maps(decode(data))
            batch = {name: value[np.newaxis] for name, value in outputs.items()}
            maps += number_maps(batch, divisor)
        return maps

    return predict


def _decode_in_tensorflow(data: bytes) -> npt.NDArray[np.uint8]:
    return byte_guard.decode_upright(tf.constant(data)).numpy()


def _predictor(subject: Subject) -> Iterator[Way]:
    """As deeplab2-predict: files, decoded by Pillow."""
    predictor = Predictor.from_saved_model(subject.model)
    file = subject.work / "image"

    def decode(data: bytes) -> npt.NDArray[np.uint8]:
        file.write_bytes(data)
        return predictor.load_image(file, warn=lambda _: None)

    yield _predict_pixels(predictor, decode)


def _to_maps(
    subject: Subject, signature: str
) -> Callable[[Mapping[str, Any]], list[Map]]:
    """Returns the function from the outputs of a signature to maps."""
    if signature not in subject.info.signatures:
        raise LeftOutError(f"the model has no signature {signature}")
    if signatures.has_independent_rows(signature):
        return decode_answers
    divisor = exported_model.load_descriptor(subject.model).label_divisor
    return lambda outputs: number_maps(outputs, divisor)


def _eager(subject: Subject, signature: str) -> Iterator[Way]:
    to_maps = _to_maps(subject, signature)
    loaded = tf.saved_model.load(str(subject.model))
    serve = loaded.signatures[signature]
    yield lambda files: to_maps(serve(image_bytes=tf.constant([*files])))


def _session(subject: Subject, signature: str) -> Iterator[Way]:
    """TensorFlow's loader for sessions, from Python."""
    to_maps = _to_maps(subject, signature)
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        graph = tf.compat.v1.saved_model.load(
            session, ["serve"], str(subject.model)
        )
        found = graph.signature_def[signature]
        (fed,) = found.inputs.values()
        fetched = {name: x.name for name, x in found.outputs.items()}
        yield lambda files: to_maps(
            session.run(fetched, {fed.name: list(files)})
        )


def _cc(subject: Subject, signature: str, xla: bool) -> Iterator[Way]:
    """The C++ program, which loads the model anew for each call."""
    to_maps = _to_maps(subject, signature)
    problem = session_loader.find_problem()
    if problem is not None:
        raise LeftOutError(problem)
    program = subject.work / "session_loader"
    if not program.exists():
        program = session_loader.build(subject.work)

    def predict(files: Files) -> list[Map]:
        (outputs,) = session_loader.run(
            program, subject.model, signature, [files], xla=xla
        )
        return to_maps(outputs)

    yield predict


@contextlib.contextmanager
def serve_on_loopback(model: pathlib.Path) -> Iterator[str]:
    """Serves a model on a free port of this machine; yields its address."""
    try:
        from deeplab2_like.server import limits, listener, serving_app
        from deeplab2_like.server.versions import ModelOptions
    except ImportError as error:
        raise LeftOutError(f"{error.name} is not installed") from None
    app = serving_app.build([ModelOptions(_NAME, model)], limits.Limits())
    server = listener.make_server(app)
    with listener.bind("127.0.0.1", 0) as listening:
        listening.listen()
        thread = threading.Thread(
            target=server.run, kwargs={"sockets": [listening]}, daemon=True
        )
        thread.start()
        address = f"http://127.0.0.1:{listening.getsockname()[1]}"
        try:
            _wait_until_ready(f"{address}/v2/health/ready")
            yield address
        finally:
            server.should_exit = True
            thread.join(60)


def _wait_until_ready(url: str) -> None:
    end = time.monotonic() + _START_SECONDS
    while True:
        try:
            with urllib.request.urlopen(url, timeout=_START_SECONDS):
                return
        except OSError:
            if time.monotonic() > end:
                raise errors.UserError("The server does not start.") from None
            time.sleep(0.2)


def _post(
    url: str, body: bytes, headers: Mapping[str, str]
) -> tuple[bytes, Mapping[str, str]]:
    request = urllib.request.Request(url, body, dict(headers))
    with urllib.request.urlopen(request, timeout=_START_SECONDS) as answer:
        return answer.read(), answer.headers


def _rest_v1(subject: Subject, signature: str) -> Iterator[Way]:
    to_maps = _to_maps(subject, signature)
    with serve_on_loopback(subject.model) as address:

        def predict(files: Files) -> list[Map]:
            rows = [{"b64": base64.b64encode(d).decode()} for d in files]
            body = {"signature_name": signature, "inputs": rows}
            answer, _ = _post(
                f"{address}/v1/models/{_NAME}:predict",
                json.dumps(body).encode(),
                {},
            )
            return to_maps(_read_columns(json.loads(answer)["outputs"]))

        yield predict


def _read_columns(outputs: Mapping[str, Any]) -> dict[str, npt.NDArray[Any]]:
    columns = {}
    for name, rows in outputs.items():
        if name.endswith("_bytes"):
            rows = [base64.b64decode(row["b64"]) for row in rows]
        columns[name] = np.array(
            rows, object if name.endswith("_bytes") else None
        )
    return columns


def _rest_v2(
    subject: Subject, signature: str, is_binary: bool
) -> Iterator[Way]:
    to_maps = _to_maps(subject, signature)
    wanted = ("panoptic_png_bytes", "error")
    if not signatures.has_independent_rows(signature):
        map_name = "panoptic" if subject.info.has_instances else "semantic"
        wanted = (map_name, "segment_id", "segment_is_valid")
    with serve_on_loopback(subject.model) as address:
        url = f"{address}/v2/models/{_NAME}/infer"

        def predict(files: Files) -> list[Map]:
            body, headers = _encode_v2(files, signature, wanted, is_binary)
            answer, found = _post(url, body, headers)
            length = found.get("Inference-Header-Content-Length")
            return to_maps(_decode_v2(answer, length))

        yield predict


def _encode_v2(
    files: Files, signature: str, wanted: Sequence[str], is_binary: bool
) -> tuple[bytes, dict[str, str]]:
    data = b"".join(len(f).to_bytes(4, "little") + f for f in files)
    fed: dict[str, Any] = {
        "name": "image_bytes",
        "shape": [len(files)],
        "datatype": "BYTES",
    }
    if is_binary:
        fed["parameters"] = {"binary_data_size": len(data)}
    else:
        fed["parameters"] = {"content_type": "base64"}
        fed["data"] = [base64.b64encode(file).decode() for file in files]
    head = json.dumps(
        {
            "inputs": [fed],
            "outputs": [
                {"name": name, "parameters": {"binary_data": is_binary}}
                for name in wanted
            ],
            "parameters": {"signature_name": signature},
        }
    ).encode()
    if not is_binary:
        return head, {}
    return head + data, {"Inference-Header-Content-Length": str(len(head))}


_V2_DTYPES = {"INT32": "<i4", "FP32": "<f4", "BOOL": "?"}


def _decode_v2(answer: bytes, length: str | None) -> dict[str, Any]:
    end = len(answer) if length is None else int(length)
    found = {}
    for output in json.loads(answer[:end])["outputs"]:
        name, kind = output["name"], output["datatype"]
        parameters = output.get("parameters", {})
        if "data" in output:
            values = output["data"]
            if kind == "BYTES":
                if parameters.get("content_type") == "base64":
                    values = [base64.b64decode(value) for value in values]
                values = np.array(values, object)
            found[name] = np.array(values).reshape(output["shape"])
            continue
        part = answer[end : end + parameters["binary_data_size"]]
        end += len(part)
        if kind == "BYTES":
            found[name] = np.array(list(_split(part)), object)
        else:
            values = np.frombuffer(part, _V2_DTYPES[kind])
            found[name] = values.reshape(output["shape"])
    return found


def _split(data: bytes) -> Iterator[bytes]:
    """Splits strings that have their length in front."""
    place = 0
    while place < len(data):
        length = int.from_bytes(data[place : place + 4], "little")
        yield data[place + 4 : place + 4 + length]
        place += 4 + length


@dataclasses.dataclass(frozen=True)
class Entry:
    """A way in the table.

    Attributes:
        open: Function that yields the way once, and then cleans up.
        takes_any_sizes: Whether a request may have files of several sizes.
    """

    open: Callable[[Subject], Iterator[Way]]
    takes_any_sizes: bool = False


def _of(
    make: Callable[..., Iterator[Way]], signature: str, *more: Any
) -> Entry:
    return Entry(
        lambda subject: make(subject, signature, *more),
        signatures.has_independent_rows(signature),
    )


_TWIN = signatures.COMPACT + signatures.XLA_SUFFIX

# All are compared with the first one.
WAYS: dict[str, Entry] = {
    "SavedModel, eager, encoded": _of(_eager, signatures.BYTES),
    "live model": Entry(lambda s: _live_model(s, _decode_in_tensorflow)),
    "Predictor, Pillow": Entry(_predictor),
    "SavedModel, eager, compact": _of(_eager, signatures.COMPACT),
    "SavedModel, eager, compact, XLA": _of(_eager, _TWIN),
    "v1 Session, encoded": _of(_session, signatures.BYTES),
    "v1 Session, compact": _of(_session, signatures.COMPACT),
    "C++ session, compact, XLA off": _of(_cc, signatures.COMPACT, False),
    "C++ session, compact, XLA": _of(_cc, _TWIN, True),
    "REST v1, compact": _of(_rest_v1, signatures.COMPACT),
    "REST v2, JSON, compact": _of(_rest_v2, signatures.COMPACT, False),
    "REST v2, binary, compact": _of(_rest_v2, signatures.COMPACT, True),
    "REST v2, binary, encoded": _of(_rest_v2, signatures.BYTES, True),
}
