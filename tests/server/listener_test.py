# SPDX-License-Identifier: Apache-2.0
"""The application behind its HTTP server, over a socket."""

import concurrent.futures
import contextlib
import json
import socket
import threading

import httpx
import pytest

from deeplab2_like import errors
from deeplab2_like.server import listener

_BODY = json.dumps(
    {
        "signature_name": "encoded_compact",
        "instances": [{"b64": "YQ=="}],
    }
).encode()


@pytest.fixture
def served(build, model):
    """The server, its port, and the thread that it runs in."""
    server = listener.make_server(build(max_body_bytes=1000))
    with listener.bind("127.0.0.1", 0) as listening:
        listening.listen()  # So that clients need not wait for the thread.
        thread = threading.Thread(
            target=server.run, kwargs={"sockets": [listening]}
        )
        thread.start()
        yield server, listening.getsockname()[1], thread
        model.gate.set()
        server.should_exit = True
        thread.join(30)
        assert not thread.is_alive()


def _exchange(port, data):
    """Sends bytes and returns all that the server answers."""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as client:
        # It may have answered and closed while there was more to send.
        with contextlib.suppress(OSError):
            client.sendall(data)
        parts = []
        with contextlib.suppress(ConnectionError):
            while part := client.recv(65536):
                parts.append(part)
        return b"".join(parts)


def _post(port):
    return httpx.post(
        f"http://127.0.0.1:{port}/v1/models/mine:predict",
        content=_BODY,
        timeout=30,
    )


def test_a_flood_of_headers_is_cut_off(served):
    _, port, _ = served
    flood = b"".join(b"x-%d: %s\r\n" % (n, b"a" * 1000) for n in range(200))
    start = b"POST /v1/models/mine:predict HTTP/1.1\r\nHost: a\r\n"
    answer = _exchange(port, start + flood)
    assert answer == b"" or answer.startswith(b"HTTP/1.1 4")
    assert _post(port).status_code == 200


@pytest.mark.parametrize("is_chunked", [False, True])
def test_a_large_request_is_cut_off(served, is_chunked):
    _, port, _ = served
    start = b"POST /v1/models/mine:predict HTTP/1.1\r\nHost: a\r\n"
    if is_chunked:
        rest = (
            b"Transfer-Encoding: chunked\r\n\r\n"
            + (b"100000\r\n" + bytes(1 << 20) + b"\r\n") * 4
        )
    else:
        rest = b"Content-Length: 50000000\r\n\r\n"
    answer = _exchange(port, start + rest)
    assert answer == b"" or answer.startswith(b"HTTP/1.1 413 ")
    assert is_chunked or b"more than 1000 bytes" in answer
    assert _post(port).status_code == 200


@pytest.mark.parametrize(
    "data",
    [
        b"hello\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"GET /v2 HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    ],
)
def test_what_is_no_http_is_refused(served, data):
    _, port, _ = served
    assert _exchange(port, data).startswith(b"HTTP/1.1 400 ")
    assert _post(port).status_code == 200


def test_a_weird_host_is_answered(served):
    _, port, _ = served
    request = b"GET /no HTTP/1.1\r\nHost: [a\r\nConnection: close\r\n\r\n"
    assert _exchange(port, request).startswith(b"HTTP/1.1 404 ")
    request = request.replace(b"/no", b"/v2/health/ready")
    assert _exchange(port, request).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize("host", ["127.0.0.1", "198.51.100.7"])
def test_an_address_that_cannot_be_used_is_one_sentence(host):
    with listener.bind("127.0.0.1", 0) as taken:
        taken.listen()
        with pytest.raises(errors.ConfigError, match="cannot be listened on"):
            listener.bind(host, taken.getsockname()[1])


def test_requests_are_answered_before_the_end(served, model):
    server, port, thread = served
    assert _post(port).status_code == 200
    assert model.started.acquire(timeout=30)
    model.gate.clear()
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        held = pool.submit(_post, port)
        assert model.started.acquire(timeout=30)
        server.should_exit = True
        model.gate.set()
        assert held.result(30).status_code == 200
    thread.join(30)
    assert not thread.is_alive()
