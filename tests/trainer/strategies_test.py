# SPDX-License-Identifier: Apache-2.0
"""Whole runs on several replicas and on several workers."""

import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image

from deeplab2_like.checkpoints import files as checkpoint_files
from deeplab2_like.scenes import scene

pytestmark = pytest.mark.slow

# Trains on as many logical CPUs as the first argument says.
_PROGRAM = """
import sys
import tensorflow as tf

replicas = int(sys.argv[1])
tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0],
    [tf.config.LogicalDeviceConfiguration()] * replicas)
from deeplab2_like import config
from deeplab2_like.trainer import distribution, run

if replicas > 1:
    strategy = tf.distribute.MirroredStrategy(
        [f"CPU:{i}" for i in range(replicas)])
    distribution.build_strategy = lambda *_: strategy
loaded = config.load(sys.argv[2], sys.argv[4:])
run.run_experiment(loaded, sys.argv[3], "train_and_eval")
"""
# Dropout is off, so that replicas compute what one device does. Small steps of
# SGD leave rounding small: those of Adam are as large for it as for gradients.
_COMPARABLE = (
    "model_options { decoder { aspp_use_only_1x1_proj_conv: true } } "
    "trainer_options { deterministic: true "
    'solver_options { optimizer: "sgd" base_learning_rate: 0.0001 } }'
)
_TRAINER = pathlib.Path(__file__).parents[2] / "trainer" / "main.py"


def _train(replicas, config_file, folder, *overrides):
    subprocess.run(
        [
            sys.executable,
            "-c",
            _PROGRAM,
            str(replicas),
            str(config_file),
            str(folder),
            _COMPARABLE,
            *overrides,
        ],
        check=True,
        capture_output=True,
        text=True,
    )


def _read(folder, step=4):
    values = checkpoint_files.read_checkpoint(f"{folder}/ckpt-{step}")
    metrics = json.loads((folder / "eval" / "metrics.json").read_text())
    return values, metrics["summaries"]


