# SPDX-License-Identifier: Apache-2.0
"""One, two and four replicas and two processes: the same losses and weights.

The global batch is the same. What differs is the order of sums, so that small
steps leave small differences. Evaluations count exactly the same.
"""

import importlib.util
import json
import os
import pathlib
import socket
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from deeplab2_like.checkpoints import files as checkpoint_files

pytestmark = pytest.mark.slow

_PAIRS = pathlib.Path(__file__).with_name("option_pairs_test.py")
_SPEC = importlib.util.spec_from_file_location("option_pairs", _PAIRS)
assert _SPEC is not None
option_pairs = importlib.util.module_from_spec(_SPEC)
assert _SPEC.loader is not None
_SPEC.loader.exec_module(option_pairs)

_SYSTEMS = (
    "panoptic_deeplab",
    "panoptic_fpn",
    "efficientps",
    "efficientps_solov2",
)
_PLAIN = {
    "backbone": "resnet50",
    "optimizer": "sgd",
    "precision": "float32",
    "ema_decay": 0.0,
    "sync_batchnorm": True,
    "deterministic": True,
    "recompute": False,
    "scales": [],
    "flips": False,
    "batch": 4,
    "padding": "CONSTANT",
    "canvas": 0,
    "clipping": False,
    "decay": 1e-4,
    "learn_weights": False,
}
_ONE_AT_ONCE = "max_replica_batch_size: 1"
# Options -> what differs from _PLAIN, more of solver_options, and the largest
# difference of losses, relative, of the change of each value, relative to the
# largest one of its variable, and of the changes of all together.
_OPTIONS = {
    "clipping and averages": (
        {"clipping": True, "ema_decay": 0.9},
        "base_learning_rate: 1e-4",
        (1e-5, 0.02, 0.02),
    ),
    "adamw": (
        {"optimizer": "adamw", "clipping": True, "ema_decay": 0.9},
        "base_learning_rate: 1e-6 adamw_weight_decay: 0.01",
        # Steps have the size of the rate, whatever the gradient: where that is
        # small, rounding decides about their sign.
        (1e-5, 2.0, 0.5),
    ),
    "bfloat16": (
        {"precision": "bfloat16"},
        "base_learning_rate: 1e-4",
        (0.02, 0.3, 0.3),
    ),
    "one image at once": (
        {"sync_batchnorm": False, "clipping": True},
        f"base_learning_rate: 1e-4 {_ONE_AT_ONCE}",
        (1e-5, 0.02, 0.02),
    ),
}
_STEPS = 2
# Runs each case of a file on each number of replicas, or as a worker.
_PROGRAM = """
import json
import sys
import tensorflow as tf
tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0],
    [tf.config.LogicalDeviceConfiguration()] * int(sys.argv[2]))
from deeplab2_like import config
from deeplab2_like.trainer import distribution, run

build = distribution.build_strategy
made = {
    1: lambda: tf.distribute.OneDeviceStrategy("CPU:0"),
    2: lambda: tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]),
    4: lambda: tf.distribute.MirroredStrategy(
        ["CPU:0", "CPU:1", "CPU:2", "CPU:3"]),
}
workers = build() if sys.argv[2] == "1" else None
for case in json.load(open(sys.argv[1])):
    strategy = workers or made[case["replicas"]]()
    distribution.build_strategy = lambda *_: strategy
    run.run_experiment(
        config.parse(case["text"], case["overrides"]), case["folder"],
        "train_and_eval")
"""


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    """Returns a folder with scenes: 8 for training, 5 for evaluation."""
    from deeplab2_like.scenes import records as scenes_records

    folder = tmp_path_factory.mktemp("replicas")
    for split, count in (("train", 8), ("val", 5)):
        scenes_records.write_records(
            str(folder), split, count, size=(57, 113), num_shards=2
        )
    return folder


