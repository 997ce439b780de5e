# SPDX-License-Identifier: Apache-2.0
"""Both servers of one program: start, readiness, end."""

import asyncio
import concurrent.futures

import numpy as np
import pytest

from deeplab2_like import errors
from deeplab2_like.server import listener

grpc = pytest.importorskip("grpc")
health = pytest.importorskip("grpc_health.v1.health_pb2")
pytest.importorskip("tensorflow_serving")
http_client = pytest.importorskip("tritonclient.http")
grpc_client = pytest.importorskip("tritonclient.grpc")
grpc_utils = pytest.importorskip("tritonclient.utils")

from grpc_health.v1 import health_pb2_grpc  # noqa: E402

from deeplab2_like.server import grpc_app  # noqa: E402

_States = health.HealthCheckResponse


def _ask(module, address):
    """Asks a server by one of Triton's clients."""
    client = module.InferenceServerClient(address)
    files = module.InferInput("image_bytes", [2], "BYTES")
    files.set_data_from_numpy(np.array([b"a", b"bb"], object))
    try:
        answer = client.infer("mine", [files])
        return {
            name: answer.as_numpy(name).tolist()
            for name in ("length", "png_bytes")
        }
    finally:
        client.close()


def test_tritons_clients_get_the_same_by_http_and_grpc(start_both):
    both = start_both()
    expected = {"length": [1, 2], "png_bytes": [b"A", b"BB"]}
    assert _ask(http_client, both.http_address) == expected
    assert _ask(grpc_client, both.grpc_address) == expected


def test_tritons_client_by_http_knows_the_models(start_both):
    both = start_both()
    client = http_client.InferenceServerClient(both.http_address)
    assert client.is_server_ready()
    assert client.is_model_ready("mine")
    assert not client.is_model_ready("no")
    assert client.get_server_metadata()["name"] == "deeplab2_like"
    described = client.get_model_metadata("mine")
    assert described["inputs"][0]["shape"] == [-1, -1, -1, 3]
    images = http_client.InferInput("images", [1, 2, 2, 3], "UINT8")
    for is_binary in (True, False):
        images.set_data_from_numpy(
            np.full((1, 2, 2, 3), 7, np.uint8), binary_data=is_binary
        )
        output = http_client.InferRequestedOutput("sum", binary_data=is_binary)
        answer = client.infer("mine", [images], outputs=[output])
        assert answer.as_numpy("sum").tolist() == [84]
    client.close()


def test_readiness_follows_the_models(start_both):
    both = start_both(is_loaded=False)
    store = both.app.state.store
    with grpc.insecure_channel(both.grpc_address) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        watched = stub.Watch(health.HealthCheckRequest(), timeout=60)
        assert next(watched).status == _States.NOT_SERVING
        for name in ("", "tensorflow.serving.PredictionService"):
            request = health.HealthCheckRequest(service=name)
            answer = stub.Check(request, timeout=30)
            assert answer.status == _States.NOT_SERVING
        store.models["mine"].poll()
        assert next(watched).status == _States.SERVING
        assert stub.Check(request, timeout=30).status == _States.SERVING
        with pytest.raises(grpc.RpcError) as caught:
            stub.Check(health.HealthCheckRequest(service="other"), timeout=30)
        assert caught.value.code() == grpc.StatusCode.NOT_FOUND
        # Watching does not keep the server from ending.
        both.server.should_exit = True
        assert next(watched).status == _States.NOT_SERVING
        watched.cancel()


def test_requests_are_answered_before_the_end(start_both, model):
    both = start_both()
    model.gate.clear()
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        held = pool.submit(_ask, grpc_client, both.grpc_address)
        assert model.started.acquire(timeout=30)
        http = pool.submit(_ask, http_client, both.http_address)
        with grpc.insecure_channel(both.grpc_address) as channel:
            stub = health_pb2_grpc.HealthStub(channel)
            watched = stub.Watch(health.HealthCheckRequest(), timeout=60)
            assert next(watched).status == _States.SERVING
            both.server.should_exit = True
            assert next(watched).status == _States.NOT_SERVING
        model.gate.set()
        assert held.result(30)["length"] == [1, 2]
        # It was taken on, or refused by a closed port.
        assert http.exception(30) or http.result()["length"] == [1, 2]
    both.thread.join(30)
    assert not both.thread.is_alive()


def test_a_second_signal_ends_what_still_runs(start_both, model):
    both = start_both()
    model.gate.clear()
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        held = pool.submit(_ask, grpc_client, both.grpc_address)
        assert model.started.acquire(timeout=30)
        # What uvicorn does at the first signal and at the second.
        both.server.should_exit = True
        both.server.force_exit = True
        with pytest.raises(grpc_utils.InferenceServerException):
            held.result(30)
        model.gate.set()
    both.thread.join(30)
    assert not both.thread.is_alive()
    both.app.state.store.close()


def test_a_port_that_is_taken_is_one_sentence(build):
    with listener.bind("127.0.0.1", 0) as taken:
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(errors.ConfigError, match=f"--grpc_port={port} "):
            listener.bind("127.0.0.1", port, "grpc_port")
        frame = build().state.frame
        server = grpc_app.GrpcServer(frame, "127.0.0.1", port)
        with pytest.raises(errors.ConfigError, match=f"--grpc_port={port} "):
            asyncio.run(server.start())
        frame.store.close()
