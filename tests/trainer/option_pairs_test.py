# SPDX-License-Identifier: Apache-2.0
"""Options of a run in pairs: two steps and an evaluation of drawn configs.

Options that work one by one may fail together. `_cover` draws configs by seed
so that every pair of values of two options occurs in one of them.
"""

import itertools
import json
import os
import random
import socket
import subprocess
import sys

import numpy as np
import pytest

from deeplab2_like import config as config_lib
from deeplab2_like.checkpoints import files as checkpoint_files

_DEEPLAB_LOSSES = 'semantic_loss { name: "softmax_cross_entropy" }'
_PIXEL_LOSSES = (
    f"{_DEEPLAB_LOSSES} "
    'center_loss { name: "mse" weight: 200 } '
    'regression_loss { name: "l1" weight: 0.1 }'
)
_MASK_LOSSES = (
    f"{_DEEPLAB_LOSSES} "
    'proposal_loss { name: "sigmoid_cross_entropy" } '
    'proposal_box_loss { name: "l1" } '
    'class_loss { name: "softmax_cross_entropy" } '
    'box_loss { name: "l1" } mask_loss { name: "sigmoid_cross_entropy" }'
)
_CELL_LOSSES = (
    f"{_DEEPLAB_LOSSES} "
    'cell_loss { name: "sigmoid_focal" } mask_loss { name: "dice" }'
)
_DECODER = (
    'decoder { feature_key: "res5" decoder_channels: 4 aspp_channels: 4 '
    "atrous_rates: [1, 2, 3] }"
)
_MASK_RCNN = (
    "channels: 8 box_head_units: 8 mask_head_convolutions: 1 max_instances: 5 "
    "anchor_samples: 16 region_samples: 8 train_level_proposals: 10 "
    "level_proposals: 10 num_proposals: 8 max_detections: 5"
)
# System -> its part of model_options, and its losses.
_SYSTEMS = {
    "deeplab_v3": (f"{_DECODER} deeplab_v3 {{ }}", _DEEPLAB_LOSSES),
    "deeplab_v3_plus": (
        f"{_DECODER} deeplab_v3_plus {{ low_level {{ "
        'feature_key: "res2" channels_project: 4 } }',
        _DEEPLAB_LOSSES,
    ),
    "panoptic_deeplab": (
        f"{_DECODER} panoptic_deeplab {{ "
        'low_level { feature_key: "res3" channels_project: 4 } '
        'low_level { feature_key: "res2" channels_project: 4 } '
        "instance { center_head { head_channels: 4 } "
        "regression_head { head_channels: 4 } } "
        "semantic_head { head_channels: 8 } }",
        _PIXEL_LOSSES,
    ),
    "panoptic_fpn": (
        "panoptic_fpn { pyramid_channels: 8 semantic { channels: 32 } "
        f"instance {{ anchor_size: [8, 16, 32, 64, 96] {_MASK_RCNN} }} }}",
        _MASK_LOSSES,
    ),
    "efficientps": (
        "efficientps { pyramid_channels: 8 semantic { channels: 8 } "
        f"mask_rcnn {{ anchor_size: [8, 16, 32, 64] {_MASK_RCNN} }} }}",
        _MASK_LOSSES,
    ),
    "efficientps_solov2": (
        "efficientps { pyramid_channels: 8 semantic { channels: 8 } "
        "solov2 { grid: [8, 6, 4, 3, 2] smallest_size: [1, 6, 12, 24, 48] "
        "largest_size: [12, 24, 48, 96, 512] channels: 32 convolutions: 1 "
        "mask_channels: 32 mask_branch_channels: 32 max_instances: 5 "
        "max_masks: 8 candidates: 10 max_detections: 5 } }",
        _CELL_LOSSES,
    ),
}
# Systems whose objects of several views cannot be averaged.
_ONE_VIEW = ("panoptic_fpn", "efficientps", "efficientps_solov2")
_THIN = (
    "stem_width_multiplier: 0.0625 backbone_width_multiplier: 0.01 "
    "backbone_layer_multiplier: "
)
_BACKBONES = {
    "swidernet": f"{_THIN} 0.1",
    "resnet50": f"{_THIN} 0.34",
    "mobilenet_v3_small": "use_squeeze_and_excite: true",
}
_OPTIONS = {
    "system": list(_SYSTEMS),
    "backbone": list(_BACKBONES),
    "strategy": ["one", "mirrored", "workers"],
    "optimizer": ["adam", "adamw", "sgd"],
    "precision": ["float32", "bfloat16"],
    "ema_decay": [0.0, 0.9],
    "sync_batchnorm": [True, False],
    "deterministic": [False, True],
    "recompute": [False, True],
    "scales": [[], [0.75, 1.0]],
    "flips": [False, True],
    "batch": [2, 4],
    "padding": ["CONSTANT", "REFLECT"],
    "canvas": [0, 32],
    "clipping": [False, True],
    "decay": [0.0, 1e-4],
    "learn_weights": [False, True],
}
# What the fast test draws from: systems and networks that are traced quickly.
_QUICK = {
    **_OPTIONS,
    "system": ["deeplab_v3_plus", "panoptic_deeplab"],
    "backbone": ["swidernet"],
    "strategy": ["one"],
}


