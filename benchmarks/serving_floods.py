# SPDX-License-Identifier: Apache-2.0
"""Floods of a server: more, larger and slower than a client should be."""

import contextlib
import json
import re
import socket
import threading
import time
from collections.abc import Callable

import httpx

from benchmarks import serving_clients, serving_figures, serving_requests

_CLIENTS = 200
_SLOW_SECONDS = 20.0
_HEAD = (
    f"POST {serving_requests.PREDICT_PATH} HTTP/1.1\r\nHost: a\r\n"
).encode()


def exchange(port: int, data: bytes, seconds: float) -> bytes:
    """Sends bytes, and returns the first answer.

    Args:
        port: Port of this machine.
        data: The bytes.
        seconds: How long to wait for more of the answer.
    """
    answer = b""
    with (
        contextlib.suppress(OSError),
        socket.create_connection(("127.0.0.1", port), seconds) as client,
    ):
        # It may have answered and closed while there was more to send.
        with contextlib.suppress(ConnectionError):
            client.sendall(data)
        while not _is_complete(answer) and (part := client.recv(1 << 16)):
            answer += part
    return answer


def _is_complete(answer: bytes) -> bool:
    head, end, body = answer.partition(b"\r\n\r\n")
    length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
    return bool(end and length) and len(body) >= int(length[1])


class HealthWatch:
    """Asks for the health of a server every 0.2 seconds.

    Attributes:
        seconds: How long each answer took.
        failed: Number of questions without a good answer.
    """

    def __init__(self, address: str):
        """Takes the address of the server."""
        self.seconds: list[float] = []
        self.failed = 0
        self._address = address
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> "HealthWatch":
        """Begins."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Ends."""
        self._is_over.set()
        self._thread.join()

    def _watch(self) -> None:
        with serving_clients.open_client(self._address) as client:
            while not self._is_over.wait(0.2):
                start = time.monotonic()
                try:
                    status = client.get("/v2/health/ready").status_code
                except httpx.TransportError:
                    status = 0
                self.seconds.append(time.monotonic() - start)
                self.failed += status != 200


def _in_threads(run: Callable[[], None], count: int = _CLIENTS) -> None:
    threads = [threading.Thread(target=run) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def flood_headers(port: int, _: serving_requests.Request) -> dict[str, float]:
    """Sends headers of 200 KB from many clients."""
    headers = b"".join(b"x-%d: %s\r\n" % (n, b"a" * 1000) for n in range(200))
    answers: list[bytes] = []
    _in_threads(lambda: answers.append(exchange(port, _HEAD + headers, 30)))
    refused = [x for x in answers if not x or x.startswith(b"HTTP/1.1 4")]
    return {"answers": len(answers), "not_refused": len(answers) - len(refused)}


def _drip(port: int, start: bytes, count: int = _CLIENTS) -> dict[str, float]:
    """Opens connections, sends a start, and then a byte now and then.

    Returns:
        How many are still open at the end.
    """
    with contextlib.ExitStack() as stack:
        clients = []
        for _ in range(count):
            client = socket.create_connection(("127.0.0.1", port), 30)
            clients.append(stack.enter_context(client))
            client.sendall(start)
            client.setblocking(False)
        end = time.monotonic() + _SLOW_SECONDS
        while time.monotonic() < end:
            time.sleep(0.5)
            clients = [client for client in clients if _is_open(client)]
        return {"open_at_the_end": float(len(clients))}


def _is_open(client: socket.socket) -> bool:
    """Sends a byte; returns whether the other side still takes it."""
    try:
        client.send(b"a")
        while part := client.recv(1 << 16):
            del part
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def slow_headers(port: int, _: serving_requests.Request) -> dict[str, float]:
    """Sends headers byte by byte."""
    return _drip(port, _HEAD + b"x: ")


def slow_bodies(port: int, _: serving_requests.Request) -> dict[str, float]:
    """Sends bodies byte by byte."""
    return _drip(port, _HEAD + b"Content-Length: 100000\r\n\r\n")


def idle_connections(
    port: int, _: serving_requests.Request
) -> dict[str, float]:
    """Opens more connections than the server keeps, and sends nothing."""
    with contextlib.ExitStack() as stack:
        clients = []
        for _number in range(1100):
            with contextlib.suppress(OSError):
                client = socket.create_connection(("127.0.0.1", port), 5)
                clients.append(stack.enter_context(client))
                client.setblocking(False)
        opened = len(clients)
        time.sleep(_SLOW_SECONDS)
        still = sum(_is_quiet(client) for client in clients)
    return {"opened": float(opened), "open_at_the_end": float(still)}


def _is_quiet(client: socket.socket) -> bool:
    try:
        return bool(client.recv(1 << 16))
    except BlockingIOError:
        return True
    except OSError:
        return False


def slow_readers(port: int, good: serving_requests.Request) -> dict[str, float]:
    """Asks for large answers, and does not read them."""
    body = json.loads(good.body)
    body["signature_name"] = "encoded"
    text = json.dumps(body).encode()
    head = _HEAD + b"Content-Length: %d\r\n\r\n" % len(text)
    with contextlib.ExitStack() as stack:
        clients = []
        for _number in range(_CLIENTS):
            client = socket.socket()
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
            client.settimeout(30)
            client.connect(("127.0.0.1", port))
            clients.append(stack.enter_context(client))
            client.sendall(head + text)
        time.sleep(_SLOW_SECONDS)
    return {"clients": float(len(clients))}


def large_bodies(port: int, _: serving_requests.Request) -> dict[str, float]:
    """Sends 50 MB, with and without their length, from a few clients."""
    block = bytes(1 << 20)
    chunk = b"100000\r\n" + block + b"\r\n"
    chunked = _HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + 50 * chunk
    known = _HEAD + b"Content-Length: 52428800\r\n\r\n" + 50 * block
    answers: list[bytes] = []
    for data in (chunked, known):
        _in_threads(lambda x=data: answers.append(exchange(port, x, 30)), 8)
    codes = (b"HTTP/1.1 413 ", b"HTTP/1.1 429 ")
    refused = [x for x in answers if not x or x.startswith(codes)]
    return {
        "answers": len(answers),
        "refused_413": sum(x.startswith(b"HTTP/1.1 413") for x in answers),
        "not_refused": len(answers) - len(refused),
    }


def _post_from_all(
    port: int, request: serving_requests.Request
) -> dict[str, float]:
    tally = serving_clients.Tally()

    def send() -> None:
        address = f"http://127.0.0.1:{port}"
        with serving_clients.open_client(address) as client:
            serving_clients.send(client, request, tally)

    _in_threads(send)
    return serving_figures.list_counts(tally)


def many_clients(port: int, good: serving_requests.Request) -> dict[str, float]:
    """Sends a good request from 200 clients at once."""
    return _post_from_all(port, good)


def empty_lists(port: int, _: serving_requests.Request) -> dict[str, float]:
    """Sends documents of 30 MB of empty lists from 200 clients at once."""
    body = b'{"instances": [' + b"[]," * 10_000_000 + b"[]]}"
    request = serving_requests.make_refused("lists", body, 400)
    return _post_from_all(port, request)


FLOODS: dict[
    str, Callable[[int, serving_requests.Request], dict[str, float]]
] = {
    "headers": flood_headers,
    "slow_headers": slow_headers,
    "slow_bodies": slow_bodies,
    "slow_readers": slow_readers,
    "idle_connections": idle_connections,
    "large_bodies": large_bodies,
    "many_clients": many_clients,
    "empty_lists": empty_lists,
}
