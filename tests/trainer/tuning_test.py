# SPDX-License-Identifier: Apache-2.0
"""Tuned settings: what is found, and that an evaluation gives the same."""

import io
import json
import shutil
import subprocess
import sys
import uuid

import numpy as np
import pytest
import rich.console
import tensorflow as tf

from deeplab2_like import config, errors
from deeplab2_like.config import run_config
from deeplab2_like.console import progress
from deeplab2_like.labels import descriptor as descriptor_lib
from deeplab2_like.meta_architectures import build as system_build
from deeplab2_like.meta_architectures import panoptic_deeplab
from deeplab2_like.meta_architectures import system as system_lib
from deeplab2_like.results import original_size
from deeplab2_like.scenes import scene as scene_lib
from deeplab2_like.trainer import (
    run,
    run_options,
    scores,
    stored_outputs,
    tuning,
    tuning_files,
    tuning_search,
)
from deeplab2_like.trainer.tuning_search import Part

_SIZE = (65, 129)
_THRESHOLD = "evaluator_options.center_score_threshold"
_LIMIT = "evaluator_options.stuff_area_limit"


@pytest.fixture
def few_values(monkeypatch):
    """Fewer values to try: each kernel is compiled."""
    monkeypatch.setattr(panoptic_deeplab, "_CENTER_THRESHOLDS", (0.1, 0.4))
    monkeypatch.setattr(panoptic_deeplab, "_NMS_KERNELS", (5, 7))
    monkeypatch.setattr(system_lib, "_STUFF_AREA_LIMITS", (0, 100))


def _make_report():
    stream = io.StringIO()
    console = rich.console.Console(file=stream, width=300)
    return progress.Progress(console), stream


def _make_batch(system, seeds):
    """Makes a batch, and outputs with low centers and shifted classes."""
    targets, labels = [], []
    for seed in seeds:
        label = scene_lib.make_scene(seed, _SIZE).panoptic
        labels.append(np.asarray(label, np.int32))
        make = system.target_maker(is_training=False)
        targets.append(
            {k: v.numpy() for k, v in make(tf.constant(labels[-1])).items()}
        )
    stack = {k: np.stack([t[k] for t in targets]) for k in targets[0]}
    classes = system.descriptor.num_classes
    semantic = np.clip(stack["semantic"], 0, classes - 1)
    semantic = np.roll(semantic, 2, axis=1)
    heatmap = np.reshape(stack["center_heatmap"], (len(seeds), *_SIZE, 1))
    arrays = {
        "name": np.array([f"image {seed}".encode() for seed in seeds]),
        "panoptic": np.stack(labels),
        "valid_size": np.array([_SIZE] * len(seeds), np.int32),
        "original_size": np.array([_SIZE] * len(seeds), np.int32),
    }
    outputs = {
        "semantic_logits": 5 * np.eye(classes, dtype=np.float32)[semantic],
        "center_heatmap": (0.3 * heatmap).astype(np.float32),
        "offset_map": stack["offset_map"].astype(np.float32),
    }
    return arrays, outputs


def _score(options, batches):
    """Scores batches as an evaluation does."""
    system = system_build.build_system(options, descriptor_lib.load("scenes"))
    found = scores.Scores(system)
    for arrays, outputs in batches:
        prediction = system.postprocess(
            outputs, _SIZE, tf.constant(arrays["valid_size"])
        )
        fields = {k: v.numpy() for k, v in prediction.as_dict().items()}
        image = np.zeros((len(arrays["name"]), *_SIZE, 3), np.uint8)
        batch = arrays | {"image": image}
        for restored in original_size.restore_images(batch, fields):
            found.update(restored)
    return found.results()["summaries"]["evaluation/pq/PQ"]


