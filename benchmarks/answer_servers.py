# SPDX-License-Identifier: Apache-2.0
"""The ways of `answer_ways.py` over the protocols of the server."""

import base64
import contextlib
import json
import pathlib
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.answer_maps import (
    Files,
    LeftOutError,
    Map,
    Subject,
    Way,
    choose_reader,
)
from deeplab2_like import errors
from deeplab2_like.exports import signatures

_NAME = "model"
_START_SECONDS = 300.0


@contextlib.contextmanager
def serve_on_loopback(
    model: pathlib.Path, make_beside: Callable[[Any], Any] | None = None
) -> Iterator[tuple[str, Any]]:
    """Serves a model on a free port of this machine.

    Args:
        model: The exported model.
        make_beside: Makes what is served beside HTTP from the parts of the
            server.

    Yields:
        The address, and what `make_beside` made.
    """
    try:
        from deeplab2_like.server import limits, listener, serving_app
        from deeplab2_like.server.versions import ModelOptions
    except ImportError as error:
        raise LeftOutError(f"{error.name} is not installed") from None
    app = serving_app.build([ModelOptions(_NAME, model)], limits.Limits())
    beside = make_beside and make_beside(app.state.frame)
    server = listener.make_server(app, beside)
    with listener.bind("127.0.0.1", 0) as listening:
        listening.listen()
        thread = threading.Thread(
            target=server.run, kwargs={"sockets": [listening]}, daemon=True
        )
        thread.start()
        address = f"http://127.0.0.1:{listening.getsockname()[1]}"
        try:
            _wait_until_ready(f"{address}/v2/health/ready")
            yield address, beside
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


def ask_rest_v1(subject: Subject, signature: str) -> Iterator[Way]:
    """Yields the way over TensorFlow Serving's REST format."""
    to_maps = choose_reader(subject, signature)
    with serve_on_loopback(subject.model) as (address, _):

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


def ask_rest_v2(
    subject: Subject, signature: str, is_binary: bool
) -> Iterator[Way]:
    """Yields the way over the Open Inference Protocol."""
    to_maps = choose_reader(subject, signature)
    wanted = ("panoptic_png_bytes", "error")
    if not signatures.has_independent_rows(signature):
        map_name = "panoptic" if subject.info.has_instances else "semantic"
        wanted = (map_name, "segment_id", "segment_is_valid")
    with serve_on_loopback(subject.model) as (address, _):
        url = f"{address}/v2/models/{_NAME}/infer"

        def predict(files: Files) -> list[Map]:
            body, headers = encode_v2(files, signature, wanted, is_binary)
            answer, found = _post(url, body, headers)
            length = found.get("Inference-Header-Content-Length")
            return to_maps(decode_v2(answer, length))

        yield predict


def encode_v2(
    files: Files, signature: str, wanted: Sequence[str], is_binary: bool
) -> tuple[bytes, dict[str, str]]:
    """Encodes a request of version 2; returns its body and headers."""
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


def decode_v2(answer: bytes, length: str | None) -> dict[str, Any]:
    """Decodes the outputs in an answer of version 2.

    Args:
        answer: The body.
        length: The header with the length of the JSON; None without binary
            outputs.
    """
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


def ask_grpc(subject: Subject, signature: str) -> Iterator[Way]:
    """Yields the way over TensorFlow Serving's gRPC."""
    to_maps = choose_reader(subject, signature)
    try:
        import grpc
        import tensorflow as tf
        from tensorflow_serving.apis import (
            predict_pb2,
            prediction_service_pb2_grpc,
        )

        from deeplab2_like.server.grpc_app import GrpcServer
    except ImportError as error:
        raise LeftOutError(f"{error.name} is not installed") from None

    def listen(backend: Any) -> GrpcServer:
        return GrpcServer(backend, "127.0.0.1", 0)

    unlimited = [("grpc.max_receive_message_length", -1)]
    with (
        serve_on_loopback(subject.model, listen) as (_, beside),
        grpc.insecure_channel(f"127.0.0.1:{beside.port}", unlimited) as channel,
    ):
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)

        def predict(files: Files) -> list[Map]:
            request = predict_pb2.PredictRequest()
            request.model_spec.name = _NAME
            request.model_spec.signature_name = signature
            request.inputs["image_bytes"].CopyFrom(
                tf.make_tensor_proto(list(files))
            )
            answer = stub.Predict(request, timeout=_START_SECONDS)
            return to_maps(
                {
                    name: tf.make_ndarray(tensor)
                    for name, tensor in answer.outputs.items()
                }
            )

        yield predict
