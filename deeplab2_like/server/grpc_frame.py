# SPDX-License-Identifier: Apache-2.0
"""What all gRPC services share: the key, failures as statuses, logs, limits.

A `Service` is a name and its methods. This server registers it by
`Service.make_handler`, which takes a request on before it reads it; other gRPC
servers take `Service.make_servicer` or call `Service.answer`.
"""

import asyncio
import contextlib
import dataclasses
import functools
import time
import types
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Iterable,
    Sequence,
)
from typing import Any, TypeVar

import grpc
from google.protobuf import message

from deeplab2_like.server import backend as backend_lib
from deeplab2_like.server import failures
from deeplab2_like.server.backend import Backend, Entry, Target
from deeplab2_like.server.failures import Kind, RequestError
from deeplab2_like.server.limits import Share
from deeplab2_like.server.versions import ServedModel

CODES = {
    **{kind: grpc.StatusCode[kind.value] for kind in Kind},
    # As gRPC itself has it.
    Kind.TOO_LARGE: grpc.StatusCode.RESOURCE_EXHAUSTED,
}

_T = TypeVar("_T")


@dataclasses.dataclass(frozen=True)
class Call:
    """A request in work.

    Attributes:
        backend: The parts that services work with.
        entry: What is logged of it.
        seconds: How long the client waits; None for as long as it takes.
    """

    backend: Backend
    entry: Entry
    seconds: float | None

    def find_model(self, target: Target) -> ServedModel:
        """Returns the model that is asked.

        Raises:
            RequestError: There is none of that name.
        """
        model = self.backend.store.get(target.name)
        self.entry.model = target.name
        return model


@dataclasses.dataclass(frozen=True)
class Method:
    """A method of a service.

    Attributes:
        name: Its name.
        request_class: Class of its requests.
        function: What answers a request; may raise a `RequestError`.
        is_public: Whether it needs no key.
        is_prediction: Whether it asks a model to compute.
    """

    name: str
    request_class: type[message.Message]
    function: Callable[[Any, Call], Awaitable[message.Message]]
    is_public: bool = False
    is_prediction: bool = False


@dataclasses.dataclass(frozen=True)
class Description:
    """A gRPC service as its protocol has it.

    Attributes:
        name: Its full name, such as "tensorflow.serving.PredictionService".
        methods: Its methods.
    """

    name: str
    methods: Sequence[Method]


class Service:
    """A gRPC service of a server.

    Attributes:
        name: Its full name.
        methods: Its methods by name.
    """

    def __init__(self, description: Description, backend: Backend):
        """Takes the methods.

        Args:
            description: The service.
            backend: The parts that it works with.
        """
        self.name = description.name
        self.methods = {method.name: method for method in description.methods}
        self._backend = backend

    async def answer(
        self,
        name: str,
        request: message.Message,
        metadata: Iterable[tuple[str, str | bytes]] = (),
        seconds: float | None = None,
    ) -> message.Message:
        """Answers a request, for servers of any kind.

        Args:
            name: Name of the method.
            request: The request.
            metadata: Metadata of the request, where keys are.
            seconds: How long the client waits; None for as long as it takes.

        Raises:
            RequestError: It is not answered as asked; `CODES` has its status.
        """

        async def read() -> message.Message:
            self._backend.limits.check_body(request.ByteSize())
            return request

        async def write(response: message.Message) -> message.Message:
            return response

        method = self.methods[name]
        return await self._answer(method, read, write, metadata, seconds)

    async def _answer(
        self,
        method: Method,
        read: Callable[[], Awaitable[message.Message]],
        write: Callable[[message.Message], Awaitable[_T]],
        metadata: Iterable[tuple[str, str | bytes]],
        seconds: float | None,
    ) -> _T:
        path = f"/{self.name}/{method.name}"
        entry = Entry("GRPC", "gRPC", path, method.is_prediction)
        status, code, size = "CANCELLED", grpc.StatusCode.CANCELLED, 0
        taken_on: contextlib.AbstractContextManager[Share | None]
        taken_on = contextlib.nullcontext()
        if method.is_prediction:
            taken_on = self._backend.admission.admit()
        try:
            if not method.is_public:
                headers = {k: v for k, v in metadata if isinstance(v, str)}
                self._backend.check_key(headers)
            with taken_on as share:
                request = await read()
                if share is not None:
                    share.add(request.ByteSize())
                if seconds is not None:
                    seconds -= time.monotonic() - entry.start
                call = Call(self._backend, entry, seconds)
                response = await method.function(request, call)
                answer = await write(response)
            status, code = "OK", grpc.StatusCode.OK
            size = (
                len(answer)
                if isinstance(answer, bytes)
                else response.ByteSize()
            )
            return answer
        except Exception as error:
            failure = backend_lib.to_failure(error)
            status, code = failure.kind.value, CODES[failure.kind]
            raise failure from None
        finally:
            self._backend.report(entry, status, code.value[0], size)

    def make_servicer(self) -> Any:
        """Makes what generated functions `add_*Servicer_to_server` take.

        For servers of `grpc.aio`: the methods are coroutines.
        """

        async def handle(
            name: str, request: message.Message, context: Any
        ) -> message.Message:
            metadata = context.invocation_metadata() or ()
            try:
                return await self.answer(
                    name, request, metadata, context.time_remaining()
                )
            except RequestError as error:
                return await context.abort(CODES[error.kind], str(error))

        return types.SimpleNamespace(
            **{name: functools.partial(handle, name) for name in self.methods}
        )

    def make_handler(self) -> grpc.GenericRpcHandler:
        """Makes the handler for the `grpc.aio` server of this package.

        Methods take a stream, of which the first message is read: so a request
        is refused before it is read, and may take only so long to arrive. On
        the wire this is the same.
        """
        return grpc.method_handlers_generic_handler(
            self.name,
            {
                name: grpc.stream_unary_rpc_method_handler(
                    functools.partial(self._handle, method)
                )
                for name, method in self.methods.items()
            },
        )

    async def _handle(
        self, method: Method, messages: AsyncIterator[bytes], context: Any
    ) -> bytes:
        async def read() -> message.Message:
            data = await self._receive(messages)
            return await backend_lib.in_thread(_parse, method, data)

        async def write(response: message.Message) -> bytes:
            data = await backend_lib.in_thread(response.SerializeToString)
            assert isinstance(data, bytes)
            return data

        metadata = context.invocation_metadata() or ()
        try:
            return await self._answer(
                method, read, write, metadata, context.time_remaining()
            )
        except RequestError as error:
            answer = await context.abort(CODES[error.kind], str(error))
            raise AssertionError(answer) from None

    async def _receive(self, messages: AsyncIterator[bytes]) -> bytes:
        limits = self._backend.limits
        try:
            async with asyncio.timeout(limits.body_seconds):
                data = await anext(aiter(messages), None)
        except TimeoutError:
            raise RequestError(
                Kind.SLOW_CLIENT,
                f"The request did not arrive within {limits.body_seconds} "
                "seconds.",
            ) from None
        if data is None:
            # None was sent, gRPC refused it, or the client went away.
            raise failures.invalid(
                f"No message of at most {limits.max_body_bytes} bytes arrived. "
                "Send one."
            )
        limits.check_body(len(data))
        return data


def _parse(method: Method, data: bytes) -> message.Message:
    try:
        return method.request_class.FromString(data)
    except message.DecodeError:
        name = method.request_class.DESCRIPTOR.name
        raise failures.invalid(
            f"The message is no {name}. Send what the stub of the service "
            "makes, not compressed."
        ) from None