def test_two_replicas_train_and_score_as_one_device_does(config_file, tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    _train(1, config_file, one)
    _train(2, config_file, two)
    values_one, scores_one = _read(one)
    values_two, scores_two = _read(two)
    assert values_one.keys() == values_two.keys()
    middle_one, middle_two = _read(one, 2)[0], _read(two, 2)[0]
    for name in values_one:
        if name.startswith("variables/"):
            # What the last steps changed: gradients and their sums.
            change = values_one[name] - middle_one[name]
            np.testing.assert_allclose(
                values_two[name] - middle_two[name],
                change,
                atol=0.02 * np.abs(change).max() + 1e-6,
                err_msg=name,
            )
    assert scores_one.keys() == scores_two.keys()
    # The same weights score the same, whoever evaluates them: three images
    # in batches of two, so that the last group of replicas is short.
    for file in (one / "eval" / "metrics.json", two / "eval" / "metrics.json"):
        file.unlink()
    _train(2, config_file, one)
    _, again = _read(one)
    assert again.keys() == scores_one.keys()
    for name in again:
        np.testing.assert_allclose(
            again[name], scores_one[name], rtol=1e-5, err_msg=name
        )


def _free_ports(count):
    sockets = [socket.socket() for _ in range(count)]
    try:
        for item in sockets:
            item.bind(("localhost", 0))
        return [item.getsockname()[1] for item in sockets]
    finally:
        for item in sockets:
            item.close()


def _launch_workers(config_file, folder, *overrides):
    hosts = [f"localhost:{port}" for port in _free_ports(2)]
    processes = []
    for index in range(2):
        cluster = {
            "cluster": {"worker": hosts},
            "task": {"type": "worker", "index": index},
        }
        processes.append(
            subprocess.Popen(
                [
                    sys.executable,
                    str(_TRAINER),
                    "--mode=train_and_eval",
                    f"--config_file={config_file}",
                    f"--model_dir={folder}",
                    *(f"--config_override={text}" for text in overrides),
                ],
                env={**os.environ, "TF_CONFIG": json.dumps(cluster)},
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
        )
    return processes, hosts


def _start_workers(config_file, folder, *overrides):
    processes, _ = _launch_workers(config_file, folder, *overrides)
    return [process.communicate()[0] for process in processes], processes


def test_two_workers_train_evaluate_and_continue(config_file, tmp_path):
    folder = tmp_path / "run"
    texts, processes = _start_workers(config_file, folder)
    for text, process in zip(texts, processes, strict=True):
        assert process.returncode == 0, text
    values, scores = _read(folder)
    assert int(values["global_step"]) == 4
    assert "2 replica(s) of CollectiveAllReduceStrategy" in texts[0]
    # The same command finds that all is done, and scores the same.
    texts, processes = _start_workers(config_file, folder)
    for text, process in zip(texts, processes, strict=True):
        assert process.returncode == 0, text
        assert "Already trained to step 4" in text
    _, again = _read(folder)
    assert again == scores


def test_averaged_weights_of_two_workers_are_those_of_one_device(
    config_file, tmp_path
):
    average = "trainer_options { solver_options { ema_decay: 0.9 } }"
    one, two = tmp_path / "one", tmp_path / "two"
    _train(1, config_file, one, average)
    texts, processes = _start_workers(config_file, two, _COMPARABLE, average)
    for text, process in zip(texts, processes, strict=True):
        assert process.returncode == 0, text
    values_one, scores_one = _read(one)
    values_two, scores_two = _read(two)
    middle_one, middle_two = _read(one, 2)[0], _read(two, 2)[0]
    names = [name for name in values_one if name.startswith("average/")]
    assert names
    for name in names:
        change = values_one[name] - middle_one[name]
        np.testing.assert_allclose(
            values_two[name] - middle_two[name],
            change,
            atol=0.02 * np.abs(change).max() + 1e-6,
            err_msg=name,
        )
    assert scores_one.keys() == scores_two.keys()


def test_two_replicas_learn_from_images_without_labels_as_one_device(
    config_file, tmp_path
):
    photos = tmp_path / "photos"
    photos.mkdir()
    for seed in range(6):
        image = scene.make_scene(100 + seed, (65, 100 + 7 * seed)).image
        Image.fromarray(image).save(photos / f"{seed}.png")
    learning = (
        f"semi_supervised {{ method: MEAN_TEACHER unlabeled_pattern: '{photos}'"
        " consistency { batch_size: 4 confidence_threshold: 0 ramp_up_steps: 0 "
        "feature_dropout_rate: 0.2 cut_mix_probability: 1 } } "
        "trainer_options { solver_options { ema_decay: 0.9 } }"
    )
    one, two = tmp_path / "one", tmp_path / "two"
    _train(1, config_file, one, learning)
    _train(2, config_file, two, learning)
    values_one, values_two = _read(one)[0], _read(two)[0]
    middle_one, middle_two = _read(one, 2)[0], _read(two, 2)[0]
    for name in values_one:
        if name.startswith(("variables/", "average/")):
            change = values_one[name] - middle_one[name]
            np.testing.assert_allclose(
                values_two[name] - middle_two[name],
                change,
                atol=0.02 * np.abs(change).max() + 1e-6,
                err_msg=name,
            )


_LONG = (
    "trainer_options { save_checkpoints_steps: 4 solver_options { "
    "training_number_of_steps: 100000 } }"
)


def _list_saved(folder):
    return checkpoint_files.list_checkpoints(str(folder))


def _signal_in_training(config_file, folder, number):
    """Sends a signal to worker 1 when both have saved a checkpoint."""
    processes, hosts = _launch_workers(config_file, folder, _LONG)
    try:
        own = folder / "worker_1"
        while not (list(own.glob("ckpt-*.index")) and _list_saved(folder)):
            for process in processes:
                assert process.poll() is None, process.communicate()[0]
            time.sleep(0.2)
        processes[1].send_signal(number)
        texts = [p.communicate(timeout=900)[0] for p in processes]
    finally:
        for process in processes:
            process.kill()
            process.wait()
    return texts, [process.returncode for process in processes], hosts


def test_sigterm_to_one_worker_stops_all_with_the_state_saved(
    config_file, tmp_path
):
    folder = tmp_path / "run"
    texts, codes, _ = _signal_in_training(config_file, folder, signal.SIGTERM)
    assert codes == [75, 75], texts
    steps = [
        int(re.search(r"Stopped as asked.* after step (\d+), which", text)[1])
        for text in texts
    ]
    assert steps[0] == steps[1]
    assert "with the other workers" in texts[0]
    for part in (folder, folder / "worker_1"):
        assert _list_saved(part)[-1].endswith(f"/ckpt-{steps[0]}")
    assert not (folder / "training.lock").exists()


def test_a_killed_worker_is_named_to_the_user_of_the_other(
    config_file, tmp_path
):
    folder = tmp_path / "run"
    texts, codes, hosts = _signal_in_training(
        config_file, folder, signal.SIGKILL
    )
    assert codes == [75, -signal.SIGKILL], texts
    step = _list_saved(folder)[-1].rpartition("-")[2]
    last = texts[0].strip().splitlines()[-1]
    assert last.startswith(f"Error: Worker 1 ({hosts[1]}) is gone: ")
    assert last.endswith(f"training continues from step {step}.")
    assert "Traceback" not in texts[0]
    assert "grpc" not in texts[0]
    assert not (folder / "training.lock").exists()