def _pairs(drawn):
    """Returns all pairs of values of a config, as hashable items."""
    items = [(name, repr(value)) for name, value in sorted(drawn.items())]
    return set(itertools.combinations(items, 2))


def _is_refused(drawn):
    """Returns whether configs refuse values that are together here."""
    is_mobilenet = drawn.get("backbone") == "mobilenet_v3_small"
    finds_boxes = drawn.get("system") in _ONE_VIEW
    return (is_mobilenet and drawn.get("recompute")) or (
        finds_boxes and (drawn.get("scales") or drawn.get("flips"))
    )


def _cover(options, seed=0, tries=30):
    """Draws configs until each pair of values of two options is in one."""
    generator = random.Random(seed)
    names = sorted(options)
    left = {
        pair
        for first, second in itertools.combinations(names, 2)
        for one, two in itertools.product(options[first], options[second])
        for pair in _pairs({first: one, second: two})
        if not _is_refused({first: one, second: two})
    }
    configs = []
    while left:
        best, best_pairs = None, set()
        # Each try contains a pair that is left.
        (one, value_one), (two, value_two) = min(left)
        for _ in range(tries):
            drawn = {
                name: generator.choice(values)
                for name, values in options.items()
            }
            for name, text in ((one, value_one), (two, value_two)):
                drawn[name] = next(
                    value for value in options[name] if repr(value) == text
                )
            if _is_refused(drawn):
                continue
            found = _pairs(drawn) & left
            if len(found) > len(best_pairs):
                best, best_pairs = drawn, found
        configs.append(best)
        left -= best_pairs
    return configs


def _flag(value):
    return str(value).lower()


def _write_config(drawn, records):
    model, losses = _SYSTEMS[drawn["system"]]
    scales = " ".join(f"eval_scales: {scale}" for scale in drawn["scales"])
    data = (
        'dataset: "scenes" crop_size: [65, 129] '
        f"padding_mode: {drawn['padding']}"
    )
    return f"""
experiment_name: "pairs"
model_options {{
  backbone {{
    name: "{drawn["backbone"]}"
    output_stride: 32
    recompute: {_flag(drawn["recompute"])}
    {_BACKBONES[drawn["backbone"]]}
  }}
  {model}
}}
trainer_options {{
  save_checkpoints_steps: 2
  save_summaries_steps: 2
  steps_per_loop: 1
  deterministic: {_flag(drawn["deterministic"])}
  compute_precision: "{drawn["precision"]}"
  loss_options {{
    {losses}
    learn_weights: {_flag(drawn["learn_weights"])}
  }}
  solver_options {{
    training_number_of_steps: 2
    optimizer: "{drawn["optimizer"]}"
    ema_decay: {drawn["ema_decay"]}
    use_sync_batchnorm: {_flag(drawn["sync_batchnorm"])}
    use_gradient_clipping: {_flag(drawn["clipping"])}
    weight_decay: {drawn["decay"]}
  }}
}}
train_dataset_options {{
  {data}
  file_pattern: "{records}/train-*"
  batch_size: {drawn["batch"]}
}}
eval_dataset_options {{
  {data}
  file_pattern: "{records}/val-*"
  batch_size: {1 if drawn["canvas"] else drawn["batch"]}
  pad_to_multiple_of: {drawn["canvas"]}
}}
evaluator_options {{
  {scales}
  add_flipped_images: {_flag(drawn["flips"])}
  keep_k_centers: 5
  num_vis_samples: 1
}}
"""


