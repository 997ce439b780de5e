# SPDX-License-Identifier: Apache-2.0
"""The HTTP server, uvicorn, its limits, and what runs beside it."""

import asyncio
import logging
import socket
import time
from typing import Protocol

import uvicorn
from starlette.applications import Starlette

from deeplab2_like import errors
from deeplab2_like.server import connections

_LOGGER = logging.getLogger("deeplab2_like.server")

_MAX_HEADER_BYTES = 65_536
_IDLE_SECONDS = 10
# How long requests may still take after the signal to end.
DRAIN_SECONDS = 30


class Beside(Protocol):
    """A server of another protocol, with the same models."""

    async def start(self) -> None:
        """Starts to listen."""

    async def stop(self, seconds: float) -> None:
        """Answers the requests that it has within a time, and ends."""


def bind(host: str, port: int, flag: str = "port") -> socket.socket:
    """Takes an address to listen on.

    Args:
        host: Address or name of this machine.
        port: Port; 0 for any that is free.
        flag: Name of the flag of the port.

    Raises:
        ConfigError: The address is not one of this machine, or in use.
    """
    try:
        ((family, kind, protocol, _, address), *_) = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        bound = socket.socket(family, kind, protocol)
        try:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            bound.bind(address)
        except OSError:
            bound.close()
            raise
    except OSError as error:
        raise errors.ConfigError(
            f"--host={host} --{flag}={port} cannot be listened on "
            f"({error.strerror}). Give another --{flag}, or an address of this "
            "machine."
        ) from error
    return bound


def make_server(
    app: Starlette,
    beside: Beside | None = None,
    patience: connections.Patience | None = None,
) -> uvicorn.Server:
    """Makes a server that has not started; run it with the bound socket.

    At its end it takes no more connections, answers the requests that it has,
    and unloads the models.

    Args:
        app: The application.
        beside: What starts and ends with it; None for nothing.
        patience: How long clients are waited for; the defaults when None.
    """
    patience = patience or connections.Patience()
    return _Server(
        beside,
        uvicorn.Config(
            app,
            http=connections.make_protocol(patience),
            ws="none",
            lifespan="on",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            h11_max_incomplete_event_size=_MAX_HEADER_BYTES,
            timeout_keep_alive=_IDLE_SECONDS,
            timeout_graceful_shutdown=DRAIN_SECONDS,
        ),
    )


class _Server(uvicorn.Server):
    """A server that says where it listens."""

    def __init__(self, beside: Beside | None, config: uvicorn.Config):
        super().__init__(config)
        self._beside = beside

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Starts to listen."""
        await super().startup(sockets)
        for one in sockets or []:
            host, port = one.getsockname()[:2]
            host = f"[{host}]" if ":" in host else host
            fields = {"address": f"http://{host}:{port}"}
            _LOGGER.info("Listening", extra={"fields": fields})
        if self._beside is not None:
            await self._beside.start()

    async def shutdown(
        self, sockets: list[socket.socket] | None = None
    ) -> None:
        """Ends both servers, and then the application with its models."""
        if self._beside is not None:
            for server in self.servers:
                server.close()
            start = time.monotonic()
            await self._stop_beside(self._beside)
            left = DRAIN_SECONDS - (time.monotonic() - start)
            self.config.timeout_graceful_shutdown = max(1, int(left))
        await super().shutdown(sockets)

    async def _stop_beside(self, beside: Beside) -> None:
        """Waits for it to end; a second Ctrl-C ends the wait."""
        stop = asyncio.create_task(beside.stop(DRAIN_SECONDS))
        while not stop.done() and not self.force_exit:
            await asyncio.wait([stop], timeout=0.1)
        if not stop.done():
            await beside.stop(0)
        await stop
