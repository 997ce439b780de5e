# SPDX-License-Identifier: Apache-2.0
"""The application of Ray Serve; Ray itself only in the slow set."""

import base64
import importlib
import os
import pathlib
import signal
import subprocess
import sys
from unittest import mock

import httpx
import numpy as np
import pytest
import tensorflow as tf
import yaml

from deeplab2_like import errors
from deeplab2_like.server import ray_app

_ROOT = pathlib.Path(__file__).parents[2]


def test_arguments_are_texts_or_values():
    parsed = ray_app.parse_arguments(
        {"model": "models/mine", "num_replicas": "3", "num_cpus": 0.5}
    )
    assert parsed.model == "models/mine"
    assert parsed.num_replicas == 3
    assert parsed.num_cpus == 0.5
    assert parsed.max_batch_size == 8


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({}, "model is missing"),
        ({"model": "a", "modell": "b"}, "modell is no argument"),
        ({"model": "a", "num_replicas": "two"}, "num_replicas=two must be"),
        ({"model": "a", "num_replicas": 0}, "positive number"),
        ({"model": "a", "num_cpus": "nan"}, "num_cpus=nan must be"),
        ({"model": "a", "num_cpus": "inf"}, "num_cpus=inf must be"),
    ],
)
def test_arguments_that_are_refused(values, words):
    with pytest.raises(errors.ConfigError, match=words):
        ray_app.parse_arguments(values)


def test_a_folder_without_a_model_is_one_sentence(tmp_path):
    arguments = ray_app.parse_arguments({"model": f"mine={tmp_path}"})
    with pytest.raises(errors.ExportError, match="has no model"):
        ray_app.make_app(arguments)


