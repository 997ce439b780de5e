# SPDX-License-Identifier: Apache-2.0
"""The HTTP server, uvicorn, and its limits."""

import logging
import socket

import uvicorn
from starlette.applications import Starlette

from deeplab2_like import errors

_LOGGER = logging.getLogger("deeplab2_like.server")

_MAX_HEADER_BYTES = 65_536
_MAX_CONNECTIONS = 1000
_IDLE_SECONDS = 10
# How long requests may still take after the signal to end.
_DRAIN_SECONDS = 30


def bind(host: str, port: int) -> socket.socket:
    """Takes an address to listen on.

    Args:
        host: Address or name of this machine.
        port: Port; 0 for any that is free.

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
            f"--host={host} --port={port} cannot be listened on "
            f"({error.strerror}). Give another --port, or an address of this "
            "machine."
        ) from error
    return bound


def make_server(app: Starlette) -> uvicorn.Server:
    """Makes a server that has not started; run it with the bound socket.

    At its end it takes no more connections, answers the requests that it has,
    and unloads the models.
    """
    return _Server(
        uvicorn.Config(
            app,
            http="h11",
            ws="none",
            lifespan="on",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            h11_max_incomplete_event_size=_MAX_HEADER_BYTES,
            limit_concurrency=_MAX_CONNECTIONS,
            timeout_keep_alive=_IDLE_SECONDS,
            timeout_graceful_shutdown=_DRAIN_SECONDS,
        )
    )


class _Server(uvicorn.Server):
    """A server that says where it listens."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Starts to listen."""
        await super().startup(sockets)
        for one in sockets or []:
            host, port = one.getsockname()[:2]
            host = f"[{host}]" if ":" in host else host
            fields = {"address": f"http://{host}:{port}"}
            _LOGGER.info("Listening", extra={"fields": fields})