@pytest.mark.slow
@pytest.mark.usefixtures("few_values")
def test_the_settings_that_suit_the_outputs_are_found(
    tiny_run, tmp_path, monkeypatch
):
    high = "evaluator_options { center_score_threshold: 0.4 }"
    options = config.load(str(tiny_run / "config.textproto"), [high]).options
    system = system_build.build_system(options, descriptor_lib.load("scenes"))
    batches = [_make_batch(system, seeds) for seeds in ([0, 1], [2])]
    report, _ = _make_report()
    tuner = tuning.Tuner(
        options, system, None, tf.distribute.get_strategy(), report=report
    )
    tuner._strategy = tf.distribute.OneDeviceStrategy("CPU:0")

    def store(_, folder):
        stored = stored_outputs.StoredOutputs(folder)
        for arrays, outputs in batches:
            named = {f"output/{k}": v for k, v in outputs.items()}
            stored.add(arrays | named | {"canvas_size": np.array(_SIZE)})
        tuner._num_images = 3
        return stored

    monkeypatch.setattr(tuner, "_store", store)
    tuned = tuner.run(None, tmp_path)
    found = tuned.found[Part.ALL]
    assert found.settings[_THRESHOLD] == 0.1
    before = tuned.scores[Part.ALL, None]
    after = tuned.scores[Part.ALL, Part.ALL]
    assert 0 < before < after < 1
    # Exactly what an evaluation gives.
    assert before == _score(options, batches)
    changed = tuning.with_settings(options, found.settings)
    assert after == _score(changed, batches)
    # The first half is the first image, the second one the others.
    alone = {k: v[:1] for k, v in batches[0][0].items()}
    outputs = {k: v[:1] for k, v in batches[0][1].items()}
    chosen = tuned.found[Part.SECOND_HALF].settings
    assert tuned.scores[Part.FIRST_HALF, Part.SECOND_HALF] == _score(
        tuning.with_settings(options, chosen), [(alone, outputs)]
    )


def _make_tuned(second=0.5):
    start = {_THRESHOLD: 0.1, _LIMIT: 0}
    change = tuning_search.Change(_THRESHOLD, 0.1, 0.3, 0.25, 0.5)
    found = {
        part: tuning_search.Found({**start, _THRESHOLD: 0.3}, [change])
        for part in Part
    }
    values = {}
    for part in Part:
        values[part, None] = 0.25
        for source in Part:
            values[part, source] = 0.5
    values[Part.SECOND_HALF, Part.FIRST_HALF] = second
    return tuning.Tuned(3, start, found, values, [(start, (0.25,) * 3)])


def test_the_table_has_each_change_and_its_gain():
    lines = tuning_files.describe(_make_tuned()).splitlines()
    assert [line.split() for line in lines] == [
        ["setting", "from", "to", "PQ", "gain"],
        ["as", "in", "the", "config", "25.00"],
        ["center_score_threshold", "0.1", "0.3", "50.00", "+25.00"],
        ["stuff_area_limit", "0", "stays"],
        ["together", "50.00", "+25.00"],
    ]
    warning, check = tuning_files.describe_check(_make_tuned(0.375))
    assert "chosen on the same images" in warning
    assert "PQ 25.00 to 43.75 (+18.75)" in check
    assert "25.00 to 37.50 on the second half" in check


def test_a_half_without_labels_leaves_out_the_check():
    (line,) = tuning_files.describe_check(_make_tuned(float("nan")))
    assert "chosen on the same images" in line
    assert "needs labels in both halves" in line


def test_the_config_is_complete_wherever_its_descriptors_lie(
    tiny_run, tmp_path
):
    options = config.load(str(tiny_run / "config.textproto")).options
    inside = tmp_path / "eval_mine.textproto"
    inside.write_text(str(config.load_dataset("scenes")))
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    other = elsewhere / "other.textproto"
    shutil.copy(inside, other)
    options.eval_dataset_options.dataset = str(inside)
    options.train_dataset_options.dataset = str(other)
    path = tuning_files.write(
        _make_tuned(), options, "run/ckpt-7", 7, model_dir=str(tmp_path)
    )
    assert path == f"{tmp_path}/tuned.textproto"
    assert 'dataset: "eval_mine.textproto"' in (
        (tmp_path / "tuned.textproto").read_text()
    )
    loaded = config.load(path).options
    assert loaded.evaluator_options.center_score_threshold == (
        pytest.approx(0.3)
    )
    assert loaded.train_dataset_options.dataset == str(other)
    written = json.loads((tmp_path / "eval" / "tuning.json").read_text())
    assert written["changes"][0]["gain"] == 0.25
    assert written["checkpoint"] == "run/ckpt-7"


