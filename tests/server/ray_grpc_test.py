# SPDX-License-Identifier: Apache-2.0
"""The gRPC methods of replicas of Ray Serve, without Ray."""

import asyncio
import dataclasses
import gc
import types
import weakref
from unittest import mock

import pytest

from deeplab2_like.protos import open_inference_pb2 as protocol

grpc = pytest.importorskip("grpc")
pytest.importorskip("grpc_health")
pytest.importorskip("tensorflow_serving")

from deeplab2_like.server import ray_grpc  # noqa: E402


class _Replica:
    """A replica; Ray gives it its application."""

    def __init__(self, frame):
        self.app = types.SimpleNamespace(
            state=types.SimpleNamespace(frame=frame)
        )


ray_grpc.add_methods(_Replica)


@pytest.fixture
def frame(build):
    found = build(max_body_bytes=1000).state.frame
    yield found
    found.store.close()


def _infer(replica, file):
    """Returns the answer, and the context of the request."""
    request = protocol.ModelInferRequest(model_name="mine")
    entry = request.inputs.add(name="image_bytes", datatype="BYTES", shape=[1])
    entry.contents.bytes_contents.append(file)
    context = mock.Mock(invocation_metadata=lambda: ())
    return asyncio.run(replica.ModelInfer(request, context)), context


def test_large_requests_are_refused_as_without_the_proxy(frame):
    replica = _Replica(frame)
    answer, context = _infer(replica, bytes(2000))
    assert not answer.SerializeToString()
    context.set_code.assert_called_once_with(grpc.StatusCode.RESOURCE_EXHAUSTED)
    (text,) = context.set_details.call_args.args
    assert text.startswith("The request has more than 1000 bytes.")
    answer, context = _infer(replica, b"abc")
    context.set_code.assert_not_called()
    assert "length" in {output.name for output in answer.outputs}


def test_nothing_is_kept_of_a_replica_that_ended(frame):
    parts = dataclasses.replace(frame)
    ended = weakref.ref(parts)
    _infer(_Replica(parts), b"abc")
    del parts
    gc.collect()
    assert ended() is None
