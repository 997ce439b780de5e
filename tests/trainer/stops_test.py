# SPDX-License-Identifier: Apache-2.0
"""SIGTERM in every part of a run: it stops, and nothing is lost."""

import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import threading

import pytest

from deeplab2_like.checkpoints import files as checkpoint_files

pytestmark = pytest.mark.slow

_PROGRAM = pathlib.Path(__file__).parents[2] / "trainer" / "main.py"
_LONG = (
    "trainer_options { save_checkpoints_steps: 2 solver_options { ema_decay: "
    "0.9 training_number_of_steps: 100000 } } evaluator_options { "
    "eval_interval: 4 }"
)


def _start(config_file, folder, *overrides, **environment):
    return subprocess.Popen(
        [
            sys.executable,
            "-u",
            str(_PROGRAM),
            "--mode=train_and_eval",
            f"--config_file={config_file}",
            f"--model_dir={folder}",
            *(f"--config_override={text}" for text in (_LONG, *overrides)),
        ],
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        bufsize=1,
    )


def _signal_at(process, is_moment):
    """Sends SIGTERM when a line of the output, or the folder, says so.

    Returns:
        The whole output.
    """
    lines = []
    done = threading.Event()

    def read():
        for line in process.stdout:
            lines.append(line)
        done.set()

    threading.Thread(target=read, daemon=True).start()
    while not done.wait(0.002):
        if is_moment("".join(lines)):
            process.send_signal(signal.SIGTERM)
            break
    assert done.wait(600), "".join(lines)
    process.wait()
    return "".join(lines)


def _saves(folder):
    return any(name.endswith("_temp") for name in os.listdir(folder))


_MOMENTS = {
    "before the objects are built": lambda _, folder: folder.exists(),
    "while the step is traced": lambda text, _: "Tracing the tr" in text,
    "in the steps": lambda _, folder: (folder / "ckpt-2.index").exists(),
    "in an evaluation": lambda text, _: "Evaluating" in text,
    "while a checkpoint is saved": lambda _, folder: (
        folder.exists() and _saves(folder)
    ),
}


@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize("moment", _MOMENTS)
def test_a_run_stops_in_every_part_and_the_same_command_continues(
    config_file, tmp_path, moment, is_async
):
    folder = tmp_path / "run"
    mode = f"trainer_options {{ async_checkpoints: {str(is_async).lower()} }}"
    process = _start(config_file, folder, mode)
    text = _signal_at(process, lambda text: _MOMENTS[moment](text, folder))
    assert process.returncode == 75, text
    assert "Stopped as asked" in text
    assert "Traceback" not in text
    assert not (folder / "training.lock").exists()
    assert not any(name.endswith("_temp") for name in os.listdir(folder))
    saved = checkpoint_files.list_checkpoints(str(folder))
    if "is saved" in text:
        step = int(text.split("after step ")[1].split(",")[0])
        assert saved[-1].endswith(f"/ckpt-{step}")
    else:
        assert "nothing is lost" in text
        assert not saved
    if saved:
        checkpoint_files.read_checkpoint(saved[-1])


def _start_two(config_file, folder, *overrides):
    sockets = [socket.socket() for _ in range(2)]
    for item in sockets:
        item.bind(("localhost", 0))
    hosts = [f"localhost:{item.getsockname()[1]}" for item in sockets]
    for item in sockets:
        item.close()
    return [
        _start(
            config_file,
            folder,
            *overrides,
            TF_CONFIG=json.dumps(
                {
                    "cluster": {"worker": hosts},
                    "task": {"type": "worker", "index": index},
                }
            ),
        )
        for index in range(2)
    ]


@pytest.mark.parametrize(
    "moment",
    [
        "while the step is traced",
        "in the steps",
        "in an evaluation",
        "while a checkpoint is saved",
    ],
)
def test_two_workers_stop_in_every_part_at_the_same_step(
    config_file, tmp_path, moment
):
    folder = tmp_path / "run"
    processes = _start_two(config_file, folder)
    first = []
    reader = threading.Thread(
        target=lambda: first.append(processes[0].stdout.read())
    )
    reader.start()
    try:
        text = _signal_at(
            processes[1], lambda text: _MOMENTS[moment](text, folder)
        )
        reader.join(600)
    finally:
        for process in processes:
            process.kill()
            process.wait()
    texts = [first[0], text]
    assert [p.returncode for p in processes] == [75, 75], texts
    steps = {text.split("after step ")[1].split(",")[0] for text in texts}
    assert len(steps) == 1
    for part in (folder, folder / "worker_1"):
        saved = checkpoint_files.list_checkpoints(str(part))
        assert saved[-1].endswith(f"/ckpt-{min(steps)}")


def test_a_run_that_hangs_ends_with_the_stacks_in_a_file(config_file, tmp_path):
    folder = tmp_path / "run"
    process = _start(
        config_file,
        folder,
        "trainer_options { watchdog { compile_seconds: 1 step_seconds: 1 } "
        "steps_per_loop: 1 save_summaries_steps: 2 }",
    )
    text = process.communicate(timeout=900)[0]
    assert process.returncode == 75, text
    (file,) = folder.glob("stacks-*.txt")
    assert "in train" in file.read_text()
    assert f"threads are in {file}. The same command continues" in text
    assert "watchdog.compile_seconds" in text
    assert not (folder / "training.lock").exists()
