# SPDX-License-Identifier: Apache-2.0
"""Workers of a run: their list, what they agree about, and who is gone."""

import json
import os
import signal
import socket
import subprocess
import sys

import pytest

from deeplab2_like import errors
from deeplab2_like.trainer import workers

_TWO = {"worker": ["a:2222", "b:2222"]}


def _set(monkeypatch, cluster, task):
    text = json.dumps({"cluster": cluster, "task": task})
    monkeypatch.setenv("TF_CONFIG", text)


def _task(index=0, kind="worker"):
    return {"type": kind, "index": index}


@pytest.mark.parametrize("text", ["", "{}", '{"cluster": {}}'])
def test_without_a_cluster_there_is_one_process(text, monkeypatch):
    monkeypatch.setenv("TF_CONFIG", text)
    assert workers.read_cluster() is None


def test_a_cluster_of_one_worker_is_one_process(monkeypatch):
    _set(monkeypatch, {"worker": ["a:2222"]}, _task())
    assert workers.read_cluster() is None


def test_a_chief_and_one_worker_are_two(monkeypatch):
    _set(monkeypatch, {"chief": ["a:1"], "worker": ["b:2"]}, _task())
    cluster = workers.read_cluster()
    assert [str(worker) for worker in cluster.workers] == [
        "The chief (a:1)",
        "Worker 0 (b:2)",
    ]
    assert cluster.own == 1
    assert [worker.address for worker in cluster.others] == ["a:1"]


def test_an_index_as_text_is_read_and_jobs_of_others_are_passed_over(
    monkeypatch,
):
    _set(monkeypatch, {**_TWO, "evaluator": ["c:1"]}, _task("1"))
    cluster = workers.read_cluster()
    assert cluster.own == 1
    line = workers.describe_start(cluster)
    assert line.startswith("Worker 1 (b:2222) of 2 workers, waiting for a:2222")


@pytest.mark.parametrize(
    ("cluster", "task", "message"),
    [
        (_TWO, _task(2), r"has the task index 2, and .* 2 .*: 0 to 1"),
        (_TWO, _task(-1), "has the task index -1"),
        (_TWO, {}, "has the task type None"),
        (_TWO, {"type": "worker"}, "has the task index None"),
        (_TWO, _task(0, "chief"), "'chief', and no such address"),
        (_TWO, _task(0, "evaluator"), "only chief and worker take part"),
        ({"worker": ["a", "b:1"]}, _task(), "has the address 'a'"),
        ({"worker": ["a:x", "b:1"]}, _task(), "has the address 'a:x'"),
        ({"worker": ["a:70000", "b:1"]}, _task(), "a port of 1 to 65535"),
        ({"worker": [1, 2]}, _task(), "has the address 1"),
        ({"worker": ["a:1", "a:1"]}, _task(), "lists 'a:1' twice"),
        ({"worker": 3}, _task(), "is not such JSON"),
        ([], _task(), ""),
        (
            {"chief": ["a:1", "b:1"], "worker": ["c:1"]},
            _task(),
            "more than one chief",
        ),
    ],
)
def test_what_describes_no_cluster_is_refused(
    cluster, task, message, monkeypatch
):
    _set(monkeypatch, cluster, task)
    if not message:
        assert workers.read_cluster() is None
        return
    with pytest.raises(errors.ConfigError, match=message) as caught:
        workers.read_cluster()
    assert "TF_CONFIG" in str(caught.value)
    assert "unset it" in str(caught.value)


@pytest.mark.parametrize("text", ["{", "[]", '"a"', '{"cluster": 3}'])
def test_what_is_no_such_json_is_refused(text, monkeypatch):
    monkeypatch.setenv("TF_CONFIG", text)
    with pytest.raises(errors.ConfigError, match="is not such JSON"):
        workers.read_cluster()


def _free_ports(count):
    sockets = [socket.socket() for _ in range(count)]
    for item in sockets:
        item.bind(("127.0.0.1", 0))
    ports = [item.getsockname()[1] for item in sockets]
    for item in sockets:
        item.close()
    return ports


# The first line is what the workers agreed about, the second the refusal of
# those that differ. Then worker 1 waits to be killed, and worker 0 for it.
_PROGRAM = """
import sys
import tensorflow as tf
from deeplab2_like import errors
from deeplab2_like.trainer import distribution, workers

cluster = workers.read_cluster()
strategy = distribution.build_strategy()
print([workers.agree_to_stop(strategy, bool(wants)) for wants in
       (0, cluster.own, 1, not cluster.own, 0)], flush=True)
workers.check_same(strategy, {"steps": 5})
try:
    workers.check_same(strategy, {"steps": 5, "the step": 7 * cluster.own})
except errors.ConfigError as error:
    print(error, flush=True)
if cluster.own:
    sys.stdin.read()
try:
    with workers.translated_errors(cluster, sys.argv[1]):
        while True:
            workers.wait_for_all(strategy)
except errors.WorkerError as error:
    print(error, flush=True)
"""


@pytest.mark.slow
def test_two_workers_agree_and_one_describes_that_the_other_is_gone(tmp_path):
    (tmp_path / "ckpt-40.index").touch()
    (tmp_path / "ckpt-50.index").touch()
    hosts = [f"127.0.0.1:{port}" for port in _free_ports(2)]
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", _PROGRAM, str(tmp_path)],
            env={
                **os.environ,
                "TF_CPP_MIN_LOG_LEVEL": "3",
                "TF_CONFIG": json.dumps(
                    {"cluster": {"worker": hosts}, "task": _task(index)}
                ),
            },
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for index in range(2)
    ]
    try:
        for process in processes:
            agreed = process.stdout.readline()
            assert agreed == "[False, True, True, True, False]\n"
            refusal = process.stdout.readline()
            assert "The workers differ in the step: 0, 7. Start" in refusal
        processes[1].send_signal(signal.SIGKILL)
        text = processes[0].communicate(timeout=120)[0]
    finally:
        for process in processes:
            process.kill()
            process.communicate()
    assert text.startswith(f"Worker 1 ({hosts[1]}) is gone: ")
    assert "Start all workers again with the same command" in text
    assert text.endswith("training continues from step 50.\n")
