# SPDX-License-Identifier: Apache-2.0
"""Slow clients, over a socket."""

import concurrent.futures
import contextlib
import dataclasses
import json
import socket
import threading

import httpx
import numpy as np
import pytest

from deeplab2_like.server import connections, listener

_PATIENCE = connections.Patience(header_seconds=0.5, write_seconds=0.5)
_COMPACT = {
    "signature_name": "encoded_compact",
    "instances": [{"b64": "YQ=="}],
}
_PATH = "/v1/models/mine:predict"
_HEAD = f"POST {_PATH} HTTP/1.1\r\nHost: a\r\n".encode()


@pytest.fixture
def start(build, model):
    """Returns a function that starts a server: its port and its thread."""
    with contextlib.ExitStack() as stack:
        servers = []

        def make(**options):
            patience = dataclasses.replace(_PATIENCE, **options)
            server = listener.make_server(build(), patience=patience)
            listening = stack.enter_context(listener.bind("127.0.0.1", 0))
            listening.listen()
            thread = threading.Thread(
                target=server.run, kwargs={"sockets": [listening]}
            )
            thread.start()
            servers.append((server, thread))
            return listening.getsockname()[1], thread

        yield make
        model.gate.set()
        for server, thread in servers:
            server.should_exit = True
            thread.join(30)
            assert not thread.is_alive()


@pytest.fixture
def port(start):
    """The port of a server that waits for half a second."""
    return start()[0]


@contextlib.contextmanager
def _connect(port, data):
    with socket.create_connection(("127.0.0.1", port), timeout=30) as client:
        client.sendall(data)
        yield client


def _read_all(client):
    parts = []
    with contextlib.suppress(ConnectionError):
        while part := client.recv(1 << 16):
            parts.append(part)
    return b"".join(parts)


def _post(port, body):
    url = f"http://127.0.0.1:{port}{_PATH}"
    return httpx.post(url, json=body, timeout=30)


def test_headers_that_do_not_arrive_are_refused_with_a_sentence(port):
    with _connect(port, _HEAD + b"x: ") as client:
        answer = _read_all(client)
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 408 ")
    assert "did not arrive within 0.5" in json.loads(body)["error"]
    assert f"content-length: {len(body)}".encode() in head


def test_headers_byte_by_byte_do_not_extend_the_time(port):
    with _connect(port, _HEAD) as client:
        # A few bytes for each of the times that the server waits.
        client.settimeout(0.05)
        for _ in range(600):
            try:
                client.sendall(b"x")
                answer = client.recv(1 << 16)
            except TimeoutError:
                continue
            except ConnectionError:
                answer = b""
            break
        else:
            pytest.fail("The connection was kept.")
        assert answer == b"" or answer.startswith(b"HTTP/1.1 408 ")


def test_a_connection_without_a_request_ends(port):
    with _connect(port, b"") as client:
        assert _read_all(client) == b""


def test_a_long_computation_is_no_slow_client(port, model):
    model.gate.clear()
    threading.Timer(1.0, model.gate.set).start()
    body = {"signature_name": "encoded", "instances": [{"b64": "YQ=="}]}
    answer = _post(port, body)
    assert answer.status_code == 200


def test_further_requests_of_a_connection_have_their_own_time(port, model):
    body = {"signature_name": "encoded", "instances": [{"b64": "YQ=="}]}
    with httpx.Client(base_url=f"http://127.0.0.1:{port}") as client:
        for _ in range(5):
            model.gate.clear()
            threading.Timer(0.2, model.gate.set).start()
            answer = client.post(_PATH, json=body, timeout=30)
            assert answer.status_code == 200


def test_the_rest_of_a_refused_body_is_not_waited_for(port):
    head = b"POST /no HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\na"
    with _connect(port, head) as client:
        answer = client.recv(1 << 16)
        assert answer.startswith(b"HTTP/1.1 404 ")
        with contextlib.suppress(ConnectionError):
            client.sendall(b"a")
        assert b"408" not in _read_all(client)


def test_idle_connections_make_room_for_others(start):
    port, _ = start(max_connections=3, header_seconds=60)
    with contextlib.ExitStack() as stack:
        idle = [
            stack.enter_context(_connect(port, _HEAD if number else b""))
            for number in range(3)
        ]
        for _ in range(5):
            assert _post(port, _COMPACT).status_code == 200
        # The first that came, and each that was answered after it.
        assert _read_all(idle[0]) == b""
        idle[2].settimeout(0.1)
        with pytest.raises(TimeoutError):
            idle[2].recv(1)


def test_connections_that_work_are_not_closed_for_others(start, model):
    port, _ = start(max_connections=1)
    model.gate.clear()
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        held = pool.submit(_post, port, _COMPACT)
        assert model.started.acquire(timeout=30)
        answer = _post(port, _COMPACT)
        assert answer.status_code == 503
        assert answer.headers["retry-after"] == "1"
        assert "1 connections already" in answer.json()["error"]
        model.gate.set()
        assert held.result(30).status_code == 200


def test_an_answer_that_is_not_read_is_dropped(port, model, monkeypatch):
    lost = threading.Event()
    kind = connections._PatientProtocol
    lose = kind.connection_lost

    def note(self, error):
        lose(self, error)
        lost.set()

    monkeypatch.setattr(kind, "connection_lost", note)
    # More than what the system keeps for a connection.
    large = np.array([b"a" * 30_000_000], object)
    model.run = lambda *_: {"text": large}
    body = b'{"signature_name": "encoded", "instances": ["a"]}'
    head = _HEAD + b"Content-Length: %d\r\n\r\n" % len(body)
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.settimeout(30)
        client.connect(("127.0.0.1", port))
        client.sendall(head + body)
        assert lost.wait(30)
        assert len(_read_all(client)) < len(large[0])


def test_an_answer_that_is_read_is_whole(port, model):
    large = np.array([b"a" * 30_000_000], object)
    model.run = lambda *_: {"text": large}
    body = {"signature_name": "encoded", "instances": ["a"]}
    answer = _post(port, body)
    assert answer.json() == {"predictions": ["a" * 30_000_000]}