def _start(file, devices, environment):
    return subprocess.Popen(
        [sys.executable, "-c", _PROGRAM, str(file), str(devices)],
        env={**os.environ, "CUDA_VISIBLE_DEVICES": "-1", **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def _run(cases, folder, name, environments, devices):
    file = folder / f"{name}.json"
    file.write_text(json.dumps(cases))
    processes = [_start(file, devices, values) for values in environments]
    texts = [process.communicate()[0] for process in processes]
    for process, text in zip(processes, texts, strict=True):
        assert process.returncode == 0, text[-6000:]


def _cluster():
    sockets = [socket.socket() for _ in range(2)]
    for item in sockets:
        item.bind(("127.0.0.1", 0))
    hosts = [f"127.0.0.1:{item.getsockname()[1]}" for item in sockets]
    for item in sockets:
        item.close()
    for index in range(2):
        task = {"type": "worker", "index": index}
        cluster = {"cluster": {"worker": hosts}, "task": task}
        yield {"TF_CONFIG": json.dumps(cluster)}


def _read_losses(folder):
    found = {}
    for path in (folder / "train").glob("*tfevents*"):
        for event in tf.compat.v1.train.summary_iterator(str(path)):
            for value in event.summary.value:
                if value.tag.startswith("losses/"):
                    key = value.tag, event.step
                    found[key] = float(tf.make_ndarray(value.tensor))
    return found


def _read(folder, step=_STEPS):
    return checkpoint_files.read_checkpoint(f"{folder}/ckpt-{step}")


def _read_counts(folder):
    metrics = json.loads((folder / "eval" / "metrics.json").read_text())
    counts = {
        name: {key: row[key] for key in ("tp", "fp", "fn")}
        for name, row in metrics["classes"].items()
    }
    return counts, metrics["confusion"], metrics["num_images"]


def _check_equal(one, other, tolerances, *, has_parts, rate=0.0, steps=(1, 2)):
    """Checks losses, and what the steps between two checkpoints changed."""
    losses, losses_other = _read_losses(one), _read_losses(other)
    assert losses.keys() == losses_other.keys()
    assert {step for _, step in losses} == set(range(1, steps[1] + 1))
    for key, value in losses.items():
        assert losses_other[key] == pytest.approx(
            value, rel=tolerances[0], abs=1e-6
        ), (other, key)
    begin, end = (_read(one, step) for step in steps)
    begin_other, end_other = (_read(other, step) for step in steps)
    assert end.keys() == end_other.keys()
    squares = {}  # Of changes, and of what differs in them.
    for name, value in end.items():
        is_state = "moving_" in name and has_parts
        if name.startswith("random/") or is_state or value.dtype.kind != "f":
            continue
        change = value - begin[name]
        change_other = end_other[name] - begin_other[name]
        np.testing.assert_allclose(
            change_other,
            change,
            rtol=0,
            atol=tolerances[1] * max(np.abs(change).max(), rate) + 1e-6,
            err_msg=f"{other} {name}",
        )
        kind = "moving" if "moving_" in name else name.partition("/")[0]
        sums = squares.setdefault(kind, np.zeros(2))
        sums += np.sum(change**2.0), np.sum((change_other - change) ** 2.0)
    assert "variables" in squares
    for kind, (all_of_them, differing) in squares.items():
        # One that does not move differs by 1.
        share = (differing / all_of_them) ** 0.5
        print(f"{other.name}, {kind}: changes differ by {share:.2g}")
        assert share <= tolerances[2], (other, kind)


@pytest.mark.parametrize("system", _SYSTEMS)
@pytest.mark.parametrize("options", _OPTIONS)
def test_replicas_and_processes_train_as_one_device_does(
    system, options, records, tmp_path
):
    changes, solver, tolerances = _OPTIONS[options]
    drawn = {**_PLAIN, "system": system, **changes}
    text = option_pairs._write_config(drawn, records)
    # Without a random choice of anchors and regions.
    text = text.replace("anchor_samples: 16", "anchor_samples: 65536")
    text = text.replace("region_samples: 8", "region_samples: 64")
    overrides = [
        "trainer_options { save_checkpoints_steps: 1 save_summaries_steps: 1 "
        f"num_checkpoints_to_keep: 5 solver_options {{ {solver} }} }} "
        "model_options { decoder { aspp_use_only_1x1_proj_conv: true } }"
    ]
    if system != "panoptic_deeplab":
        overrides[0] = overrides[0].partition(" model_options")[0]
    has_parts = _ONE_AT_ONCE in solver
    folder = tmp_path
    case = {"text": text, "overrides": overrides}
    _run(
        [
            {**case, "replicas": n, "folder": str(folder / str(n))}
            for n in (1, 2, 4)
        ],
        folder,
        "mirrored",
        [{}],
        4,
    )
    shared = [{**case, "folder": str(folder / "workers")}]
    _run(shared, folder, "workers", _cluster(), 1)
    rate = 1e-6 if options == "adamw" else 0.0
    for name in ("2", "4", "workers"):
        _check_equal(
            folder / "1",
            folder / name,
            tolerances,
            has_parts=has_parts,
            rate=rate,
        )
    if options != "clipping and averages":
        return
    # The same weights, whoever evaluates them.
    counts = _read_counts(folder / "1")
    for name in ("2", "4", "workers"):
        (folder / "1" / "eval" / "metrics.json").unlink()
        again = {**case, "folder": str(folder / "1")}
        if name == "workers":
            _run([again], folder, "again", _cluster(), 1)
        else:
            again["replicas"] = int(name)
            _run([again], folder, "again", [{}], 4)
        assert _read_counts(folder / "1") == counts


def test_a_run_goes_on_with_another_number_of_workers(records, tmp_path):
    # Batch statistics are those of one image, whoever computes it.
    drawn = {
        **_PLAIN,
        "system": "panoptic_deeplab",
        "ema_decay": 0.9,
        "sync_batchnorm": False,
    }
    text = option_pairs._write_config(drawn, records)
    solver = f"base_learning_rate: 1e-4 {_ONE_AT_ONCE}"
    folders = {name: tmp_path / name for name in ("alone", "elastic")}

    def make(folder, steps):
        override = (
            "trainer_options { save_checkpoints_steps: 2 "
            f"save_summaries_steps: 1 solver_options {{ {solver} "
            f"training_number_of_steps: {steps} poly_learning_power: 0 }} }} "
            "model_options { decoder { aspp_use_only_1x1_proj_conv: true } }"
        )
        return {
            "text": text,
            "overrides": [override],
            "folder": str(folder),
            "replicas": 1,
        }

    _run([make(folders["alone"], 4)], tmp_path, "alone", [{}], 4)
    # Two steps of two workers with two images each, two of one with all four.
    _run([make(folders["elastic"], 2)], tmp_path, "two", _cluster(), 1)
    _run([make(folders["elastic"], 4)], tmp_path, "one", [{}], 4)
    assert int(_read(folders["elastic"], 4)["global_step"]) == 4
    _check_equal(
        folders["alone"],
        folders["elastic"],
        (1e-5, 0.02, 0.02),
        has_parts=True,
        steps=(2, 4),
    )
