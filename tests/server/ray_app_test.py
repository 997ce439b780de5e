# SPDX-License-Identifier: Apache-2.0
"""The application of Ray Serve; Ray itself only in the slow set."""

import os
import pathlib
import signal
import subprocess
import sys

import pytest

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
from deeplab2_like.server import ray_app

ray.init(
    num_cpus=4,
    include_dashboard=False,
    log_to_driver=False,
    _node_ip_address="127.0.0.1",
)
for _ in range(8):
    try:
        options = {"host": "127.0.0.1", "port": int(sys.argv[2])}
        serve.start(http_options=options)
        break
    except TimeoutError:
        # Ray waits for a minute only.
        continue
serve.run(ray_app.build({"model": "mine=" + sys.argv[1], "num_replicas": 2}))
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


@pytest.mark.slow
def test_no_answer_is_wrong_where_a_replica_is_killed(exported):
    pytest.importorskip("ray")
    from benchmarks import (
        server_process,
        serving_clients,
        serving_requests,
    )

    answers = serving_requests.Answers(exported)
    files = serving_requests.draw_files()
    requests = [
        serving_requests.make_predict(name, [file], answers.predict(file))
        for name, file in files.items()
    ]
    port = server_process.find_free_port()
    before = set(_find_replicas())
    environment = {**os.environ, **_ENVIRONMENT, "PYTHONPATH": str(_ROOT)}
    with subprocess.Popen(
        [sys.executable, "-c", _PROGRAM, str(exported), str(port)],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert "ready\n" in iter(process.stdout.readline, "")
            clients = serving_clients.Clients(
                f"http://127.0.0.1:{port}",
                requests,
                4,
                # Of Ray's proxy, for the requests of the killed replica.
                proxy_refusals=frozenset({500, 503}),
            )
            replicas = set(_find_replicas()) - before
            assert len(replicas) == 2
            with clients.run() as tally:
                tally.wait_for_answers(20)
                os.kill(min(replicas), signal.SIGKILL)
                tally.wait_for_answers(60)
        finally:
            process.stdin.close()
    print(tally.counts)
    assert tally.counts[serving_clients.WRONG] == 0, tally.remarks
    assert tally.counts[serving_clients.LATE] == 0
    assert len(tally.seconds) >= 60
