# SPDX-License-Identifier: Apache-2.0
"""The Open Inference Protocol over gRPC, asked by Triton's client."""

import numpy as np
import pytest

from deeplab2_like.protos import open_inference_pb2
from deeplab2_like.server import failures, open_inference_protos
from deeplab2_like.server.infer_request import InferRequest
from deeplab2_like.server.signatures import Signature, TensorInfo

grpc = pytest.importorskip("grpc")
triton = pytest.importorskip("tritonclient.grpc")

from tritonclient.grpc import service_pb2, service_pb2_grpc  # noqa: E402
from tritonclient.utils import (  # noqa: E402
    InferenceServerException,
    np_to_triton_dtype,
)

_IMAGES = np.arange(24, dtype=np.uint8).reshape(2, 2, 2, 3)


@pytest.fixture
def port(serve_grpc):
    return serve_grpc()[0]


@pytest.fixture
def client(port):
    with triton.InferenceServerClient(f"127.0.0.1:{port}") as client:
        yield client


@pytest.fixture
def infer(port):
    """Returns a function that sends a message, for what the client hides."""
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        yield lambda request: stub.ModelInfer(request, timeout=30)


def _input(name, array, datatype):
    found = triton.InferInput(name, array.shape, datatype)
    found.set_data_from_numpy(array)
    return found


def test_numbers_and_types_are_those_of_the_protocol():
    """Compares each message with that of Triton's client."""
    theirs = service_pb2.DESCRIPTOR.message_types_by_name
    flat = {
        "TensorMetadata": theirs["ModelMetadataResponse"].nested_types_by_name,
        "InferTensor": {
            "InferTensor": theirs["ModelInferRequest"].nested_types_by_name[
                "InferInputTensor"
            ]
        },
        "InferRequestedOutput": {
            "InferRequestedOutput": theirs[
                "ModelInferRequest"
            ].nested_types_by_name["InferRequestedOutputTensor"]
        },
    }
    ours = open_inference_pb2.DESCRIPTOR.message_types_by_name
    assert len(ours) == 17
    for name, message in ours.items():
        expected = flat.get(name, theirs)[name].fields_by_name
        assert set(message.fields_by_name) <= set(expected)
        for field in message.fields:
            other = expected[field.name]
            assert (field.number, field.type) == (other.number, other.type)
            assert field.is_repeated == other.is_repeated


def test_health_and_metadata(client):
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("mine")
    assert client.is_model_ready("mine", "3")
    assert client.get_server_metadata().name == "deeplab2_like"
    described = client.get_model_metadata("mine")
    assert described.platform == "tensorflow_savedmodel"
    assert list(described.versions) == ["3"]
    (entry,) = described.inputs
    assert (entry.name, entry.datatype) == ("images", "UINT8")
    assert list(entry.shape) == [-1, -1, -1, 3]
    for ask in (client.is_model_ready, client.get_model_metadata):
        with pytest.raises(InferenceServerException, match="no"):
            ask("no")
        with pytest.raises(InferenceServerException, match="are numbers"):
            ask("mine", "x")


def test_inference(client):
    answer = client.infer("mine", [_input("images", _IMAGES, "UINT8")])
    sums = answer.as_numpy("sum")
    assert sums.dtype == np.int64
    assert sums.tolist() == _IMAGES.sum((1, 2, 3)).tolist()
    files = np.array([b"a", b"bb"], object)
    answer = client.infer(
        "mine",
        [_input("image_bytes", files, "BYTES")],
        outputs=[triton.InferRequestedOutput("length")],
        model_version="3",
        request_id="first",
        parameters={"signature_name": "encoded"},
    )
    assert answer.as_numpy("length").tolist() == [1, 2]
    assert answer.as_numpy("png_bytes") is None
    response = answer.get_response()
    assert (response.id, response.model_version) == ("first", "3")


