# SPDX-License-Identifier: Apache-2.0
"""Connections that slow clients do not keep.

uvicorn ends a connection that is idle between two requests. It waits without
end for the first request, for the rest of headers, and for a client that does
not read its answer, whose bytes stay in memory. Where there are too many
connections, it refuses the requests of all.
"""

import asyncio
import dataclasses
import http
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from deeplab2_like.storage import json_files

# Of an answer that waits to be read, in each `write_seconds`.
_LEAST_READ_BYTES = 100_000


@dataclasses.dataclass(frozen=True)
class Patience:
    """How long clients are waited for.

    Attributes:
        header_seconds: For all headers of a request, for the first byte of the
            first one, and for the rest of a body that was refused.
        write_seconds: For a client that reads less than 100 KB of its answer.
        max_connections: Most connections. One more takes the place of that
            which has waited longest for a request; where all have one, it is
            refused.
    """

    header_seconds: float = 10.0
    write_seconds: float = 10.0
    max_connections: int = 1000


def make_protocol(patience: Patience) -> type[H11Protocol]:
    """Makes the class of connections, for `uvicorn.Config(http=...)`."""

    class Protocol(_PatientProtocol):
        """A connection with limits."""

        limits = patience

    return Protocol


def _make_refusal(status: http.HTTPStatus, sentence: str) -> bytes:
    body = json_files.to_line({"error": sentence}).encode()
    lines = [
        f"HTTP/1.1 {status.value} {status.phrase}",
        "connection: close",
        "content-type: application/json",
        f"content-length: {len(body)}",
    ]
    if status == http.HTTPStatus.SERVICE_UNAVAILABLE:
        lines.append("retry-after: 1")
    return "\r\n".join([*lines, "", ""]).encode() + body


class _PatientProtocol(H11Protocol):
    """A connection with limits; the methods are those of `asyncio.Protocol`."""

    limits = Patience()

    def __init__(self, *arguments: Any, **options: Any):
        super().__init__(*arguments, **options)
        self._header_timer: asyncio.TimerHandle | None = None
        self._write_timer: asyncio.TimerHandle | None = None
        # When it began to wait for a request.
        self._since = 0.0

    def connection_made(  # type: ignore[override]
        self, transport: asyncio.Transport
    ) -> None:
        super().connection_made(transport)
        self._since = self.loop.time()
        if len(self.connections) > self.limits.max_connections:
            self._make_room()
        self._wait_for_headers()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_header_timer()
        self._stop_write_timer()
        super().connection_lost(exc)

    def _make_room(self) -> None:
        others = [
            other
            for other in self.connections
            if isinstance(other, _PatientProtocol)
            and other is not self
            and not other.transport.is_closing()
        ]
        waiting = [other for other in others if not other._is_in_work()]
        if waiting:
            min(waiting, key=lambda other: other._since).transport.close()
        elif len(others) >= self.limits.max_connections:
            sentence = (
                f"There are {len(others)} connections already. Send the "
                "request again later."
            )
            status = http.HTTPStatus.SERVICE_UNAVAILABLE
            self.transport.write(_make_refusal(status, sentence))
            self.transport.close()

    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing():
            return
        super().data_received(data)
        if self._is_in_work():
            self._since = self.loop.time()
            self._stop_header_timer()
        else:
            self._wait_for_headers()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._watch_reader(self.transport.get_write_buffer_size())

    def resume_writing(self) -> None:
        self._stop_write_timer()
        super().resume_writing()

    def _is_in_work(self) -> bool:
        """Whether the headers of a request are there, and its answer not."""
        return self.cycle is not None and not self.cycle.response_complete

    def _wait_for_headers(self) -> None:
        if self._header_timer is None and not self.transport.is_closing():
            self._header_timer = self.loop.call_later(
                self.limits.header_seconds, self._give_up_headers
            )

    def _give_up_headers(self) -> None:
        self._header_timer = None
        if self._is_in_work() or self.transport.is_closing():
            return
        # Nothing is said where no request has begun, or its answer is there
        # and only the rest of its body is not.
        if self.conn.their_state is h11.IDLE and self.conn.trailing_data[0]:
            sentence = (
                "The headers did not arrive within "
                f"{self.limits.header_seconds} seconds."
            )
            status = http.HTTPStatus.REQUEST_TIMEOUT
            self.transport.write(_make_refusal(status, sentence))
        self.transport.close()

    def _stop_header_timer(self) -> None:
        if self._header_timer is not None:
            self._header_timer.cancel()
            self._header_timer = None

    def _watch_reader(self, size: int) -> None:
        self._stop_write_timer()
        self._write_timer = self.loop.call_later(
            self.limits.write_seconds, self._check_reader, size
        )

    def _check_reader(self, earlier: int) -> None:
        self._write_timer = None
        size = self.transport.get_write_buffer_size()
        if earlier - size < min(earlier, _LEAST_READ_BYTES):
            self.transport.abort()
        else:
            self._watch_reader(size)

    def _stop_write_timer(self) -> None:
        if self._write_timer is not None:
            self._write_timer.cancel()
            self._write_timer = None
