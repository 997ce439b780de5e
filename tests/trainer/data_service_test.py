# SPDX-License-Identifier: Apache-2.0
"""Batches of a tf.data service, whose processes may be killed."""

import os
import pathlib
import signal
import socket
import subprocess
import sys

import pytest
import tensorflow as tf

from deeplab2_like import config, errors
from deeplab2_like.checkpoints import files as checkpoint_files
from deeplab2_like.data import sources
from deeplab2_like.protos import config_pb2
from deeplab2_like.trainer import data_service, run

_ROOT = pathlib.Path(__file__).parents[2]


def _find_free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_a_dispatcher_that_is_not_there_is_named():
    address = f"127.0.0.1:{_find_free_port()}"
    with pytest.raises(errors.ConfigError, match=address) as caught:
        data_service.check_reachable(address)
    assert "deeplab2-data-service --role=dispatcher" in str(caught.value)


def test_all_workers_of_a_start_share_one_stream():
    options = config_pb2.ExperimentOptions()

    def name(model_dir="runs/1", start=5, replicas=4):
        return data_service.name_job(model_dir, start, options, replicas)

    first = name()
    assert first == name("runs/1/")
    assert first not in {name(start=6), name("runs/2"), name(replicas=2)}
    options.train_dataset_options.batch_size = 7
    assert first != name()
    context = data_service.share_input(
        tf.distribute.InputContext(4, 3, num_replicas_in_sync=8)
    )
    assert context.num_input_pipelines == 1
    assert context.input_pipeline_id == 0
    share = sources.compute_share(16, context)
    assert share.batch == 2
    assert data_service.share_input(None) is None


def test_a_stream_of_a_folder_at_an_address_is_the_same_everywhere(
    tmp_path, monkeypatch
):
    options = config_pb2.ExperimentOptions()
    names = set()
    for folder in (tmp_path, pathlib.Path("/")):
        monkeypatch.chdir(folder)
        for address in ("gs://bucket/run", "gs://bucket/run/"):
            names.add(data_service.name_job(address, 0, options, 1))
    assert len(names) == 1


@pytest.fixture
def start():
    """Returns a function that starts a process of the service."""
    processes = []

    def run(*arguments):
        process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "deeplab2_like.trainer.data_service_main",
                *map(str, arguments),
            ],
            cwd=_ROOT,
            env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
            stdout=subprocess.PIPE,
            text=True,
        )
        processes.append(process)
        assert process.stdout.readline().startswith(("Dispatcher", "Worker"))
        return process

    yield run
    for process in processes:
        process.kill()
        process.communicate()


def _make_numbers(folder, count):
    """Writes numbers as records, in files of eight."""
    for file in range(count // 8):
        with tf.io.TFRecordWriter(f"{folder}/numbers-{file}") as writer:
            for number in range(8 * file, 8 * file + 8):
                writer.write(str(number).encode())
    return sorted(map(str, folder.glob("numbers-*")))


@pytest.mark.slow
def test_workers_and_dispatcher_may_be_killed(tmp_path, start):
    paths = _make_numbers(tmp_path, 96)
    port = _find_free_port()
    address = f"127.0.0.1:{port}"
    dispatcher = (
        "--role=dispatcher",
        f"--port={port}",
        f"--work_dir={tmp_path / 'dispatcher'}",
    )
    worker = (
        "--role=worker",
        f"--dispatcher={address}",
        "--host=127.0.0.1",
    )
    first = start(*dispatcher)
    workers = [start(*worker) for _ in range(2)]
    data_service.check_reachable(address)
    data = sources.make_streamed_source(
        paths,
        sources.Share(4, 4, 4),
        seed=1,
        shuffle_buffer_size=16,
        is_served=True,
    ).batch(4, drop_remainder=True)
    batches = iter(data_service.distribute(data, address, "job"))

    def take(count):
        records = []
        for _ in range(count):
            texts, numbers = next(batches)
            assert texts.shape == numbers.shape == (4,)
            records += [int(text) for text in texts.numpy()]
        assert set(records) <= set(range(96))
        return records

    # Endless, and from all files.
    assert len(set(take(100))) > 64
    workers[0].send_signal(signal.SIGKILL)
    workers[0].wait()
    assert len(take(100)) == 400
    first.send_signal(signal.SIGKILL)
    first.wait()
    start(*dispatcher)
    assert len(take(100)) == 400
    start(*worker)
    workers[1].send_signal(signal.SIGKILL)
    workers[1].wait()
    assert len(take(100)) == 400


@pytest.mark.slow
def test_a_run_takes_its_batches_from_a_service(config_file, tmp_path, start):
    port = _find_free_port()
    start(
        "--role=dispatcher",
        f"--port={port}",
        f"--work_dir={tmp_path / 'dispatcher'}",
    )
    start("--role=worker", f"--dispatcher=127.0.0.1:{port}", "--host=127.0.0.1")
    service = (
        f"train_dataset_options {{ data_service_address: '127.0.0.1:{port}' }}"
    )
    loaded = config.load(str(config_file), [service])
    folder = tmp_path / "run"
    run.run_experiment(loaded, str(folder), "train")
    assert checkpoint_files.find_checkpoint(str(folder)).endswith("ckpt-4")
    # The dispatcher notes the streams that it is asked for.
    notes = b"".join(
        path.read_bytes()
        for path in (tmp_path / "dispatcher").rglob("*")
        if path.is_file()
    )
    job = data_service.name_job(str(folder), 0, loaded.options, 1)
    assert job.encode() in notes