def _typed(name="image_bytes", datatype="BYTES", shape=(1,), **contents):
    request = service_pb2.ModelInferRequest(model_name="mine")
    entry = request.inputs.add(name=name, datatype=datatype, shape=shape)
    for field, values in contents.items():
        getattr(entry.contents, field).extend(values)
    return request


def test_typed_values_are_answered_as_such(infer):
    answer = infer(_typed(bytes_contents=[b"abc"]))
    assert not answer.raw_output_contents
    found = {output.name: output for output in answer.outputs}
    assert list(found["png_bytes"].contents.bytes_contents) == [b"ABC"]
    length = found["length"]
    assert (length.datatype, list(length.shape)) == ("INT32", [1])
    assert list(length.contents.int_contents) == [3]
    pixels = _IMAGES.reshape(-1).tolist()
    request = _typed("images", "UINT8", _IMAGES.shape, uint_contents=pixels)
    (output,) = infer(request).outputs
    sums = _IMAGES.sum((1, 2, 3)).tolist()
    assert list(output.contents.int64_contents) == sums


def _raw(*contents, **changes):
    request = _typed(**changes)
    request.raw_input_contents.extend(contents)
    return request


def _change(request, **changes):
    for name, value in changes.items():
        setattr(request, name, value)
    return request


def _with_output(name, count=1):
    request = _typed(bytes_contents=[b"a"])
    for _ in range(count):
        request.outputs.add(name=name)
    return request


def _with_parameter(**value):
    request = _typed(bytes_contents=[b"a"])
    for name, setting in value.items():
        setattr(request.parameters["signature_name"], name, setting)
    return request


def _twice():
    request = _typed(bytes_contents=[b"a"])
    request.inputs.append(request.inputs[0])
    return request


@pytest.mark.parametrize(
    ("request_", "code", "words"),
    [
        (service_pb2.ModelInferRequest(), "NOT_FOUND", "Latest()"),
        (_change(_typed(), model_name="no"), "NOT_FOUND", "Latest(no)"),
        (_change(_typed(), model_version="9"), "NOT_FOUND", "(mine, 9)"),
        (_change(_typed(), model_version="x"), "NOT_FOUND", "are numbers"),
        (
            service_pb2.ModelInferRequest(model_name="mine"),
            "INVALID_ARGUMENT",
            "no inputs",
        ),
        (_twice(), "INVALID_ARGUMENT", "has 2 inputs"),
        (_typed("other"), "INVALID_ARGUMENT", "no input 'other'"),
        (_typed(datatype="UINT8"), "INVALID_ARGUMENT", "must be BYTES"),
        (_typed(datatype=""), "INVALID_ARGUMENT", "must be BYTES"),
        (_typed(), "INVALID_ARGUMENT", "has 0 values. The shape [1] needs 1"),
        (
            _typed(shape=[3], bytes_contents=[b"a"]),
            "INVALID_ARGUMENT",
            "has 1 values. The shape [3] needs 3",
        ),
        (
            _typed(shape=[-1], bytes_contents=[b"a"]),
            "INVALID_ARGUMENT",
            "at least 0",
        ),
        (
            _typed(shape=[1] * 99, bytes_contents=[b"a"]),
            "INVALID_ARGUMENT",
            "at least 0",
        ),
        (
            _typed(shape=[2**31 - 1] * 9, bytes_contents=[b"a"]),
            "INVALID_ARGUMENT",
            "has 1 values",
        ),
        (
            _typed(shape=[0] + [2**31 - 1] * 9),
            "INVALID_ARGUMENT",
            "too large",
        ),
        (
            _typed("images", "UINT8", [1, 1, 1, 3], uint_contents=[1, 2, 256]),
            "INVALID_ARGUMENT",
            "has 256, which uint8 cannot hold",
        ),
        (
            _typed("images", "UINT8", [1, 1, 1, 3], int_contents=[1, 2, 3]),
            "INVALID_ARGUMENT",
            "has 0 values",
        ),
        (
            _raw(b"abc", name="images", datatype="UINT8", shape=[1, 1, 1, 4]),
            "INVALID_ARGUMENT",
            "has 3 values",
        ),
        (
            _raw(b"abc", name="images", datatype="UINT8", shape=[1, 1, 3]),
            "INVALID_ARGUMENT",
            "It must be uint8 [?, ?, ?, 3]",
        ),
        (_raw(b"abc"), "INVALID_ARGUMENT", "ends within a value"),
        (_raw(b"\xff\xff\xff\xffa"), "INVALID_ARGUMENT", "ends within a value"),
        (_raw(b"a", b"b"), "INVALID_ARGUMENT", "has 2 entries for 1 inputs"),
        (
            _raw(b"\0\0\0\0", bytes_contents=[b"a"]),
            "INVALID_ARGUMENT",
            "contents beside raw",
        ),
        (_with_output("other"), "INVALID_ARGUMENT", "no output 'other'"),
        (_with_output("length", 9), "INVALID_ARGUMENT", "has 9 outputs"),
        (
            _with_parameter(string_param="other"),
            "INVALID_ARGUMENT",
            "no signature 'other'",
        ),
        (
            _with_parameter(int64_param=5),
            "INVALID_ARGUMENT",
            "must be a string",
        ),
        (
            _typed(bytes_contents=[b"refused"]),
            "INVALID_ARGUMENT",
            "The file is refused.",
        ),
        (
            _typed(bytes_contents=[b"crash"]),
            "INTERNAL",
            "The model failed (MemoryError)",
        ),
    ],
)
def test_requests_that_are_refused(infer, request_, code, words):
    with pytest.raises(grpc.RpcError) as caught:
        infer(request_)
    assert caught.value.code() == grpc.StatusCode[code]
    assert words in caught.value.details()
    assert len(caught.value.details().splitlines()) == 1
    assert len(caught.value.details()) < 500


