# SPDX-License-Identifier: Apache-2.0
"""Keys, limits, failures, logs and broken requests over gRPC."""

import asyncio
import collections
import concurrent.futures
import json
import logging
import queue
import random

import numpy as np
import pytest

from deeplab2_like.protos import open_inference_pb2 as protocol
from deeplab2_like.server import failures, limits

grpc = pytest.importorskip("grpc")

_INFER = "/inference.GRPCInferenceService/ModelInfer"
_PREDICT = "/tensorflow.serving.PredictionService/Predict"
_Code = grpc.StatusCode


def _request(*files):
    request = protocol.ModelInferRequest(model_name="mine", id="a")
    entry = request.inputs.add(
        name="image_bytes", datatype="BYTES", shape=[len(files)]
    )
    entry.contents.bytes_contents.extend(files)
    return request.SerializeToString()


class _Client:
    """A client that sends bytes."""

    def __init__(self, port, frame):
        self.channel = grpc.insecure_channel(f"127.0.0.1:{port}")
        self.frame = frame

    def call(self, path, data, **options):
        options = {"timeout": 30, **options}
        return self.channel.unary_unary(path)(data, **options)

    def infer(self, *files, **options):
        data = self.call(_INFER, _request(*files), **options)
        response = protocol.ModelInferResponse.FromString(data)
        return {output.name: output.contents for output in response.outputs}


@pytest.fixture
def start_client(serve_grpc):
    """Returns a function that starts a server and a client of it."""
    clients = []

    def make(**options):
        clients.append(_Client(*serve_grpc(**options)))
        return clients[-1]

    yield make
    for client in clients:
        client.channel.close()


@pytest.fixture
def client(start_client):
    return start_client()


def _check_failure(code, words, function, *arguments, **options):
    with pytest.raises(grpc.RpcError) as caught:
        function(*arguments, **options)
    assert caught.value.code() == code, caught.value.details()
    assert words in caught.value.details()
    assert len(caught.value.details().splitlines()) == 1


def test_a_key_is_needed_if_there_is_one(start_client):
    client = start_client(api_key="a" * 20)
    for metadata in (
        [],
        [("authorization", "Bearer " + "b" * 20)],
        [("x-api-key", "b" * 20)],
        [("x-api-key-bin", b"\xff")],
    ):
        for path, data in (
            (_INFER, _request(b"a")),
            ("/inference.GRPCInferenceService/ServerMetadata", b""),
            ("/tensorflow.serving.ModelService/GetModelStatus", b""),
        ):
            _check_failure(
                _Code.UNAUTHENTICATED,
                "The key is missing or wrong",
                *(client.call, path, data),
                metadata=metadata,
            )
    for name in ("ServerLive", "ServerReady"):
        path = f"/inference.GRPCInferenceService/{name}"
        assert client.call(path, b"") == b"\x08\x01"
    assert client.call("/grpc.health.v1.Health/Check", b"") == b"\x08\x01"
    for good in (
        ("authorization", f"Bearer {'a' * 20}"),
        ("x-api-key", "a" * 20),
    ):
        assert client.infer(b"a", metadata=[good])["length"].int_contents == [1]


def test_nothing_is_answered_before_the_model_is_loaded(start_client):
    client = start_client(is_loaded=False)
    _check_failure(_Code.UNAVAILABLE, "not loaded yet", client.infer, b"a")
    path = "/inference.GRPCInferenceService/"
    assert client.call(path + "ServerLive", b"") == b"\x08\x01"
    assert client.call(path + "ServerReady", b"") == b""
    ask = protocol.ModelReadyRequest(name="mine").SerializeToString()
    assert client.call(path + "ModelReady", ask) == b""
    assert client.call("/grpc.health.v1.Health/Check", b"") == b"\x08\x02"


def test_large_requests_are_refused(start_client):
    client = start_client(max_body_bytes=1000)
    _check_failure(
        _Code.RESOURCE_EXHAUSTED, "larger than max", client.infer, bytes(2000)
    )
    assert client.infer(bytes(900))["length"].int_contents == [900]


def test_compressed_requests_are_refused(client):
    _check_failure(
        _Code.UNIMPLEMENTED,
        "'gzip' is disabled",
        client.infer,
        bytes(2000),
        compression=grpc.Compression.Gzip,
    )


def test_more_requests_than_allowed_are_refused(start_client, model):
    client = start_client(max_requests=1)
    model.gate.clear()
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        held = pool.submit(client.infer, b"held")
        assert model.started.acquire(timeout=30)
        # Before anything of it is read.
        _check_failure(
            _Code.RESOURCE_EXHAUSTED,
            "1 requests are in work already",
            *(client.call, _INFER, b"\xff"),
        )
        assert client.call("/grpc.health.v1.Health/Check", b"") == b"\x08\x01"
        model.gate.set()
        assert held.result(30)["length"].int_contents == [4]
    assert client.infer(b"a")


