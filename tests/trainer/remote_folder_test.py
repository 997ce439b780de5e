# SPDX-License-Identifier: Apache-2.0
"""Runs whose model folder is an address of TensorFlow's file systems."""

import json
import uuid

import pytest
import tensorflow as tf

from deeplab2_like import config, errors
from deeplab2_like.checkpoints import files as checkpoint_files
from deeplab2_like.trainer import folder_lock, runs

pytestmark = pytest.mark.slow

_OPTIONS = (
    "trainer_options { loss_options { semantic_loss { balance: "
    "MEDIAN_FREQUENCY } } num_checkpoints_to_keep: 1 keep_optimizer: LAST "
    "solver_options { ema_decay: 0.9 } } evaluator_options { "
    "save_predictions: true save_raw_predictions: true }"
)


@pytest.fixture
def address(tmp_path, monkeypatch):
    """An address in memory; nothing may be written beside it."""
    monkeypatch.chdir(tmp_path)
    before = set(tmp_path.rglob("*"))
    yield f"ram://{uuid.uuid4().hex}/run"
    assert set(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("is_async", [False, True])
def test_a_run_trains_evaluates_and_continues_at_an_address(
    config_file, address, is_async
):
    mode = f"trainer_options {{ async_checkpoints: {str(is_async).lower()} }}"
    loaded = config.load(str(config_file), [_OPTIONS, mode])
    results = runs.train(loaded, address, evaluate=True)
    names = set(tf.io.gfile.listdir(address))
    assert {"config.textproto", "checkpoint", "ckpt-4.index"} <= names
    assert "ckpt-2.index" not in names
    assert not {name for name in names if "lock" in name or "temp" in name}
    for part in ("train", "eval"):
        assert any(
            name.startswith("events.out.tfevents")
            for name in tf.io.gfile.listdir(f"{address}/{part}")
        )
    for name in ("eval/metrics.json", "best/score.json"):
        with tf.io.gfile.GFile(f"{address}/{name}") as file:
            json.load(file)
    assert len(tf.io.gfile.listdir(f"{address}/vis/raw_semantic")) == 3
    longer = config.load(
        str(config_file),
        [
            _OPTIONS,
            mode,
            "trainer_options { solver_options { training_number_of_steps: 6 } "
            "}",
        ],
    )
    runs.train(longer, address)
    found = checkpoint_files.find_checkpoint(address)
    assert found == f"{address}/ckpt-6"
    assert int(checkpoint_files.read_checkpoint(found)["global_step"]) == 6
    evaluated = runs.evaluate(f"{address}/best")
    assert evaluated["summaries"] == pytest.approx(results["summaries"])


def test_a_second_run_at_an_address_is_refused(config_file, address):
    loaded = config.load(str(config_file))
    tf.io.gfile.makedirs(address)
    with tf.io.gfile.GFile(f"{address}/{folder_lock.LOCK_FILE}", "w") as file:
        json.dump({"host": "another", "process": 7, "since": "now"}, file)
    with pytest.raises(errors.CheckpointError, match="another, process 7"):
        runs.train(loaded, address)


def test_damage_at_an_address_is_passed_over(config_file, address):
    loaded = config.load(str(config_file))
    runs.train(loaded, address)
    data = f"{address}/ckpt-4.data-00000-of-00001"
    with tf.io.gfile.GFile(data, "rb") as file:
        content = file.read()
    with tf.io.gfile.GFile(data, "wb") as file:
        file.write(content[: len(content) // 2])
    runs.train(loaded, address)
    values = checkpoint_files.read_checkpoint(f"{address}/ckpt-4")
    assert int(values["global_step"]) == 4
