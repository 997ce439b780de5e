# SPDX-License-Identifier: Apache-2.0
"""TensorFlow Serving's gRPC interface, asked by its own stubs."""

import concurrent.futures

import numpy as np
import pytest

from deeplab2_like.server import failures

grpc = pytest.importorskip("grpc")
pytest.importorskip("tensorflow_serving")

import tensorflow as tf  # noqa: E402
from tensorflow_serving.apis import (  # noqa: E402
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    inference_pb2,
    model_management_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
    regression_pb2,
)

_TensorProto = type(tf.make_tensor_proto(0))
_IMAGES = np.arange(24, dtype=np.uint8).reshape(2, 2, 2, 3)


class _Client:
    def __init__(self, channel):
        self.channel = channel
        self.prediction = prediction_service_pb2_grpc.PredictionServiceStub(
            channel
        )
        self.model = model_service_pb2_grpc.ModelServiceStub(channel)

    def predict(self, request, **options):
        return self.prediction.Predict(request, timeout=30, **options)


@pytest.fixture
def start_client(serve_grpc):
    """Returns a function that starts a server and a client of it."""
    channels = []

    def make(**options):
        port, _ = serve_grpc(**options)
        channels.append(grpc.insecure_channel(f"127.0.0.1:{port}"))
        return _Client(channels[-1])

    yield make
    for channel in channels:
        channel.close()


@pytest.fixture
def client(start_client):
    return start_client()


def _request(signature="", name="mine", **inputs):
    request = predict_pb2.PredictRequest()
    request.model_spec.name = name
    request.model_spec.signature_name = signature
    for key, value in inputs.items():
        if not isinstance(value, _TensorProto):
            value = tf.make_tensor_proto(value)
        request.inputs[key].CopyFrom(value)
    return request


def _compact(*files):
    return _request("encoded_compact", image_bytes=list(files))


def _check_failure(code, words, function, *arguments, **options):
    with pytest.raises(grpc.RpcError) as caught:
        function(*arguments, timeout=30, **options)
    assert caught.value.code() == code, caught.value.details()
    assert words in caught.value.details()
    assert len(caught.value.details().splitlines()) == 1
    assert len(caught.value.details()) < 500


def test_predictions(client):
    answer = client.predict(_request(images=_IMAGES))
    assert answer.model_spec.name == "mine"
    assert answer.model_spec.version.value == 3
    assert answer.model_spec.signature_name == "serving_default"
    sums = tf.make_ndarray(answer.outputs["sum"])
    assert sums.dtype == np.int64
    assert sums.tolist() == _IMAGES.sum((1, 2, 3)).tolist()
    answer = client.predict(_compact(b"a", b"bb"))
    assert tf.make_ndarray(answer.outputs["length"]).tolist() == [1, 2]
    # As clients in other languages read it.
    assert list(answer.outputs["length"].int_val) == [1, 2]
    assert list(answer.outputs["png_bytes"].string_val) == [b"A", b"BB"]


@pytest.mark.parametrize("kind", ["version", "label"])
def test_models_are_named_by_version_and_label(start_client, kind):
    client = start_client(labels={"best one": 3})
    request = _compact(b"a")
    if kind == "version":
        request.model_spec.version.value = 3
    else:
        request.model_spec.version_label = "best one"
    assert client.predict(request).model_spec.version.value == 3


def test_outputs_are_chosen(client):
    request = _compact(b"abc")
    request.output_filter.append("length")
    assert list(client.predict(request).outputs) == ["length"]


def _with_filter(*names):
    request = _compact(b"a")
    request.output_filter.extend(names)
    return request


def _with_version(value):
    request = _compact(b"a")
    request.model_spec.version.value = value
    return request


def _with_label(label):
    request = _compact(b"a")
    request.model_spec.version_label = label
    return request


def _without_shape(value, **shape):
    proto = tf.make_tensor_proto(value)
    proto.tensor_shape.Clear()
    for size in shape.pop("sizes", ()):
        proto.tensor_shape.dim.add(size=size)
    if shape:
        proto.tensor_shape.unknown_rank = True
    return proto


def _one_value(*sizes):
    proto = tf.make_tensor_proto(np.uint8(0), shape=sizes and [1])
    proto.ClearField("tensor_content")
    proto.int_val[:] = [7]
    proto.tensor_shape.Clear()
    for size in sizes:
        proto.tensor_shape.dim.add(size=size)
    return proto


