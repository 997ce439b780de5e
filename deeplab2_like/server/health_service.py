# SPDX-License-Identifier: Apache-2.0
"""Readiness by the health protocol of gRPC, `grpc.health.v1`.

https://github.com/grpc/grpc/blob/master/doc/health-checking.md
"""

import asyncio
from collections.abc import Sequence
from typing import Any

from grpc_health.v1 import health, health_pb2

from deeplab2_like.server.versions import Store

# How long clients that watch may wait for a change.
_WATCH_SECONDS = 0.5


class HealthServicer(health.aio.HealthServicer):
    """Says "SERVING" while all models answer requests; needs no key."""

    def __init__(self, store: Store, names: Sequence[str]):
        """Says "NOT_SERVING" until it is asked.

        Args:
            store: The models.
            names: Names of the services; "" is the server as a whole.
        """
        super().__init__()
        self._store = store
        self._names = ["", *names]

    async def update(self) -> None:
        """Looks at the models."""
        states = health_pb2.HealthCheckResponse
        is_ready = self._store.is_ready
        state = states.SERVING if is_ready else states.NOT_SERVING
        for name in self._names:
            await self.set(name, state)

    async def watch(self) -> None:
        """Looks at the models from time to time, for clients that watch."""
        while True:
            await self.update()
            await asyncio.sleep(_WATCH_SECONDS)

    async def Check(  # noqa: N802
        self, request: health_pb2.HealthCheckRequest, context: Any
    ) -> health_pb2.HealthCheckResponse:
        """Answers whether a service answers requests now."""
        await self.update()
        return await super().Check(request, context)
