# SPDX-License-Identifier: Apache-2.0
"""What evaluation computes and writes, on a checkpoint of random weights."""

import json
import shutil

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from deeplab2_like import config, errors
from deeplab2_like.data.records import decoding
from deeplab2_like.data.records import features as record_features
from deeplab2_like.labels import descriptor
from deeplab2_like.metrics import mean_iou
from deeplab2_like.postprocess import true_maps
from deeplab2_like.results import raw_predictions
from deeplab2_like.scenes import scene as scene_lib
from deeplab2_like.trainer import run, run_options


@pytest.fixture
def evaluate(tiny_run, scene_records, tmp_path):
    """Evaluates a copy of `tiny_run`; gives its folder and the results."""

    def run_evaluation(*overrides):
        folder = tmp_path / "run"
        shutil.copytree(tiny_run, folder)
        data = (
            f'eval_dataset_options {{ file_pattern: "{scene_records}/val-*" '
            "batch_size: 1 }"
        )
        loaded = config.load(
            str(folder / "config.textproto"), [data, *overrides]
        )
        return folder, run.run_experiment(loaded, str(folder), "eval")

    return run_evaluation


def _load_truth(folder):
    """Returns the panoptic labels of the validation scenes by name."""
    scene = descriptor.load("scenes")
    files = sorted(str(path) for path in folder.glob("val-*"))
    truth = {}
    for record in tf.data.TFRecordDataset(files):
        example = decoding.decode_example(
            record,
            num_classes=scene.num_classes,
            ignore_label=scene.ignore_label,
            label_divisor=scene.label_divisor,
        )
        truth[example["name"].numpy().decode()] = example["panoptic"].numpy()
    return truth