def test_a_config_at_an_address_names_the_descriptors_beside_it(
    tiny_run,
):
    """It is tuned with copies of the descriptors, which are deleted."""
    address = f"ram://{uuid.uuid4().hex}/run"
    tf.io.gfile.makedirs(f"{address}/eval")
    text = (tiny_run / "config.textproto").read_text()
    descriptor = str(config.load_dataset("scenes"))
    for name, content in (
        ("mine.textproto", descriptor),
        (
            "config.textproto",
            text.replace('dataset: "scenes"', 'dataset: "mine.textproto"'),
        ),
    ):
        with tf.io.gfile.GFile(f"{address}/{name}", "w") as file:
            file.write(content)
    options = run_config.load_checked(address).options
    assert options.eval_dataset_options.dataset != "mine.textproto"
    path = tuning_files.write(
        _make_tuned(), options, f"{address}/ckpt-7", 7, model_dir=address
    )
    assert path == f"{address}/tuned.textproto"
    with tf.io.gfile.GFile(path) as file:
        written = file.read()
    assert written.count('dataset: "mine.textproto"') == 2
    assert "copy it, with the descriptors beside" in (
        tuning_files.describe_use(path)
    )
    assert "copy" not in tuning_files.describe_use("run/tuned.textproto")


def test_settings_are_read_as_they_are_written(tiny_run):
    options = config.load(str(tiny_run / "config.textproto")).options
    assert tuning.read_settings(options, [_THRESHOLD, _LIMIT]) == {
        _THRESHOLD: 0.1,
        _LIMIT: 0,
    }


def test_a_disk_that_is_too_small_is_one_sentence(tmp_path):
    tuning._check_space(tmp_path, 10, 3)
    with pytest.raises(errors.DataError, match=r"take about .* GB are free"):
        tuning._check_space(tmp_path, 10**12, 10**6)


def _tune(folder, scene_records, *overrides, options=None):
    data = (
        f'eval_dataset_options {{ file_pattern: "{scene_records}/val-*" '
        "batch_size: 2 }"
    )
    loaded = config.load(str(folder / "config.textproto"), [data, *overrides])
    report, text = _make_report()
    results = run.run_experiment(
        loaded, str(folder), run_options.TUNE, options, report=report
    )
    return results, text.getvalue()


@pytest.fixture
def folder(tiny_run, tmp_path):
    path = tmp_path / "run"
    shutil.copytree(tiny_run, path)
    return path


@pytest.mark.slow
@pytest.mark.usefixtures("few_values")
def test_an_evaluation_with_the_written_config_gives_the_same(
    folder, scene_records, count_traces
):
    results, text = _tune(folder, scene_records)
    assert results["before"] <= results["after"]
    # Once for each kernel, with all values of the thresholds.
    assert count_traces() == 2
    assert "Scoring 1 setting, 1 to compile" in text
    assert "Two-fold check" in text
    assert [row["scored_on"] for row in results["two_fold"]] == [
        "second half",
        "first half",
    ]
    left = {path.name for path in (folder / "eval").iterdir()}
    assert left == {"tuning.json"}
    loaded = config.load(results["config"])
    evaluated = run.run_experiment(loaded, str(folder), "eval")
    pq = "evaluation/pq/PQ"
    assert evaluated["summaries"][pq] == results["after"]


@pytest.mark.slow
@pytest.mark.usefixtures("few_values")
def test_an_interrupt_removes_the_outputs(folder, scene_records, monkeypatch):
    def interrupt(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(tuning_search.Search, "run", interrupt)
    with pytest.raises(KeyboardInterrupt):
        _tune(folder, scene_records)
    assert not list((folder / "eval").iterdir())
    assert not (folder / "tuned.textproto").exists()


def test_one_checkpoint_is_tuned_not_each_new_one(folder):
    command = [
        "deeplab2-evaluate",
        f"--model_dir={folder}",
        "--tune",
        "--continuous",
    ]
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys; from deeplab2_like.trainer import evaluate_main; "
            f"sys.argv = {command!r}; evaluate_main.cli()",
        ],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert done.stderr == (
        "Error: --tune chooses values for one checkpoint: leave out "
        "--continuous.\n"
    )


def test_what_cannot_be_tuned_is_one_sentence(
    folder, scene_records, monkeypatch
):
    unlabelled = "eval_dataset_options { decode_groundtruth_label: false }"
    saves = "evaluator_options { save_raw_predictions: true }"
    with pytest.raises(errors.ConfigError, match="--tune needs labels"):
        _tune(folder, scene_records, unlabelled, saves)
    with pytest.raises(errors.ConfigError, match="on one machine"):
        _tune(
            folder,
            scene_records,
            options=run_options.RunOptions(master="local"),
        )
    no_instances = "model_options { panoptic_deeplab { instance { enable: false"
    with pytest.raises(errors.ConfigError, match="nothing to tune"):
        _tune(folder, scene_records, f"{no_instances} }} }} }}")
    monkeypatch.setenv("TF_CONFIG", "{}")
    with pytest.raises(errors.ConfigError, match="unset the environment"):
        _tune(folder, scene_records)
