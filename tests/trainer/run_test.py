# SPDX-License-Identifier: Apache-2.0
"""Runs of the training program, whole ones and ones that must stop early."""

import collections
import contextlib
import io
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import types

import numpy as np
import pytest
import rich.console
import tensorflow as tf

from deeplab2_like import config, errors
from deeplab2_like.checkpoints import files as checkpoint_files
from deeplab2_like.console import progress
from deeplab2_like.trainer import (
    best_checkpoint,
    run,
    run_options,
    stopping,
    supervision,
    watchdog,
    workers,
)

_PROGRAM = pathlib.Path(__file__).parents[2] / "trainer" / "main.py"
_TWELVE_DETERMINISTIC_STEPS = (
    "trainer_options { deterministic: true save_checkpoints_steps: 6 "
    "solver_options { training_number_of_steps: 12 } }"
)


def _run_in_process(config_file, model_dir, mode, *overrides, **kwargs):
    loaded = config.load(str(config_file), overrides)
    return run.run_experiment(loaded, str(model_dir), mode, **kwargs)


def _start(config_file, model_dir, *arguments):
    return subprocess.Popen(
        [
            sys.executable,
            str(_PROGRAM),
            f"--config_file={config_file}",
            f"--model_dir={model_dir}",
            *arguments,
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        # A test run in the background of a script would pass on SIG_IGN.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


@pytest.mark.parametrize("is_chief", [True, False])
def test_the_chief_alone_repairs_before_any_worker_reads(
    is_chief, config_file, tmp_path, monkeypatch
):
    done = []

    def choose_folder(_, folder):
        return folder if is_chief else f"{folder}/worker_1"

    for module, name, function in (
        (run.distribution, "is_chief", lambda _: is_chief),
        (run.distribution, "choose_folder", choose_folder),
        (run.checkpoint_files, "repair_state_file", done.append),
        (run.workers, "wait_for_all", lambda _: done.append("wait")),
    ):
        monkeypatch.setattr(module, name, function)
    with run._open_folder(
        config.load(str(config_file)),
        str(tmp_path),
        strategy=tf.distribute.get_strategy(),
        options=run_options.RunOptions(repair_checkpoint_state=True),
        report=progress.Progress(),
    ):
        done.append("open")
    assert done == [str(tmp_path)] * is_chief + ["wait", "open"]


@pytest.mark.parametrize("is_alone", [True, False])
def test_the_evaluation_of_a_complete_run_ends_as_that_of_a_training(
    is_alone, config_file, monkeypatch
):
    """Workers that are told to stop agree about it between two batches."""
    lines, parts = [], []

    class Evaluation:
        def evaluate_checkpoint(self, prefix, *, keeps_best, after_batch):
            assert (prefix, keeps_best) == ("run/ckpt-4", True)
            parts.append(supervised.watchdog._part.field)
            supervised.watch.received = signal.SIGTERM
            for done in range(1, 9):
                after_batch(done)
            pytest.fail("Not all workers end.")

    report = types.SimpleNamespace(log=lines.append)
    supervised = supervision.Supervision(
        stopping.Watch(lines.append),
        watchdog.Watchdog(watchdog.Limits(evaluation=9), "", lines.append),
        report,
        tf.distribute.get_strategy(),
        is_alone,
    )
    monkeypatch.setattr(run, "_find_trained", lambda *_: "run/ckpt-4")
    monkeypatch.setattr(workers, "agree_to_stop", lambda _, asked: asked)
    if is_alone:  # There the signal itself interrupts.
        monkeypatch.setattr(
            Evaluation,
            "evaluate_checkpoint",
            lambda *_, **__: signal.raise_signal(signal.SIGTERM),
        )
    with supervised.watch, pytest.raises(SystemExit) as stop:
        run._train(
            config.load(str(config_file)),
            "run",
            build=lambda: types.SimpleNamespace(evaluation=Evaluation()),
            open_folder=contextlib.nullcontext(),
            evaluates=True,
            supervised=supervised,
            on_step=None,
        )
    assert stop.value.code == stopping.EXIT_CODE
    assert "Stopped as asked in the evaluation" in "\n".join(lines)
    assert is_alone or parts == ["evaluation_seconds"]


@pytest.mark.slow
def test_train_and_evaluate_leaves_a_complete_model_folder(
    config_file, tmp_path
):
    folder = tmp_path / "run"
    results = _run_in_process(config_file, folder, "train_and_eval")
    assert (folder / "config.textproto").exists()
    assert checkpoint_files.find_checkpoint(str(folder)).endswith("ckpt-4")
    assert list((folder / "train").glob("events*"))
    written = json.loads((folder / "eval" / "metrics.json").read_text())
    assert written["summaries"].keys() == results["summaries"].keys()
    assert 0 <= results["summaries"]["evaluation/iou/IoU"] <= 1
    assert not (folder / "training.lock").exists()
    evaluated = _run_in_process(config_file, folder, "eval")
    assert evaluated["summaries"] == results["summaries"]


@pytest.mark.slow
def test_the_same_command_finds_that_all_is_done_and_evaluates(
    config_file, tmp_path
):
    folder = tmp_path / "run"
    results = _run_in_process(config_file, folder, "train_and_eval")
    again = _run_in_process(config_file, folder, "train_and_eval")
    assert again["summaries"] == results["summaries"]


@pytest.mark.slow
def test_a_run_continues_with_another_rate_when_that_is_allowed(
    config_file, tmp_path
):
    folder = tmp_path / "run"
    _run_in_process(config_file, folder, "train")
    changed = (
        "trainer_options { solver_options { base_learning_rate: 0.0625 "
        "training_number_of_steps: 6 poly_learning_power: 0 } }"
    )
    with pytest.raises(errors.CheckpointError, match="base_learning_rate"):
        _run_in_process(config_file, folder, "train", changed)
    _run_in_process(
        config_file,
        folder,
        "train",
        changed,
        options=run_options.RunOptions(allow_config_change=True),
    )
    assert _list_steps(folder)[-1] == 6
    rates = [
        tf.make_ndarray(value.tensor).item()
        for path in folder.glob("train/*tfevents*")
        for event in tf.compat.v1.train.summary_iterator(str(path))
        for value in event.summary.value
        if value.tag == "learning_rate" and event.step == 6
    ]
    assert rates == [0.0625]


_ODD_LOOPS = (
    "trainer_options { steps_per_loop: 4 save_summaries_steps: 4 "
    "save_checkpoints_steps: 3 num_checkpoints_to_keep: 9 "
    "solver_options { training_number_of_steps: 8 base_learning_rate: 0.003 "
    "poly_learning_power: 0 ema_decay: 0.9 } }"
)


def _make_report():
    stream = io.StringIO()
    console = rich.console.Console(file=stream, width=200)
    return progress.Progress(console), stream


def _count_summaries(folder, tag):
    """Counts the summaries of each step in the event files of a folder."""
    found = collections.Counter()
    for path in folder.glob("*tfevents*"):
        for event in tf.compat.v1.train.summary_iterator(str(path)):
            found.update(
                event.step for v in event.summary.value if v.tag == tag
            )
    return found


def _list_steps(folder):
    prefixes = checkpoint_files.list_checkpoints(str(folder))
    return [int(prefix.rpartition("-")[2]) for prefix in prefixes]


@pytest.mark.slow
def test_ctrl_c_saves_and_the_same_command_does_the_rest_once(
    config_file, tmp_path
):
    folder = tmp_path / "run"
    steps, rates = [], set()

    def interrupt(step, values):
        steps.append(step)
        rates.add(values["learning_rate"])
        if step == 4:
            os.kill(os.getpid(), signal.SIGINT)

    report, text = _make_report()
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(SystemExit) as info:
            _run_in_process(
                config_file,
                folder,
                "train",
                _ODD_LOOPS,
                on_step=interrupt,
                report=report,
            )
    finally:
        signal.signal(signal.SIGINT, before)
    assert info.value.code == 130
    assert steps == [3, 4]
    assert rates == {0.003}
    assert _list_steps(folder) == [3, 4]
    assert "Stopped at step 4, which is saved. The same command cont" in (
        text.getvalue()
    )
    assert "Checkpoints of" in text.getvalue()
    assert not (folder / "training.lock").exists()

    # As a process leaves it that is killed between summary and checkpoint.
    writer = tf.summary.create_file_writer(str(folder / "train"))
    with writer.as_default():
        for step in (5, 8):
            tf.summary.scalar("learning_rate", 1.0, step=step)
    writer.close()
    report, text = _make_report()
    _run_in_process(
        config_file, folder, "train_and_eval", _ODD_LOOPS, report=report
    )
    assert "Training 4/8 ..." in text.getvalue()
    assert "Training 8/8" in text.getvalue()
    assert _list_steps(folder) == [3, 4, 6, 8]
    assert _count_summaries(folder / "train", "learning_rate") == {4: 1, 8: 1}
    tag = "evaluation/iou/IoU"
    assert _count_summaries(folder / "eval", tag) == {8: 1}

    # Nothing is left to do: no model is built, and nothing traced.
    report, text = _make_report()
    assert not _run_in_process(
        config_file, folder, "train", _ODD_LOOPS, report=report
    )
    assert "Already trained to step 8 of 8" in text.getvalue()
    assert "Tracing" not in text.getvalue()
    assert "M parameters" not in text.getvalue()
    # It is evaluated again, with the same numbers, and without an optimizer.
    first = (folder / "eval" / "metrics.json").read_text()
    report, text = _make_report()
    _run_in_process(
        config_file, folder, "train_and_eval", _ODD_LOOPS, report=report
    )
    assert "Tracing" not in text.getvalue()
    assert (folder / "eval" / "metrics.json").read_text() == first
    assert _count_summaries(folder / "eval", tag) == {8: 1}


@pytest.mark.slow
def test_training_stops_early_and_the_best_checkpoint_is_a_run(
    config_file, tmp_path, monkeypatch
):
    folder = tmp_path / "run"
    scores = iter([0.5, 0.25, 0.25, 0.25, 0.75])
    monkeypatch.setattr(
        best_checkpoint, "find_score", lambda _: ("PQ", next(scores))
    )

    def train(patience):
        report, text = _make_report()
        results = _run_in_process(
            config_file,
            folder,
            "train_and_eval",
            "trainer_options { num_checkpoints_to_keep: 1 "
            f"early_stopping_evaluations: {patience} "
            "solver_options { training_number_of_steps: 8 ema_decay: 0.9 } }",
            "evaluator_options { eval_interval: 2 }",
            report=report,
        )
        return results, text.getvalue()

    _, text = train(1)
    assert _list_steps(folder) == [4]
    assert "Stopped early at step 4: 1 evaluation in a row were" in text
    # Nothing is trained again; the newest checkpoint is.
    _, text = train(1)
    assert "Stopped early at step 4" in text
    assert "Tracing" not in text
    assert _list_steps(folder) == [4]
    # It goes on with the newest checkpoint, and counts on.
    _, text = train(2)
    assert f"Continuing from {folder}/ckpt-4" in text
    assert "Stopped early at step 6: 2 evaluations in a row were not" in text
    assert f"PQ 0.5000 at step 2, whose checkpoint is in {folder}/best" in text
    assert checkpoint_files.find_checkpoint(str(folder / "best")) == (
        f"{folder}/best/ckpt-2"
    )
    results, text = train(0)
    assert "Best so far: PQ 0.7500 at step 8" in text
    loaded = config.load(str(folder / "best" / "config.textproto"))
    again = run.run_experiment(loaded, str(folder / "best"), "eval")
    assert again["summaries"] == results["summaries"]


@pytest.mark.slow
def test_an_evaluation_that_watches_a_run_keeps_the_best(
    tiny_run, scene_records, tmp_path, monkeypatch
):
    monkeypatch.setattr(best_checkpoint, "find_score", lambda _: ("PQ", 0.5))
    folder = tmp_path / "run"
    shutil.copytree(tiny_run, folder)
    data = (
        f'eval_dataset_options {{ file_pattern: "{scene_records}/val-*" }} '
        "evaluator_options { continuous_eval_timeout: 0 }"
    )
    file = folder / "config.textproto"
    for mode, keeps in (("eval", False), ("continuous_eval", True)):
        _run_in_process(file, folder, mode, data)
        assert (folder / "best" / "score.json").exists() == keeps
    assert checkpoint_files.find_checkpoint(str(folder / "best")) == (
        f"{folder}/best/ckpt-7"
    )


@pytest.mark.parametrize(
    ("override", "error", "message"),
    [
        (
            "train_dataset_options { file_pattern: '/nowhere/train-*' }",
            errors.DataError,
            "/nowhere/train-",
        ),
        (
            "train_dataset_options { augmentations { "
            "autoaugment_policy_name: 'simple' } }",
            errors.ConfigError,
            "autoaugment_policy_name",
        ),
        (
            "train_dataset_options { crop_size: [64, 129] }",
            errors.ConfigError,
            "65",
        ),
        (
            "model_options { initial_checkpoint: '/nowhere/ckpt' }",
            errors.CheckpointError,
            "/nowhere/ckpt",
        ),
        (
            "train_dataset_options { dataset: 'nuclei' } "
            "eval_dataset_options { dataset: 'nuclei' }",
            errors.DataError,
            "train_000",
        ),
    ],
)
def test_what_cannot_be_trained_stops_with_one_sentence(
    config_file, tmp_path, override, error, message
):
    with pytest.raises(error, match=message):
        _run_in_process(config_file, tmp_path / "run", "train", override)


def test_a_place_holder_without_value_names_its_variable(
    config_file, tmp_path, monkeypatch
):
    monkeypatch.delenv("TRAIN_SET")
    with pytest.raises(errors.ConfigError, match="TRAIN_SET"):
        _run_in_process(config_file, tmp_path / "run", "train")


def test_evaluating_a_folder_without_checkpoint_is_one_sentence(
    config_file, tmp_path
):
    with pytest.raises(errors.CheckpointError, match="no checkpoint"):
        _run_in_process(config_file, tmp_path, "eval")


@pytest.mark.slow
@pytest.mark.parametrize(
    "signal_number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT]
)
def test_a_stopped_run_continues_to_the_same_weights(
    config_file, tmp_path, signal_number
):
    long = f"--config_override={_TWELVE_DETERMINISTIC_STEPS}"
    whole = _start(config_file, tmp_path / "whole", long)
    assert whole.wait() == 0, whole.stdout.read()

    folder = tmp_path / "stopped"
    process = _start(config_file, folder, long)
    _wait_for_checkpoint(process, folder)
    os.kill(process.pid, signal_number)
    code = process.wait()
    expected = {signal.SIGKILL: -9, signal.SIGTERM: 75, signal.SIGINT: 130}
    expected = expected[signal_number]
    text = process.stdout.read()
    assert code == expected, text
    steps = checkpoint_files.list_checkpoints(str(folder))
    assert not steps[-1].endswith("ckpt-12")
    if signal_number != signal.SIGKILL:
        step = re.search(r"(after|at) step (\d+), which is saved", text)[2]
        assert steps[-1].endswith(f"ckpt-{step}")

    continued = _start(config_file, folder, long)
    assert continued.wait() == 0, continued.stdout.read()
    assert "Continuing from" in continued.stdout.read()
    a = checkpoint_files.read_checkpoint(str(tmp_path / "whole" / "ckpt-12"))
    b = checkpoint_files.read_checkpoint(str(folder / "ckpt-12"))
    assert a.keys() == b.keys()
    for name in a:
        np.testing.assert_array_equal(a[name], b[name], err_msg=name)
    whole, stopped = (
        _count_summaries(tmp_path / name / "train", "losses/train_total_loss")
        for name in ("whole", "stopped")
    )
    assert whole == stopped == dict.fromkeys(range(2, 14, 2), 1)


def _wait_for_checkpoint(process, folder):
    """Reads the state file in a loop until a checkpoint is written."""
    while process.poll() is None:
        if (folder / "checkpoint").exists():
            return
    raise AssertionError(process.stdout.read())


@pytest.mark.slow
def test_a_program_prints_one_line_and_its_exit_code(config_file, tmp_path):
    process = _start(
        config_file,
        tmp_path / "run",
        "--config_override=train_dataset_options { crop_size: [64, 129] }",
    )
    text, _ = process.communicate()
    assert process.returncode == 2
    assert "Traceback" not in text
    assert "crop_size" in text