def test_requests_with_too_many_bytes_together_are_refused(
    start_client, model, monkeypatch
):
    monkeypatch.setattr(limits, "_BODIES", 1)
    client = start_client(max_body_bytes=1000)
    model.gate.clear()
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        held = pool.submit(client.infer, bytes(500))
        assert model.started.acquire(timeout=30)
        _check_failure(
            _Code.RESOURCE_EXHAUSTED,
            "have 1000 bytes together",
            client.infer,
            bytes(600),
        )
        model.gate.set()
        assert held.result(30)["length"].int_contents == [500]
    assert client.infer(bytes(600))["length"].int_contents == [600]


def test_requests_that_take_too_long_are_given_up(start_client, model):
    client = start_client(request_seconds=0.05)
    model.gate.clear()
    words = "took longer than 0.05 seconds"
    _check_failure(_Code.DEADLINE_EXCEEDED, words, client.infer, b"held")


def _wait_for_place(client):
    """Waits until another request is taken on; sends one that is refused."""
    code = None
    while code != _Code.INVALID_ARGUMENT:
        with pytest.raises(grpc.RpcError) as caught:
            client.call(_INFER, b"\xff")
        code = caught.value.code()


def test_what_a_client_no_longer_waits_for_is_not_computed(start_client, model):
    client = start_client(max_requests=2)
    model.gate.clear()
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        held = pool.submit(client.infer, b"held")
        assert model.started.acquire(timeout=30)
        _check_failure(
            _Code.DEADLINE_EXCEEDED, "", client.infer, b"late", timeout=0.1
        )
        _wait_for_place(client)
        left = client.channel.unary_unary(_INFER).future(_request(b"left"))
        left.cancel()
        _wait_for_place(client)
        model.gate.set()
        held.result(30)
    client.infer(b"next")
    assert model.calls == [[b"held"], [b"next"]]


def test_clients_that_send_too_slowly_are_given_up(start_client):
    client = start_client(body_seconds=0.05)

    def send():
        yield from iter(is_over.get, None)

    is_over = queue.SimpleQueue()
    _check_failure(
        _Code.CANCELLED,
        "within 0.05 seconds",
        client.channel.stream_unary(_INFER),
        send(),
        timeout=30,
    )
    is_over.put(None)


def test_a_request_without_a_message_is_refused(client):
    _check_failure(
        _Code.INVALID_ARGUMENT,
        "No message of at most",
        client.channel.stream_unary(_INFER),
        iter([]),
        timeout=30,
    )


def test_methods_that_do_not_exist_are_refused(client):
    for path in ("/inference.GRPCInferenceService/Other", "/other/Predict"):
        _check_failure(_Code.UNIMPLEMENTED, "", client.call, path, b"")


def test_one_bad_request_hurts_no_other(client, model):
    model.gate.clear()
    with concurrent.futures.ThreadPoolExecutor(5) as pool:
        held = pool.submit(client.infer, b"held")
        assert model.started.acquire(timeout=30)
        files = (b"a", b"refused", b"crash", b"bb")
        answers = [pool.submit(client.infer, file) for file in files]
        model.gate.set()
        assert held.result(30)
        codes = [getattr(a.exception(30), "code", str)() for a in answers]
    assert codes == ["", _Code.INVALID_ARGUMENT, _Code.INTERNAL, ""]


def test_requests_are_counted_and_logged_as_those_over_http(
    client, caplog, monkeypatch
):
    # A program that ran before took the logs to itself.
    logger = logging.getLogger("deeplab2_like.server")
    monkeypatch.setattr(logger, "propagate", True)
    caplog.set_level(logging.INFO, "deeplab2_like.server")
    client.infer(b"secret")
    with pytest.raises(grpc.RpcError):
        client.infer(b"refused")
    text = client.frame.metrics.render().decode()
    count = ":tensorflow:serving:request_count"
    for status in ("OK", "INVALID_ARGUMENT"):
        labels = f'model_name="mine",status="{status}"'
        assert f"{count}{{{labels}}} 1.0" in text
    labels = 'API="Predict",entrypoint="GRPC",model_name="mine"'
    assert f"request_latency_count{{{labels}}} 2.0" in text
    good, bad = [r.fields for r in caplog.records if r.message == "Request"]
    assert (good["method"], good["path"]) == ("gRPC", _INFER)
    assert (good["model"], good["status"], good["code"]) == ("mine", "OK", 0)
    assert good["bytes_out"] > 0
    assert (bad["status"], bad["code"]) == ("INVALID_ARGUMENT", 3)
    assert "secret" not in json.dumps([good, bad])