# Runs the configs of a JSON file one after the other. Operations stay
# deterministic in a process once they are, so those come last.
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
strategies = {
    "workers": lambda: build(),
    "one": lambda: tf.distribute.OneDeviceStrategy("CPU:0"),
    "mirrored": lambda: tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]),
}
made = {}
for case in json.load(open(sys.argv[1])):
    kind = case["drawn"]["strategy"]
    if kind not in made:
        made[kind] = strategies[kind]()
    distribution.build_strategy = lambda *_: made[kind]
    print("CASE", json.dumps(case["drawn"]), flush=True)
    run.run_experiment(
        config.parse(case["text"]), case["folder"], "train_and_eval")
"""


def _start(cases_file, devices, environment):
    return subprocess.Popen(
        [sys.executable, "-c", _PROGRAM, str(cases_file), str(devices)],
        env={**os.environ, "CUDA_VISIBLE_DEVICES": "-1", **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def _cluster():
    sockets = [socket.socket() for _ in range(2)]
    for item in sockets:
        item.bind(("127.0.0.1", 0))
    hosts = [f"127.0.0.1:{item.getsockname()[1]}" for item in sockets]
    for item in sockets:
        item.close()
    for index in range(2):
        yield {
            "TF_CONFIG": json.dumps(
                {
                    "cluster": {"worker": hosts},
                    "task": {"type": "worker", "index": index},
                }
            )
        }


def _run(drawn_configs, records, folder):
    """Runs configs of one strategy, and checks what each has written."""
    cases = [
        {
            "drawn": drawn,
            "text": _write_config(drawn, records),
            "folder": str(folder / str(index)),
        }
        for index, drawn in enumerate(drawn_configs)
    ]
    cases.sort(key=lambda case: case["drawn"]["deterministic"])
    file = folder / "cases.json"
    file.write_text(json.dumps(cases))
    is_shared = drawn_configs[0]["strategy"] == "workers"
    processes = [
        _start(file, 1 if is_shared else 2, environment)
        for environment in (_cluster() if is_shared else [{}])
    ]
    texts = [process.communicate()[0] for process in processes]
    for process, text in zip(processes, texts, strict=True):
        assert process.returncode == 0, text[-6000:]
    for case in cases:
        _check(case["drawn"], case["folder"])


def _check(drawn, folder):
    values = checkpoint_files.read_checkpoint(f"{folder}/ckpt-2")
    assert int(values["global_step"]) == 2, drawn
    for name, value in values.items():
        if value.dtype.kind == "f":
            assert np.isfinite(value).all(), (name, drawn)
    has_average = any(name.startswith("average/") for name in values)
    assert has_average == bool(drawn["ema_decay"]), drawn
    with open(f"{folder}/eval/metrics.json", encoding="utf-8") as file:
        summaries = json.load(file)["summaries"]
    assert 0 <= summaries["evaluation/iou/IoU"] <= 1, drawn
    assert np.isfinite(summaries["losses/eval_total_loss"]), drawn


@pytest.fixture(scope="module")
def small_records(tmp_path_factory):
    """Returns a folder with scenes that are smaller than the canvas."""
    from deeplab2_like.scenes import records

    folder = tmp_path_factory.mktemp("pairs")
    for split, count in (("train", 4), ("val", 3)):
        records.write_records(
            str(folder), split, count, size=(57, 113), num_shards=2
        )
    return folder


def test_every_pair_of_values_is_drawn():
    drawn = _cover(_OPTIONS)
    found = set().union(*map(_pairs, drawn))
    for first, second in itertools.combinations(sorted(_OPTIONS), 2):
        for one in _OPTIONS[first]:
            for two in _OPTIONS[second]:
                pair = {first: one, second: two}
                assert _is_refused(pair) or _pairs(pair) <= found
    assert len(drawn) <= 40
    assert drawn == _cover(_OPTIONS)


def test_every_drawn_config_is_accepted(tmp_path):
    for drawn in _cover(_OPTIONS):
        config_lib.parse(_write_config(drawn, tmp_path))


def test_a_drawn_config_trains_and_evaluates(small_records, tmp_path):
    _run(_cover(_QUICK)[:1], small_records, tmp_path)


_GROUPS = {
    "one": 4,
    "mirrored": 4,
    "workers": 4,
}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("strategy", "group"),
    [(name, i) for name, count in _GROUPS.items() for i in range(count)],
)
def test_all_drawn_configs_train_and_evaluate(
    strategy, group, small_records, tmp_path
):
    drawn = [c for c in _cover(_OPTIONS) if c["strategy"] == strategy]
    _run(drawn[group :: _GROUPS[strategy]], small_records, tmp_path)
