# SPDX-License-Identifier: Apache-2.0
"""The gRPC services of a server, and the server that has them.

The counterpart of `app`, with the same models, limits and counts.
"""

import asyncio
import contextlib
import logging
from typing import Any

import grpc
from grpc_health.v1 import health_pb2_grpc

from deeplab2_like import errors
from deeplab2_like.server import inference_service, prediction_service
from deeplab2_like.server.backend import Backend
from deeplab2_like.server.grpc_frame import Service
from deeplab2_like.server.health_service import HealthServicer

_LOGGER = logging.getLogger("deeplab2_like.server")

_MAX_REQUESTS = 1000
_IDENTITY = 1


# TensorFlow Serving's services, and that of the Open Inference Protocol.
DESCRIPTIONS = (
    prediction_service.PREDICTION,
    prediction_service.MODEL,
    inference_service.INFERENCE,
)


def make_services(backend: Backend) -> list[Service]:
    """Makes all services but that of health.

    Args:
        backend: The parts that services work with, such as `app.state.frame`
            of the application.
    """
    return [Service(description, backend) for description in DESCRIPTIONS]


def add_to(server: grpc.aio.Server, backend: Backend) -> HealthServicer:
    """Adds all services to a server.

    Args:
        server: The server, which has not started.
        backend: The parts that services work with.

    Returns:
        That of health, whose `watch` must run for clients that watch.
    """
    services = make_services(backend)
    server.add_generic_rpc_handlers(
        [service.make_handler() for service in services]
    )
    names = [service.name for service in services]
    health = HealthServicer(backend.store, names)
    health_pb2_grpc.add_HealthServicer_to_server(health, server)
    return health


class GrpcServer:
    """A gRPC server.

    Attributes:
        port: Port that it listens on, once it has started.
    """

    def __init__(self, backend: Backend, host: str, port: int):
        """Does not listen yet.

        Args:
            backend: The parts that services work with.
            host: Address of this machine, as numbers.
            port: Port; 0 for any that is free.
        """
        self.port = port
        self._backend = backend
        self._host = f"[{host}]" if ":" in host else host
        self._server: Any = None
        self._health: Any = None
        self._watch: Any = None

    async def start(self) -> None:
        """Starts to listen, in the running event loop.

        Raises:
            ConfigError: The address cannot be listened on.
        """
        self._server = grpc.aio.server(
            options=[
                (
                    "grpc.max_receive_message_length",
                    self._backend.limits.max_body_bytes,
                ),
                ("grpc.max_send_message_length", -1),
                # Two servers would share the requests to one port.
                ("grpc.so_reuseport", 0),
                # What is compressed could become larger than the limit.
                ("grpc.compression_enabled_algorithms_bitset", _IDENTITY),
            ],
            maximum_concurrent_rpcs=_MAX_REQUESTS,
        )
        self._health = add_to(self._server, self._backend)
        address = f"{self._host}:{self.port}"
        try:
            self.port = self._server.add_insecure_port(address)
        except RuntimeError as error:
            raise errors.ConfigError(
                f"--grpc_port={self.port} cannot be listened on. Give another "
                "one."
            ) from error
        await self._server.start()
        self._watch = asyncio.create_task(self._health.watch())
        fields = {"address": f"grpc://{self._host}:{self.port}"}
        _LOGGER.info("Listening", extra={"fields": fields})

    async def stop(self, seconds: float) -> None:
        """Takes no more requests, answers those that it has, and ends.

        Args:
            seconds: How long they may take.
        """
        self._watch.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._watch
        await self._health.enter_graceful_shutdown()
        await self._server.stop(seconds)
