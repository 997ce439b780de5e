# SPDX-License-Identifier: Apache-2.0
"""Training and evaluation on images larger than the canvas, from a list."""

import json
import math
import types

import numpy as np
import pytest

from deeplab2_like import errors
from deeplab2_like.data.large import examples, lists
from deeplab2_like.labels import descriptor as descriptor_lib
from deeplab2_like.large_images.result import LargeResult, Segments
from deeplab2_like.metrics import overlaps
from deeplab2_like.scenes import scene
from deeplab2_like.trainer import large_evaluation, run_options, runs
from deeplab2_like.trainer import scores as scores_lib

tifffile = pytest.importorskip(
    "tifffile", reason="tifffile is not installed (extra large_images)"
)


@pytest.fixture
def large_lists(tmp_path):
    """Writes drawn scenes as tiled TIFF files; returns a list of them."""
    entries = []
    for number in range(2):
        drawn = scene.make_scene(number, (150, 210))
        for name, values, options in (
            ("image", drawn.image, {"photometric": "rgb"}),
            ("labels", drawn.panoptic.astype(np.uint32), {}),
        ):
            tifffile.imwrite(
                tmp_path / f"{number}.{name}.tif",
                values,
                tile=(64, 64),
                **options,
            )
        entries.append(
            {"image": f"{number}.image.tif", "labels": f"{number}.labels.tif"}
        )
    path = tmp_path / "scenes.large.json"
    path.write_text(json.dumps({"images": entries}))
    return path


@pytest.fixture
def large_config(config_file, large_lists, monkeypatch):
    """The small config on large images."""
    monkeypatch.setenv("TRAIN_SET", str(large_lists))
    monkeypatch.setenv("VAL_SET", str(large_lists))
    text = config_file.read_text()
    # Tiles are square.
    head, _, tail = text.rpartition("crop_size: [65, 129]")
    config_file.write_text(f"{head}crop_size: [65, 65]{tail}")
    return config_file


@pytest.mark.slow
def test_a_run_trains_and_evaluates_on_large_images(large_config, tmp_path):
    model_dir = tmp_path / "run"
    runs.train(large_config, model_dir, evaluate=True)
    written = json.loads((model_dir / "eval" / "metrics.json").read_text())
    assert written["num_images"] == 2
    assert written["file_pattern"] == [str(tmp_path / "scenes.large.json")]
    summaries = written["summaries"]
    assert 0 <= summaries["evaluation/pq/PQ"] <= 1
    assert 0 <= summaries["evaluation/iou/IoU"] <= 1
    assert not any("AP_Mask" in name for name in summaries)
    assert not list((model_dir / "eval").glob(".large-*"))
    # The same numbers by deeplab2-evaluate.
    runs.evaluate(model_dir)
    again = json.loads((model_dir / "eval" / "metrics.json").read_text())
    assert again["summaries"] == summaries


@pytest.mark.parametrize("mode", ["tune", "report"])
def test_tuning_and_reports_of_large_images_are_refused(
    large_config, tmp_path, mode
):
    options = run_options.RunOptions(report=mode == "report")
    run = runs.tune if mode == "tune" else runs.evaluate
    with pytest.raises(errors.ConfigError, match=f"--{mode} needs records"):
        run(tmp_path / "run", large_config, options=options)


class _Map:
    def __init__(self, ids_hw):
        self._ids_hw = ids_hw
        self.height, self.width = ids_hw.shape

    def read(self, top, bottom):
        return self._ids_hw[top:bottom]


def test_bands_are_compared_as_whole_maps(tmp_path, monkeypatch):
    dataset = descriptor_lib.make(["road", "sky"], ["car", "bus"])
    random = np.random.default_rng(0)
    blocks = random.integers(0, 12, (13, 17))
    ids = np.kron(blocks, np.ones((7, 7), int))
    # 0 void, 1 and 2 stuff, others things; shifted predictions.
    classes = np.array([255, 0, 1, *[2] * 5, *[3] * 4])
    true = classes * 1000 + np.where(np.arange(12) > 2, np.arange(12), 0)
    predicted_ids = np.roll(ids, 2, axis=1)
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((*ids.shape, 3), np.uint8))
    tifffile.imwrite(tmp_path / "b.tif", true[ids].astype(np.uint32))
    numbers = np.arange(1, 12, dtype=np.uint32)
    segments = Segments(
        id=numbers,
        category=classes[1:].astype(np.int32),
        is_thing=numbers > 2,
        area=np.ones(11, np.int64),
        bbox=np.zeros((11, 4), np.int64),
        score=np.ones(11, np.float32),
    )
    result = LargeResult(_Map(predicted_ids.astype(np.uint32)), segments)
    entry = lists.LargeEntry(str(tmp_path / "a.tif"), str(tmp_path / "b.tif"))
    monkeypatch.setattr(large_evaluation, "_BAND_PIXELS", 5 * ids.shape[1])
    example = examples.LargeExample(entry, dataset)
    found = large_evaluation.compare(example, result)
    wide = examples.WIDE_DIVISOR
    table = classes * wide + np.where(np.arange(12) > 2, np.arange(12), 0)
    expected = overlaps.compute_overlaps(table[ids], table[predicted_ids])
    for name in ("true_ids", "predicted_ids", "areas"):
        np.testing.assert_array_equal(
            getattr(found, name), getattr(expected, name)
        )
    # The scores are those of whole maps in memory.
    system = types.SimpleNamespace(descriptor=dataset, has_instances=True)
    scores = scores_lib.Scores(system, label_divisor=wide)
    entry = scores.update_overlaps("a", found)
    from deeplab2_like.metrics import mean_iou, panoptic_quality

    quality = panoptic_quality.PanopticQuality(dataset)
    quality.update(true[ids], true[predicted_ids])
    assert entry["PQ"] == pytest.approx(quality.result().all.pq)
    iou = mean_iou.MeanIoU(dataset)
    iou.update(classes[ids], classes[predicted_ids])
    assert entry["mIoU"] == pytest.approx(iou.result().miou)
    results = scores.results()
    assert "average_precision" not in results
    assert not any("AP" in one for one in results["classes"].values())
    assert not math.isnan(results["summaries"]["evaluation/pq/PQ"])