def _values(*values, sizes=(1, 1, 1, 3)):
    proto = _one_value(*sizes)
    proto.int_val[:] = values
    return proto


def _text_in_content():
    proto = tf.make_tensor_proto([b"a"])
    proto.ClearField("string_val")
    proto.tensor_content = b"\1a"
    return proto


_INVALID = grpc.StatusCode.INVALID_ARGUMENT
_NOT_FOUND = grpc.StatusCode.NOT_FOUND


@pytest.mark.parametrize(
    ("request_", "code", "words"),
    [
        (predict_pb2.PredictRequest(), _INVALID, "Missing ModelSpec"),
        (_request(name="no"), _NOT_FOUND, "Latest(no)"),
        (_with_version(9), _NOT_FOUND, "Specific(mine, 9)"),
        (_with_version(-9), _NOT_FOUND, "Specific(mine, -9)"),
        (_with_label("x"), _NOT_FOUND, "no label 'x'"),
        (_request("other"), _INVALID, "no signature 'other'"),
        (_request(), _INVALID, "The inputs are 'none'"),
        (_request(other=_IMAGES), _INVALID, "The inputs are 'other'"),
        (_request(images=_IMAGES, more=1), _INVALID, "'images, more'"),
        (_request(images=_IMAGES[0]), _INVALID, "has the shape [2, 2, 3]"),
        (_request(images=_IMAGES[..., :2]), _INVALID, "uint8 [?, ?, ?, 3]"),
        (_request(images=_IMAGES.astype(np.int8)), _INVALID, "type DT_INT8"),
        (_request(images=["a"]), _INVALID, "type DT_STRING. It must be DT_U"),
        (_with_filter("other"), _INVALID, "output_filter has 'other'"),
        (_with_filter("length", "length"), _INVALID, "once each"),
        (_request(images=_without_shape(_IMAGES)), _INVALID, "needs 1."),
        (
            _request(images=_without_shape(_IMAGES, sizes=[2, 2, 2, 4])),
            _INVALID,
            "has 24 values. The shape [2, 2, 2, 4] needs 32.",
        ),
        (
            _request(images=_without_shape(_IMAGES, sizes=[-1, 2, 2, 3])),
            _INVALID,
            "at least 0",
        ),
        (
            _request(images=_without_shape(_IMAGES, sizes=[1] * 40)),
            _INVALID,
            "has 40 axes",
        ),
        (
            _request(images=_without_shape(_IMAGES, unknown_rank=True)),
            _INVALID,
            "unknown rank",
        ),
        (
            _request(images=_one_value(1, 2**30, 2**30, 3)),
            _INVALID,
            "one value for the shape",
        ),
        (
            _request(images=_values(sizes=(0, 2**30, 2**30, 2**30))),
            _INVALID,
            "too large",
        ),
        (_request(images=_values(1, 2)), _INVALID, "has 2 values"),
        (_request(images=_values()), _INVALID, "has 0 values"),
        (_request(images=_values(1, 2, 256)), _INVALID, "has 256, which uint8"),
        (_request(images=_values(1, 2, -1)), _INVALID, "has -1, which uint8"),
        (
            _request("encoded", image_bytes=_text_in_content()),
            _INVALID,
            "Send string_val.",
        ),
        (
            _request("encoded", image_bytes=[b"refused"]),
            _INVALID,
            "The file is refused.",
        ),
        (
            _request("encoded", image_bytes=[b"crash"]),
            grpc.StatusCode.INTERNAL,
            "The model failed (MemoryError)",
        ),
    ],
)
def test_requests_that_are_refused(client, request_, code, words):
    _check_failure(code, words, client.prediction.Predict, request_)


def test_one_value_fills_a_tensor(client):
    answer = client.predict(_request(images=_one_value(1, 2, 2, 3)))
    assert tf.make_ndarray(answer.outputs["sum"]).tolist() == [7 * 12]


def test_the_state_of_a_model(client):
    request = get_model_status_pb2.GetModelStatusRequest()
    _check_failure(
        _INVALID, "Missing ModelSpec", client.model.GetModelStatus, request
    )
    request.model_spec.name = "mine"
    (status,) = client.model.GetModelStatus(request).model_version_status
    states = get_model_status_pb2.ModelVersionStatus
    assert (status.version, status.state) == (3, states.AVAILABLE)
    assert status.status.error_code == 0
    request.model_spec.version.value = 9
    _check_failure(
        _NOT_FOUND, "with version 9", client.model.GetModelStatus, request
    )


