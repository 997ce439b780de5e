# SPDX-License-Identifier: Apache-2.0
"""Training and evaluation on images larger than the canvas, from a list."""

import contextlib
import json
import math
import pathlib
import types

import numpy as np
import pytest
import rich.console

from deeplab2_like import errors
from deeplab2_like.console import progress
from deeplab2_like.data.large import examples, lists
from deeplab2_like.labels import descriptor as descriptor_lib
from deeplab2_like.large_images import live, predicting, work_folder
from deeplab2_like.large_images.result import LargeResult, Segments
from deeplab2_like.metrics import overlaps
from deeplab2_like.scenes import scene
from deeplab2_like.storage import file_locks
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


class _Killed(BaseException):
    """Nobody catches it, as nobody catches a kill."""


@pytest.fixture
def make_evaluator(tmp_path, monkeypatch):
    """Returns a function that makes evaluators of a model that knows all.

    Their `predictions` are the work folders, and are called where a tile would
    be predicted.
    """
    dataset = descriptor_lib.make(["road", "sky"], ["car"])
    blocks = np.random.default_rng(0).integers(0, 3, (6, 4))
    classes = np.kron(blocks, np.ones((16, 16), int))
    panoptic = (classes * 1000 + (classes == 2)).astype(np.uint32)
    entries = []
    for number in range(2):
        names = [str(tmp_path / f"{number}.{n}.tif") for n in ("image", "true")]
        pixels = np.full((96, 64, 3), number, np.uint8)
        tifffile.imwrite(names[0], pixels, photometric="rgb")
        tifffile.imwrite(names[1], panoptic, tile=(32, 32), compression="zlib")
        entries.append(lists.LargeEntry(*names))
    segments = Segments(
        id=np.arange(1, 4, dtype=np.uint32),
        category=np.arange(3, dtype=np.int32),
        is_thing=np.arange(3) == 2,
        area=np.ones(3, np.int64),
        bbox=np.zeros((3, 4), np.int64),
        score=np.ones(3, np.float32),
    )

    def make(folder, *, weights="one", rules="", visit=lambda _: None):
        def make_model(_system, _model, _preprocessing, facts):
            return types.SimpleNamespace(fingerprint=f"{weights}{facts}")

        def predict(_model, _image, _options, work, _report):
            plan = {"format": 1, "version": "1", "model": "", "image": ""}
            opened = work_folder.WorkFolder(work, plan)
            visit(pathlib.Path(work))
            assert opened.has("plan.json")
            return LargeResult(_Map((classes + 1).astype(np.uint32)), segments)

        said = []
        evaluator = large_evaluation.LargeEvaluator(
            types.SimpleNamespace(descriptor=dataset, has_instances=True),
            None,
            types.SimpleNamespace(crop_size=(33, 33)),
            large_evaluation.LargeImages(entries, str(folder), rules),
            write_results=lambda _: None,
            pq_variant="panopticapi",
            report=progress.Progress(rich.console.Console(quiet=True)),
        )
        monkeypatch.setattr(evaluator._progress, "log", said.append)

        def evaluate():
            with monkeypatch.context() as patch:
                patch.setattr(live, "make_tile_model", make_model)
                patch.setattr(predicting, "predict_large", predict)
                return evaluator.evaluate(np.int64(-1))

        return evaluate, said

    return make


def test_work_files_of_an_address_lie_on_this_machine(
    make_evaluator, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    before = set(tmp_path.iterdir())
    works = []
    evaluate, _ = make_evaluator("ram://bucket/run/eval", visit=works.append)
    assert evaluate()["evaluation/pq/PQ"] == 1
    assert len({*works}) == 2
    assert not any(work.exists() for work in works)
    assert set(tmp_path.iterdir()) == before


@pytest.mark.parametrize("other", [{}, {"weights": "two"}, {"rules": "two"}])
def test_two_evaluations_at_once_do_not_touch_each_other(
    make_evaluator, tmp_path, other
):
    folder = tmp_path / "eval"
    works, others = [], []

    def start_another(work):
        works.append(work)
        if len(works) == 1:
            # Locks are those of a process.
            with (work / ".work.lock").open() as file, forget_locks():
                assert not file_locks.take(file)
                assert second()["evaluation/pq/PQ"] == 1
            assert (work / "plan.json").exists()

    second, _ = make_evaluator(folder, visit=others.append, **other)
    first, _ = make_evaluator(folder, visit=start_another)
    assert first()["evaluation/pq/PQ"] == 1
    assert works[0] not in others
    assert not list(folder.iterdir())


@contextlib.contextmanager
def forget_locks():
    """Lets this process be another program."""
    held = [*file_locks._HELD]
    file_locks._HELD.clear()
    yield
    file_locks._HELD.update(held)


def test_a_killed_evaluation_goes_on_unless_weights_or_rules_changed(
    make_evaluator, tmp_path
):
    folder = tmp_path / "eval"
    works = []

    def kill(work):
        works.append(work)
        (work / "tiles" / "done").touch()
        raise _Killed

    def look(work):
        works.append(work)
        found.append((work / "tiles" / "done").exists())

    for change, expected in (
        ({}, True),
        ({"weights": "two"}, False),
        ({"rules": "two"}, False),
    ):
        found = []
        evaluate, _ = make_evaluator(folder, visit=kill)
        with pytest.raises(_Killed):
            evaluate()
        evaluate, _ = make_evaluator(folder, visit=look, **change)
        evaluate()
        assert found == [expected, False]
        assert not list(folder.iterdir())


def test_damaged_labels_are_named(make_evaluator, tmp_path):
    path = tmp_path / "1.true.tif"
    evaluate, said = make_evaluator(tmp_path / "eval")
    whole = evaluate()
    said.clear()
    with tifffile.TiffFile(path) as file:
        start = file.pages[0].dataoffsets[0]
    data = bytearray(path.read_bytes())
    data[start : start + 8] = b"\xff" * 8
    path.write_bytes(data)
    assert evaluate() == whole  # These pixels do not count.
    (line,) = (line for line in said if path.name in line)
    assert f"{path}, rows 0 to 31, columns 0 to 31" in line
    assert line.endswith("Its pixels are void.")


def test_labels_that_cannot_be_used_are_found_at_the_start(
    make_evaluator, tmp_path
):
    make_evaluator(tmp_path / "eval")
    path = tmp_path / "1.true.tif"
    path.write_bytes(path.read_bytes()[:100])
    evaluate = large_evaluation.LargeEvaluator
    entry = lists.LargeEntry(str(tmp_path / "1.image.tif"), str(path))
    with pytest.raises(errors.DataError, match=r"1\.true\.tif cannot be read"):
        evaluate(
            types.SimpleNamespace(descriptor=descriptor_lib.make(["a"], ["b"])),
            None,
            None,
            large_evaluation.LargeImages([entry], ""),
            write_results=lambda _: None,
            pq_variant="panopticapi",
            report=progress.Progress(rich.console.Console(quiet=True)),
        )


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