def _read(request):
    data = request.SerializeToString()
    return open_inference_pb2.ModelInferRequest.FromString(data)


@pytest.mark.parametrize("is_raw", [False, True])
def test_each_type_is_read_and_written(is_raw):
    chance = np.random.default_rng(0)
    for dtype, field in {
        "bool": "bool_contents",
        "uint8": "uint_contents",
        "uint16": "uint_contents",
        "uint32": "uint_contents",
        "uint64": "uint64_contents",
        "int8": "int_contents",
        "int16": "int_contents",
        "int32": "int_contents",
        "int64": "int64_contents",
        "float16": None,
        "float32": "fp32_contents",
        "float64": "fp64_contents",
    }.items():
        data = chance.integers(0, 256, 6 * np.dtype(dtype).itemsize, np.uint8)
        data = data % 2 if dtype == "bool" else data
        array = data.view(dtype).reshape(2, 3)
        info = TensorInfo(dtype, (2, None))
        known = {"serving_default": Signature({"x": info}, {"x": info})}
        datatype = np_to_triton_dtype(array.dtype)
        if is_raw:
            request = _raw(
                array.tobytes(), name="x", datatype=datatype, shape=(2, 3)
            )
        else:
            values = {field: array.reshape(-1).tolist()} if field else {}
            request = _typed("x", datatype, (2, 3), **values)
        if not is_raw and field is None:
            with pytest.raises(failures.RequestError, match="no field for FP"):
                open_inference_protos.parse_infer(_read(request), known)
            asked = InferRequest("serving_default", {}, {"x": False}, "")
        else:
            asked = open_inference_protos.parse_infer(_read(request), known)
            assert asked.inputs["x"].dtype == array.dtype
            np.testing.assert_array_equal(asked.inputs["x"], array)
        answer = open_inference_protos.format_infer(
            asked, {"x": array}, "mine", 3
        )
        (output,) = answer.outputs
        assert (output.datatype, list(output.shape)) == (datatype, [2, 3])
        if is_raw or field is None:
            assert list(answer.raw_output_contents) == [array.tobytes()]
        else:
            found = np.array(getattr(output.contents, field), array.dtype)
            np.testing.assert_array_equal(found.reshape(2, 3), array)
