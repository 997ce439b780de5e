# SPDX-License-Identifier: Apache-2.0
"""The gRPC services behind the proxy of Ray Serve.

The proxy takes functions that add a service to a gRPC server, and calls for
each request the method of its name of a replica. `SERVICERS` are these
functions for all services, `add_methods` gives a class of replicas these
methods. Health is not among them: the proxy has
`ray.serve.RayServeAPIService/Healthz`.
"""

from typing import Any

import grpc
from google.protobuf import empty_pb2, message

from deeplab2_like.server import grpc_app, grpc_frame, inference_service
from deeplab2_like.server.failures import RequestError

# For `grpc_servicer_functions` of Ray Serve, which imports them by these names.
SERVICERS = (
    "tensorflow_serving.apis.prediction_service_pb2_grpc"
    ".add_PredictionServiceServicer_to_server",
    "tensorflow_serving.apis.model_service_pb2_grpc"
    ".add_ModelServiceServicer_to_server",
    "deeplab2_like.server.ray_grpc.add_inference_service_to_server",
)


def add_inference_service_to_server(servicer: Any, server: Any) -> None:
    """Adds `inference.GRPCInferenceService` to a server.

    As the functions that are generated of other services. Those of the Open
    Inference Protocol's own package have messages of a name that two packages
    define, see docs/adr/0009.

    Args:
        servicer: Has a method for each of the service, with request and
            context.
        server: The server, which has not started.
    """
    service = inference_service.INFERENCE
    handlers = {
        method.name: grpc.unary_unary_rpc_method_handler(
            getattr(servicer, method.name),
            request_deserializer=method.request_class.FromString,
            response_serializer=_serialize,
        )
        for method in service.methods
    }
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler(service.name, handlers),)
    )


def _serialize(response: message.Message) -> bytes:
    data = response.SerializeToString()
    assert isinstance(data, bytes)
    return data


def add_methods(replica: type) -> None:
    """Adds the methods of all services to a class of replicas.

    Args:
        replica: Its instances have the application as `app`.
    """
    for service in grpc_app.DESCRIPTIONS:
        for method in service.methods:
            assert not hasattr(replica, method.name)
            setattr(replica, method.name, _make_method(service, method.name))


def _make_method(description: grpc_frame.Description, name: str) -> Any:
    async def answer(
        self: Any, request: message.Message, grpc_context: Any
    ) -> message.Message:
        service = grpc_frame.Service(description, self.app.state.frame)
        metadata = grpc_context.invocation_metadata() or ()
        try:
            return await service.answer(name, request, metadata)
        except RequestError as error:
            grpc_context.set_code(grpc_frame.CODES[error.kind])
            grpc_context.set_details(str(error))
            # No bytes: the status says that there is no answer.
            return empty_pb2.Empty()

    answer.__name__ = answer.__qualname__ = name
    return answer