def test_the_metadata_of_a_model(client):
    request = get_model_metadata_pb2.GetModelMetadataRequest()
    request.model_spec.name = "mine"
    ask = client.prediction.GetModelMetadata
    _check_failure(_INVALID, "must be signature_def", ask, request)
    request.metadata_field.append("other")
    _check_failure(_INVALID, "['other']", ask, request)
    request.metadata_field[:] = ["signature_def"]
    answer = ask(request)
    assert answer.model_spec.version.value == 3
    found = get_model_metadata_pb2.SignatureDefMap()
    assert answer.metadata["signature_def"].Unpack(found)
    signature = found.signature_def["serving_default"]
    assert signature.method_name == "tensorflow/serving/predict"
    tensor = signature.inputs["images"]
    assert tensor.dtype == tf.uint8.as_datatype_enum
    assert [dim.size for dim in tensor.tensor_shape.dim] == [-1, -1, -1, 3]


def test_what_models_cannot_do_is_refused(client):
    unsupported = grpc.StatusCode.UNIMPLEMENTED
    for method, request in (
        ("Classify", classification_pb2.ClassificationRequest()),
        ("Regress", regression_pb2.RegressionRequest()),
    ):
        ask = getattr(client.prediction, method)
        _check_failure(_INVALID, "Missing ModelSpec", ask, request)
        request.model_spec.name = "mine"
        words = f"no signature for {method.lower()}. Use predict."
        _check_failure(unsupported, words, ask, request)
    request = inference_pb2.MultiInferenceRequest()
    request.tasks.add().model_spec.name = "no"
    ask = client.prediction.MultiInference
    _check_failure(_NOT_FOUND, "Latest(no)", ask, request)
    request.tasks[0].model_spec.name = "mine"
    _check_failure(unsupported, "Use predict.", ask, request)
    request = model_management_pb2.ReloadConfigRequest()
    ask = client.model.HandleReloadConfigRequest
    _check_failure(unsupported, "started with", ask, request)


def test_answers_keep_types_and_sides():
    from deeplab2_like.server import tensor_protos
    from deeplab2_like.server.signatures import TensorInfo

    chance = np.random.default_rng(0)
    for dtype in (
        *("uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32"),
        *("int64", "float16", "float32", "float64", "bool"),
    ):
        data = chance.integers(0, 256, 6 * np.dtype(dtype).itemsize, np.uint8)
        if dtype == "bool":
            data %= 2
        array = data.view(dtype).reshape(1, 2, 3)
        proto = _TensorProto()
        tensor_protos.format_tensor(array, proto)
        np.testing.assert_array_equal(tf.make_ndarray(proto), array)
        info = TensorInfo(dtype, (1, 2, 3))
        for sent in (proto, tf.make_tensor_proto(array)):
            read = tensor_protos.parse_tensor("x", sent, info, 0)
            assert read.dtype == array.dtype
            np.testing.assert_array_equal(read, array)
    strings = np.array([[b"a", b"\xff"]], object)
    proto = _TensorProto()
    tensor_protos.format_tensor(strings, proto)
    assert tf.make_ndarray(proto).tolist() == strings.tolist()
    proto = _TensorProto()
    tensor_protos.format_tensor(np.zeros((0, 3), np.int32), proto)
    assert tf.make_ndarray(proto).shape == (0, 3)


def test_content_beside_values_is_refused():
    from deeplab2_like.server import tensor_protos
    from deeplab2_like.server.signatures import TensorInfo

    proto = _values(1, 2, 3)
    proto.tensor_content = b"\1\2\3"
    info = TensorInfo("uint8", (1, 1, 1, 3))
    with pytest.raises(failures.RequestError, match="not both"):
        tensor_protos.parse_tensor("x", proto, info, 100)


def test_what_waits_is_answered_in_one_call(client, model):
    model.gate.clear()
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        first = pool.submit(client.predict, _compact(b"first"))
        assert model.started.acquire(timeout=30)
        others = [
            client.prediction.Predict.future(_compact(bytes(n)), timeout=30)
            for n in (1, 2, 3)
        ]
        model.gate.set()
        for n, other in zip((1, 2, 3), others, strict=True):
            assert list(other.result(30).outputs["length"].int_val) == [n]
        first.result(30)
    assert sum(map(len, model.calls)) == 4
