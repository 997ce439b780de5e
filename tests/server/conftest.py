# SPDX-License-Identifier: Apache-2.0
"""A model that needs no TensorFlow."""

import asyncio
import contextlib
import json
import threading

import httpx
import numpy as np
import pytest
from starlette.testclient import TestClient

from deeplab2_like.server import app as app_lib
from deeplab2_like.server import failures, listener
from deeplab2_like.server.batching import Batcher, BatchingOptions
from deeplab2_like.server.limits import Limits
from deeplab2_like.server.metrics import Metrics
from deeplab2_like.server.signatures import Signature, TensorInfo
from deeplab2_like.server.versions import ModelOptions, ServedModel, Store


class FakeModel:
    """Writes down its calls; answers with the lengths of the files.

    Attributes:
        gate: Calls wait until it is set.
        calls: Files of each call.
    """

    max_rows = 100
    descriptor = None

    def __init__(self):
        files = {"image_bytes": TensorInfo("string", (None,))}
        answer = {
            "png_bytes": TensorInfo("string", (None,)),
            "length": TensorInfo("int32", (None,)),
        }
        self.signatures = {
            "serving_default": Signature(
                {"images": TensorInfo("uint8", (None, None, None, 3))},
                {"sum": TensorInfo("int64", (None,))},
            ),
            "encoded": Signature(files, answer),
            "encoded_compact": Signature(files, answer, True),
        }
        self.gate = threading.Event()
        self.gate.set()
        self.started = threading.Semaphore(0)
        self.calls = []

    def warm_up(self):
        pass

    def run(self, signature_name, inputs):
        self.started.release()
        assert self.gate.wait(30)
        if signature_name == "serving_default":
            images = inputs["images"].astype(np.int64)
            return {"sum": images.sum(axis=(1, 2, 3))}
        files = inputs["image_bytes"].tolist()
        self.calls.append(files)
        if b"refused" in files:
            raise failures.invalid("The file is refused.")
        if b"crash" in files:
            raise MemoryError("secret pixels")
        return {
            "png_bytes": np.array([file.upper() for file in files], object),
            "length": np.array([len(file) for file in files], np.int32),
        }


@pytest.fixture
def model():
    return FakeModel()


class Server:
    """An application behind a client, and requests to it."""

    def __init__(self, client):
        self.client = client

    def post(self, path, body, **headers):
        if not isinstance(body, bytes):
            body = json.dumps(body).encode()
        return self.client.post(path, content=body, headers=headers)

    def get(self, path, **headers):
        return self.client.get(path, headers=headers)


class Both:
    """A program with both servers."""

    def __init__(self, app, listening):
        self.app = app
        self.http_port = listening.getsockname()[1]
        self.http_address = f"127.0.0.1:{self.http_port}"
        from deeplab2_like.server import grpc_app

        self.beside = grpc_app.GrpcServer(app.state.frame, "127.0.0.1", 0)
        self.server = listener.make_server(app, self.beside)
        self.thread = threading.Thread(
            target=self.server.run, kwargs={"sockets": [listening]}
        )

    @property
    def grpc_address(self):
        return f"127.0.0.1:{self.beside.port}"


@pytest.fixture
def build(tmp_path, model):
    """Returns a function that builds an application with one model."""

    def make(
        api_key=None, is_loaded=True, labels=None, has_page=True, **limits
    ):
        (tmp_path / "3").mkdir()
        (tmp_path / "3" / "saved_model.pb").touch()
        metrics = Metrics()
        served = ServedModel(
            ModelOptions("mine", tmp_path, labels or {}),
            lambda _: model,
            lambda loaded: Batcher(
                loaded,
                BatchingOptions(),
                lambda call: metrics.add_call("mine", call),
            ),
        )
        store = Store([served], 0.1)
        if is_loaded:
            served.poll()
        else:
            store.start = lambda: None
        return app_lib.make_app(
            store, metrics, Limits(**limits), api_key, has_page=has_page
        )

    return make


@pytest.fixture
def start(build, model):
    """Returns a function that starts an application; see `build`."""
    with contextlib.ExitStack() as stack:

        def make(**options):
            client = TestClient(build(**options), raise_server_exceptions=False)
            return Server(stack.enter_context(client))

        yield make
        model.gate.set()


@pytest.fixture
def server(start):
    return start()


@pytest.fixture
def start_both(build, model):
    """Returns a function that starts both servers; see `build`."""
    started = []

    def make(**options):
        listening = listener.bind("127.0.0.1", 0)
        listening.listen()  # So that clients need not wait for the thread.
        both = Both(build(**options), listening)
        both.thread.start()
        started.append((both, listening))
        # It is answered when HTTP has started, and gRPC in the same turn.
        live = httpx.get(f"http://{both.http_address}/v2/health/live")
        assert live.status_code == 200
        return both

    yield make
    model.gate.set()
    for both, listening in started:
        both.server.should_exit = True
        both.thread.join(30)
        assert not both.thread.is_alive()
        listening.close()


@pytest.fixture
def serve_grpc(build, model):
    """Returns a function that starts a gRPC server; see `build`.

    It returns the port and the frame.
    """
    pytest.importorskip("grpc_health")
    pytest.importorskip("tensorflow_serving")
    from deeplab2_like.server import grpc_app

    with contextlib.ExitStack() as stack:

        def make(**options):
            frame = build(**options).state.frame
            server = grpc_app.GrpcServer(frame, "127.0.0.1", 0)
            stack.callback(frame.store.close)
            stack.enter_context(_run(server))
            stack.callback(model.gate.set)
            return server.port, frame

        yield make


@contextlib.contextmanager
def _run(server):
    """Runs a gRPC server in a thread."""
    started = threading.Event()
    loops = []

    async def run():
        loops.append(asyncio.get_running_loop())
        is_over = asyncio.Event()
        loops.append(is_over)
        await server.start()
        started.set()
        await is_over.wait()
        await server.stop(30)

    thread = threading.Thread(target=asyncio.run, args=[run()])
    thread.start()
    assert started.wait(30)
    try:
        yield
    finally:
        loop, is_over = loops
        loop.call_soon_threadsafe(is_over.set)
        thread.join(60)
        assert not thread.is_alive()