def test_everything_that_can_be_saved_is_saved(
    evaluate, scene_records, tmp_path
):
    out = tmp_path / "predictions"
    folder, results = evaluate(
        "evaluator_options { save_predictions: true num_vis_samples: 2 "
        "save_raw_predictions: true convert_raw_to_eval_ids: false "
        'raw_panoptic_format: "two_channel_numpy_array" '
        f'override_save_dir: "{out}" detailed_ap_metrics: true }}'
    )
    assert not (folder / "vis").exists()
    scene = descriptor.load("scenes")
    iou = mean_iou.MeanIoU(scene)
    truth = _load_truth(scene_records)
    for name, panoptic in truth.items():
        semantic = np.asarray(Image.open(out / f"raw_semantic/{name}.png"))
        iou.update(panoptic // scene.label_divisor, semantic)
        classes, instances = raw_predictions.load_raw_panoptic(
            out / f"raw_panoptic/{name}.npy", "two_channel_numpy_array"
        )
        is_void = classes == scene.ignore_label
        is_thing = np.isin(classes, scene.thing_ids)
        assert (instances[~is_thing] == 0).all()
        assert (instances[is_thing] > 0).all()
        assert np.isin(classes[~is_void], range(scene.num_classes)).all()
    # What was written is what was scored.
    summaries = results["summaries"]
    expected = summaries["evaluation/iou/IoU"]
    assert iou.result().scalars()["mIoU"] == pytest.approx(expected)
    written = {p.relative_to(out).as_posix() for p in out.rglob("*.*")}
    assert written == {
        *(f"{name}_comparison.png" for name in list(truth)[:2]),
        *(f"raw_semantic/{name}.png" for name in truth),
        *(f"raw_panoptic/{name}.npy" for name in truth),
    }
    numbers = {
        name.removeprefix("evaluation/ap/"): value
        for name, value in summaries.items()
        if name.startswith("evaluation/ap/")
    }
    assert len(numbers) == 12
    every = results["average_precision"]
    for name, key in {
        "AP_Mask": "AP",
        "AP_Mask_@IoU=0.5": "AP50",
        "AP_Mask_@IoU=0.75": "AP75",
        "AP_Mask_small": "AP_small",
        "AR_Mask_maxdets=100": "AR100",
        "AR_Mask_large": "AR_large",
    }.items():
        np.testing.assert_equal(numbers[name], every[key])


@pytest.mark.slow
def test_scales_and_mirrored_images_are_averaged(evaluate):
    folder, results = evaluate(
        "evaluator_options { eval_scales: [0.5, 1.0] "
        "add_flipped_images: true num_vis_samples: 0 }"
    )
    summaries = results["summaries"]
    assert 0 <= summaries["evaluation/iou/IoU"] <= 1
    assert np.isfinite(summaries["losses/eval_total_loss"])
    names = [n for n in summaries if n.startswith("evaluation/ap/")]
    assert names == ["evaluation/ap/AP_Mask"]
    written = json.loads((folder / "eval" / "metrics.json").read_text())
    assert written["summaries"].keys() == summaries.keys()
    assert not (folder / "vis").exists()


@pytest.fixture
def unlabelled(tmp_path):
    """Pattern of records of a test split, frames of two videos."""
    path = tmp_path / "test.tfrecord"
    with tf.io.TFRecordWriter(str(path)) as writer:
        for sequence in ("0001", "0002"):
            image = scene_lib.make_scene(int(sequence), (65, 129)).image
            example = tf.train.Example.FromString(
                record_features.encode_example(
                    name="000000.png",
                    image=tf.io.encode_png(image).numpy(),
                    image_format="png",
                    size=(65, 129),
                )
            )
            feature = example.features.feature[record_features.SEQUENCE]
            feature.bytes_list.value.append(sequence.encode())
            writer.write(example.SerializeToString())
    return f'file_pattern: "{path}" decode_groundtruth_label: false'


@pytest.mark.slow
def test_images_without_labels_are_only_predicted(evaluate, unlabelled):
    folder, results = evaluate(
        f"eval_dataset_options {{ {unlabelled} }}",
        "evaluator_options { save_predictions: true num_vis_samples: 1 "
        "save_raw_predictions: true }",
    )
    written = {
        p.relative_to(folder / "vis").as_posix()
        for p in (folder / "vis").rglob("*.*")
    }
    assert written == {
        "0001/000000_prediction.png",
        *(
            f"raw_{kind}/{sequence}/000000.png"
            for kind in ("semantic", "panoptic")
            for sequence in ("0001", "0002")
        ),
    }
    assert results["summaries"] == {}
    assert "Nothing was scored" in results["warnings"][0]
    assert not (folder / "eval" / "metrics.json").exists()


def test_neither_scoring_nor_saving_is_refused(evaluate, unlabelled):
    with pytest.raises(errors.ConfigError, match="nothing is to be saved"):
        evaluate(f"eval_dataset_options {{ {unlabelled} }}")


def test_records_that_lack_labels_unannounced_are_refused(evaluate, unlabelled):
    data = unlabelled.replace("false", "true")
    with pytest.raises(errors.DataError, match=r"000000\.png' has no label"):
        evaluate(f"eval_dataset_options {{ {data} }}")


def test_ids_that_do_not_fit_are_refused_before_the_model_is_built(
    evaluate, tmp_path
):
    dataset = config.load_dataset("scenes")
    dataset.name = "far"
    for index, entry in enumerate(dataset.classes):
        entry.category_id = 300 + index
    file = tmp_path / "far.textproto"
    file.write_text(str(dataset))
    with pytest.raises(errors.ConfigError, match="category id 3"):
        evaluate(
            "evaluator_options { save_raw_predictions: true }",
            f'train_dataset_options {{ dataset: "{file}" }}',
            f'eval_dataset_options {{ dataset: "{file}" }}',
        )


@pytest.mark.slow
@pytest.mark.parametrize("batch_size", [1, 3])
def test_a_report_is_written_for_any_batch_size(
    tiny_run, scene_records, tmp_path, batch_size
):
    pytest.importorskip("jinja2")
    folder = tmp_path / "run"
    shutil.copytree(tiny_run, folder)
    loaded = config.load(
        str(folder / "config.textproto"),
        [
            f'eval_dataset_options {{ file_pattern: "{scene_records}/val-*" '
            f"batch_size: {batch_size} }}",
            # Centers on void stay those of the network, here many random ones;
            # of only 20 some would be in place of true ones.
            "evaluator_options { keep_k_centers: 400 }",
        ],
    )
    options = run_options.RunOptions(report=True)
    results = run.run_experiment(loaded, str(folder), "eval", options)
    assert (folder / "eval" / "report.html").exists()
    rows = {tuple(r["true_parts"]): r["groups"] for r in results["oracles"]}
    assert rows[()]["all"]["PQ"] == results["summaries"]["evaluation/pq/PQ"]
    assert len(rows) == 1 + len(true_maps.ORACLES)
    assert rows[true_maps.PARTS]["all"]["PQ"] > 0.98
    bins = results["score_reliability"]["bins"]
    things = results["groups"]["things"]
    assert sum(b["matched"] for b in bins) == things["tp"]
    # A later evaluation without a report has none of that.
    plain = run.run_experiment(loaded, str(folder), "eval")
    assert "oracles" not in plain
    assert plain["summaries"] == results["summaries"]