def test_a_defect_is_one_sentence(client, monkeypatch):
    from deeplab2_like.server import open_inference_protos

    def fail(*_):
        raise KeyError("secret")

    monkeypatch.setattr(open_inference_protos, "format_infer", fail)
    words = "The server failed (KeyError). Please report it."
    _check_failure(_Code.INTERNAL, words, client.infer, b"a")


def _find_services(frame):
    from deeplab2_like.server import grpc_app

    return {s.name: s for s in grpc_app.make_services(frame)}


def test_other_servers_can_call_the_services(client):
    service = _find_services(client.frame)["inference.GRPCInferenceService"]
    request = protocol.ModelInferRequest.FromString(_request(b"abc"))
    answer = asyncio.run(service.answer("ModelInfer", request))
    assert answer.outputs[1].contents.int_contents == [3]
    request.model_name = "no"
    with pytest.raises(failures.RequestError, match="not found"):
        asyncio.run(service.answer("ModelInfer", request))


def test_generated_functions_add_the_services_to_other_servers(client):
    serving = pytest.importorskip(
        "tensorflow_serving.apis.prediction_service_pb2_grpc"
    )
    service = _find_services(client.frame)[
        "tensorflow.serving.PredictionService"
    ]

    async def exchange():
        server = grpc.aio.server()
        serving.add_PredictionServiceServicer_to_server(
            service.make_servicer(), server
        )
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        try:
            async with grpc.aio.insecure_channel(
                f"127.0.0.1:{port}"
            ) as channel:
                ask = channel.unary_unary(_PREDICT)
                good = await ask(_predict_request(), timeout=30)
                with pytest.raises(grpc.RpcError) as caught:
                    await ask(b"", timeout=30)
        finally:
            await server.stop(None)
        return good, caught.value

    good, error = asyncio.run(exchange())
    assert good
    assert error.code() == _Code.INVALID_ARGUMENT
    assert "Missing ModelSpec" in error.details()


def _predict_request():
    apis = pytest.importorskip("tensorflow_serving.apis.predict_pb2")
    request = apis.PredictRequest()
    request.model_spec.name = "mine"
    request.model_spec.version.value = 3
    request.output_filter.append("sum")
    tensor = request.inputs["images"]
    tensor.dtype = 4
    for side in (1, 2, 2, 3):
        tensor.tensor_shape.dim.add(size=side)
    tensor.tensor_content = bytes(range(12))
    return request.SerializeToString()


def _raw_request():
    request = protocol.ModelInferRequest.FromString(_request(b"a"))
    (entry,) = request.inputs
    entry.ClearField("contents")
    request.raw_input_contents.append(b"\3\0\0\0abc")
    request.outputs.add(name="length")
    request.parameters["signature_name"].string_param = "encoded"
    return request.SerializeToString()


def _image_request():
    pixels = np.arange(12, dtype=np.uint8)
    request = protocol.ModelInferRequest(model_name="mine")
    entry = request.inputs.add(
        name="images", datatype="UINT8", shape=[1, 2, 2, 3]
    )
    entry.contents.uint_contents.extend(pixels.tolist())
    return request.SerializeToString()


def _break(chance, data):
    """Changes bytes of a message by chance."""
    body = bytearray(data)
    for _ in range(chance.choice((1, 1, 2, 4))):
        place = chance.randrange(len(body))
        kind = chance.randrange(5)
        if kind == 0:
            body[place] = chance.randrange(256)
        elif kind == 1:
            body[place] ^= 1 << chance.randrange(8)
        elif kind == 2 and len(body) > 2:
            del body[place]
        elif kind == 3:
            body[place:place] = body[place : place + chance.randint(1, 9)]
        else:
            # A large number, as lengths and sides are.
            body[place:place] = b"\xff" * chance.randint(1, 9) + b"\x7f"
    if chance.random() < 0.1:
        del body[chance.randrange(len(body)) :]
    return bytes(body)


@pytest.mark.parametrize(
    "count", [200, pytest.param(4000, marks=pytest.mark.slow)]
)
def test_broken_requests_get_one_sentence_each(client, count):
    chance = random.Random(0)
    good = [
        (_INFER, _request(b"abc", b"d")),
        (_INFER, _raw_request()),
        (_INFER, _image_request()),
        (_PREDICT, _predict_request()),
    ]
    for path, data in good:
        client.call(path, data)
    codes = collections.Counter()
    for _ in range(count):
        path, data = chance.choice(good)
        ask = client.channel.unary_unary(path)
        answer = ask.future(_break(chance, data), timeout=30)
        codes[answer.code()] += 1
        if answer.code() != _Code.OK:
            assert 0 < len(answer.details()) < 500
            assert len(answer.details().splitlines()) == 1
    assert set(codes) == {_Code.OK, _Code.INVALID_ARGUMENT, _Code.NOT_FOUND}
    assert min(codes.values()) > count / 50
    for path, data in good:
        client.call(path, data)