def test_without_ray_it_is_said_how_to_install_it(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(errors.InstallError, match=r"deeplab2-like\[ray\]"):
        ray_app.build({"model": str(tmp_path)})


def _load_file():
    return yaml.safe_load((_ROOT / "deploy" / "ray.yaml").read_text())


def test_the_file_has_all_services_and_known_arguments():
    pytest.importorskip("grpc_health")
    pytest.importorskip("tensorflow_serving")
    from deeplab2_like.server import ray_grpc

    functions = _load_file()["grpc_options"]["grpc_servicer_functions"]
    assert functions == list(ray_grpc.SERVICERS)
    server = mock.Mock()
    for name in functions:
        module, function = name.rsplit(".", 1)
        add = getattr(importlib.import_module(module), function)
        add(mock.Mock(), server)
    (application,) = _load_file()["applications"]
    ray_app.parse_arguments(application["args"])


def test_the_file_is_one_of_ray_serve():
    schema = pytest.importorskip("ray.serve.schema")
    schema.ServeDeploySchema.model_validate(_load_file())


_ENVIRONMENT = {
    "RAY_AUTH_MODE": "disabled",
    "RAY_USAGE_STATS_ENABLED": "0",
    # For slow machines.
    "RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S": "120",
    "RAY_SERVE_PROXY_HEALTH_CHECK_TIMEOUT_S": "120",
}
_PROGRAM = """
import sys
import ray
from ray import serve
from deeplab2_like.server import ray_app, ray_grpc

exported, http_port, grpc_port = sys.argv[1], *map(int, sys.argv[2:])
ray.init(
    num_cpus=4,
    include_dashboard=False,
    log_to_driver=False,
    _node_ip_address="127.0.0.1",
)
for _ in range(8):
    try:
        serve.start(
            http_options={"host": "127.0.0.1", "port": http_port},
            grpc_options={
                "port": grpc_port,
                "grpc_servicer_functions": list(ray_grpc.SERVICERS),
            },
        )
        break
    except TimeoutError:
        # Ray waits for a minute only.
        continue
serve.run(ray_app.build({"model": "mine=" + exported, "num_replicas": 2}))
print("ready", flush=True)
sys.stdin.read()
serve.shutdown()
ray.shutdown()
"""


def _find_replicas():
    """Finds the processes of replicas by the names that Ray gives them."""
    found = []
    for entry in pathlib.Path("/proc").iterdir():
        try:
            name = (entry / "cmdline").read_bytes()
        except OSError:
            continue
        if name.startswith(b"ray::ServeReplica") and b"deeplab2" in name:
            found.append(int(entry.name))
    return found


@pytest.fixture(scope="module")
def ray_server(exported):
    """Ports of HTTP and gRPC, and the processes of two replicas."""
    pytest.importorskip("ray")
    from benchmarks import server_process

    ports = [server_process.find_free_port() for _ in range(2)]
    before = set(_find_replicas())
    environment = {**os.environ, **_ENVIRONMENT, "PYTHONPATH": str(_ROOT)}
    with subprocess.Popen(
        [sys.executable, "-c", _PROGRAM, str(exported), *map(str, ports)],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert "ready\n" in iter(process.stdout.readline, "")
            yield *ports, set(_find_replicas()) - before
        finally:
            process.stdin.close()


@pytest.mark.slow
def test_grpc_through_the_proxy_answers_as_http(ray_server):
    grpc = pytest.importorskip("grpc")
    from tensorflow_serving.apis import (
        get_model_status_pb2,
        model_service_pb2_grpc,
        predict_pb2,
        prediction_service_pb2_grpc,
    )

    from benchmarks import serving_requests

    http_port, grpc_port, _ = ray_server
    file = next(iter(serving_requests.draw_files().values()))
    url = f"http://127.0.0.1:{http_port}/v1/models/mine:predict"
    by_http = httpx.post(
        url,
        json={
            "signature_name": "encoded_compact",
            "inputs": {
                "image_bytes": [{"b64": base64.b64encode(file).decode()}]
            },
        },
        timeout=60,
    ).json()["outputs"]
    with grpc.insecure_channel(f"127.0.0.1:{grpc_port}") as channel:
        predict = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        request = predict_pb2.PredictRequest()
        request.model_spec.name = "mine"
        request.model_spec.signature_name = "encoded_compact"
        request.inputs["image_bytes"].CopyFrom(tf.make_tensor_proto([file]))
        answer = predict.Predict(request, timeout=60)
        png = tf.make_ndarray(answer.outputs["panoptic_png_bytes"])[0]
        expected = by_http["panoptic_png_bytes"][0]["b64"]
        assert base64.b64encode(png).decode() == expected
        status = get_model_status_pb2.GetModelStatusRequest()
        status.model_spec.name = "mine"
        models = model_service_pb2_grpc.ModelServiceStub(channel)
        (version,) = models.GetModelStatus(
            status, timeout=60
        ).model_version_status
        assert version.state == version.AVAILABLE
        request.model_spec.name = "unknown"
        with pytest.raises(grpc.RpcError) as caught:
            predict.Predict(request, timeout=60)
        assert caught.value.code() == grpc.StatusCode.NOT_FOUND
        assert "unknown" in caught.value.details()


@pytest.mark.slow
def test_tritons_client_through_the_proxy(ray_server):
    triton = pytest.importorskip("tritonclient.grpc")
    from benchmarks import serving_requests

    _, grpc_port, _ = ray_server
    file = next(iter(serving_requests.draw_files().values()))
    with triton.InferenceServerClient(f"127.0.0.1:{grpc_port}") as client:
        assert client.is_server_ready()
        assert client.is_model_ready("mine")
        assert client.get_model_metadata("mine").inputs
        files = triton.InferInput("image_bytes", [1], "BYTES")
        files.set_data_from_numpy(np.array([file], object))
        answer = client.infer("mine", [files])
        assert answer.as_numpy("panoptic_png_bytes")[0].startswith(b"\x89PNG")
        files.set_data_from_numpy(np.array([b"no image"], object))
        with pytest.raises(triton.InferenceServerException) as caught:
            client.infer("mine", [files], parameters={"signature_name": "x"})
        assert "INVALID_ARGUMENT" in caught.value.status()


@pytest.mark.slow
def test_no_answer_is_wrong_where_a_replica_is_killed(exported, ray_server):
    from benchmarks import serving_clients, serving_requests

    http_port, _, replicas = ray_server
    answers = serving_requests.Answers(exported)
    files = serving_requests.draw_files()
    requests = [
        serving_requests.make_predict(name, [file], answers.predict(file))
        for name, file in files.items()
    ]
    clients = serving_clients.Clients(
        f"http://127.0.0.1:{http_port}",
        requests,
        4,
        # Of Ray's proxy, for the requests of the killed replica.
        proxy_refusals=frozenset({500, 503}),
    )
    assert len(replicas) == 2
    with clients.run() as tally:
        tally.wait_for_answers(20)
        os.kill(min(replicas), signal.SIGKILL)
        tally.wait_for_answers(60)
    print(tally.counts)
    assert tally.counts[serving_clients.WRONG] == 0, tally.remarks
    assert tally.counts[serving_clients.LATE] == 0
    assert len(tally.seconds) >= 60
