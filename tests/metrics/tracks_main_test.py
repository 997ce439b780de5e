# SPDX-License-Identifier: Apache-2.0
"""The command deeplab2-evaluate-tracks."""

import itertools
import json
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from deeplab2_like import errors
from deeplab2_like.labels import coco_format
from deeplab2_like.labels import descriptor as descriptor_lib
from deeplab2_like.metrics import (
    track_frames,
    tracking_quality,
    volume_frames,
)
from deeplab2_like.results import raw_predictions

_CATEGORIES = [
    {"id": 7, "name": "car", "isthing": 1},
    {"id": 20, "name": "sky", "isthing": 0},
]


def _run(folder, *arguments):
    return subprocess.run(
        [
            sys.executable,
            "-m",
            "deeplab2_like.metrics.tracks_main",
            *arguments,
        ],
        cwd=folder,
        env={"PYTHONPATH": str(_find_root())},
        capture_output=True,
        text=True,
        check=False,
    )


def _find_root():
    import deeplab2_like

    return next(iter(deeplab2_like.__path__)).rsplit("/", 1)[0]


def _draw(time):
    """Sky and a car that moves; the ids of the sky do not matter."""
    ids = np.full((6, 20), 50 + time)
    ids[2:4, time : time + 5] = 3
    return ids


def _write(folder, kind, count=4, change=None):
    """Writes frames of two videos; from `change` on an id is another."""
    annotations = []
    for video in "ab":
        for time in range(count):
            ids = _draw(time)
            if change is not None and time >= change:
                ids[ids == 3] = 4
            name = f"{video}/{time}.png"
            path = folder / kind / name
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(coco_format.encode_ids(ids)).save(path)
            annotations.append(
                {
                    "image_id": f"{video}/{time}",
                    "file_name": name,
                    "segments_info": [
                        {
                            "id": int(i),
                            "category_id": 7 if i < 9 else 20,
                            "area": int((ids == i).sum()),
                        }
                        for i in np.unique(ids)
                    ],
                }
            )
    content = {"annotations": annotations, "categories": _CATEGORIES}
    (folder / f"{kind}.json").write_text(json.dumps(content))


def test_the_program_scores_videos_in_cocos_format(tmp_path):
    _write(tmp_path, "gt")
    _write(tmp_path, "pred", change=2)
    done = _run(
        tmp_path,
        "--gt_json=gt.json",
        "--pred_json=pred.json",
        "--windows=1,2",
        "--output_json=scores.json",
    )
    assert done.returncode == 0, done.stderr
    assert "8 frames, 2 true tracks" in done.stdout
    scores = json.loads((tmp_path / "scores.json").read_text())
    assert scores["AQ"] == pytest.approx(0.5)
    assert scores["SQ"] == 1.0
    assert scores["VPQ_1"] == 1.0
    assert scores["VPQ_2"] < 1.0
    # No half has an IoU above 0.5; the sky is right.
    assert scores["volume_PQ"] == pytest.approx(0.5)
    assert set(scores["tracking"]["per_sequence"]) == {"a", "b"}


def test_label_maps_of_kitti_step_are_scored(tmp_path):
    for kind in ("gt", "pred"):
        for time in range(3):
            pixels = np.zeros((6, 20, 3), np.uint8)
            pixels[2:4, time : time + 5] = (13, 2, 1)
            pixels[4:, :4] = 255 if kind == "gt" else 0
            if kind == "pred":
                pixels[pixels[..., 0] == 13] = (13, 0, 9)
            path = tmp_path / kind / f"0002/{time:06d}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(path)
    done = _run(
        tmp_path,
        "--gt_folder=gt",
        "--pred_folder=pred",
        "--dataset=kitti_step",
        "--output_json=scores.json",
    )
    assert done.returncode == 0, done.stderr
    scores = json.loads((tmp_path / "scores.json").read_text())
    assert (scores["STQ"], scores["VPQ_1"], scores["volume_PQ"]) == (1, 1, 1)


@pytest.mark.parametrize(
    "name", ["scenes", "cityscapes_panoptic", "coco_panoptic"]
)
def test_void_of_written_label_maps_is_void(tmp_path, name):
    dataset = descriptor_lib.load(name)
    thing = dataset.thing_ids[0]
    panoptic = np.full((6, 20), dataset.void_id)
    panoptic[2:4, 3:8] = thing * dataset.label_divisor + 2
    semantic = panoptic // dataset.label_divisor
    form = "three_channel_png"
    writer = raw_predictions.RawPredictionWriter(
        tmp_path, dataset, panoptic_format=form
    )
    writer.write("0002/000000", semantic, panoptic)
    folder = tmp_path / "raw_panoptic"
    frames = track_frames.LabelFrames(folder, folder, dataset, form=form)
    (frame,) = frames.read()
    divisor = frames.descriptor.label_divisor
    expected = semantic * divisor + 2 * (semantic == thing)
    np.testing.assert_array_equal(frame.predicted, expected)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ([], 2, "No ground truth is given"),
        (["--gt_json=gt.json"], 2, "--pred_json"),
        (["--gt_folder=none", "--pred_folder=p"], 2, "--dataset"),
        (
            ["--gt_folder=none", "--pred_folder=p", "--dataset=kitti_step"],
            3,
            "holds no .png",
        ),
        (["--gt_json=a", "--pred_json=b", "--windows=0"], 2, "--windows=0"),
    ],
)
def test_wrong_flags_are_one_sentence(tmp_path, arguments, code, message):
    done = _run(tmp_path, *arguments)
    assert done.returncode == code
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_frames_without_a_prediction_are_named(tmp_path):
    _write(tmp_path, "gt", 4)
    _write(tmp_path, "pred", 3)
    with pytest.raises(
        errors.DataError, match="no prediction of the image 'a/3"
    ):
        track_frames.CocoFrames(tmp_path / "gt.json", tmp_path / "pred.json")
    (tmp_path / "gt/a/3.png").unlink()
    with pytest.raises(errors.DataError, match=r"a/3\.png"):
        list(
            track_frames.CocoFrames(
                tmp_path / "gt.json", tmp_path / "gt.json"
            ).read()
        )


def test_frames_come_in_natural_order(tmp_path):
    _write(tmp_path, "gt", 12)
    frames = track_frames.CocoFrames(tmp_path / "gt.json", tmp_path / "gt.json")
    names = [frame.name for frame in frames.read()]
    assert names == [f"{v}/{t}.png" for v in "ab" for t in range(12)]


def test_frames_of_a_folder_come_one_after_the_other(tmp_path):
    names = ["A/1", "A/b/2", "A/c", "a/1", "a/2", "a!/1"]
    for name in names:
        path = tmp_path / f"gt/{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((2, 3, 3), 255, np.uint8)).save(path)
    (tmp_path / "gt.json").write_text(
        json.dumps(
            {
                "annotations": [
                    {
                        "image_id": name,
                        "file_name": f"{name}.png",
                        "segments_info": [
                            {"id": 2**24 - 1, "category_id": 20, "area": 6}
                        ],
                    }
                    for name in names
                ],
                "categories": _CATEGORIES,
            }
        )
    )
    for frames in (
        track_frames.CocoFrames(tmp_path / "gt.json", tmp_path / "gt.json"),
        track_frames.LabelFrames(
            tmp_path / "gt", tmp_path / "gt", descriptor_lib.load("scenes")
        ),
    ):
        found = [frame.sequence for frame in frames.read()]
        assert len(found) == len(names)
        runs = [name for name, _ in itertools.groupby(found)]
        assert len(runs) == len({*runs})


def _score(frames):
    quality = tracking_quality.TrackingQuality(frames.descriptor)
    for frame in frames.read():
        quality.update(frame.true, frame.predicted, frame.sequence, frame.name)
    return quality.result().all


def test_label_volumes_are_scored_with_and_without_classes(tmp_path):
    tifffile = pytest.importorskip("tifffile")
    truth = np.stack([_draw(0), _draw(1), _draw(2)]).astype(np.uint32)
    truth[truth >= 9] = 90
    predicted = np.where(truth == 3, 8, truth)
    for name, values in (("gt", truth), ("pred", predicted)):
        tifffile.imwrite(
            tmp_path / f"{name}.tif", values, photometric="minisblack"
        )
        labels = np.unique(values).tolist()
        content = {
            "categories": _CATEGORIES,
            "annotations": [
                {"id": i, "category_id": 7 if i < 9 else 20} for i in labels
            ],
        }
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
    paths = (tmp_path / "gt.tif", tmp_path / "pred.tif")
    found = _score(volume_frames.VolumeFrames(*paths))
    assert (found.stq, found.num_tracks) == (1.0, 2)
    found = _score(
        volume_frames.VolumeFrames(
            *paths,
            true_json=tmp_path / "gt.json",
            predicted_json=tmp_path / "pred.json",
        )
    )
    assert (found.stq, found.num_tracks) == (1.0, 1)
    with pytest.raises(errors.ConfigError, match="of both, or none"):
        volume_frames.VolumeFrames(*paths, true_json=tmp_path / "gt.json")
    with pytest.raises(errors.DataError, match="has the label 8, which"):
        list(
            volume_frames.VolumeFrames(
                *paths,
                true_json=tmp_path / "gt.json",
                predicted_json=tmp_path / "gt.json",
            ).read()
        )


@pytest.mark.parametrize(
    ("label", "dtype"), [(-3, np.int32), (1 << 32, np.uint64)]
)
def test_labels_that_are_no_numbers_of_tracks_are_named(tmp_path, label, dtype):
    tifffile = pytest.importorskip("tifffile")
    values = np.stack([_draw(0), _draw(1)]).astype(dtype)
    good, bad = tmp_path / "good.tif", tmp_path / "bad.tif"
    tifffile.imwrite(good, values, photometric="minisblack")
    values[1, 0, 0] = label
    tifffile.imwrite(bad, values, photometric="minisblack")
    frames = volume_frames.VolumeFrames(good, bad).read()
    next(frames)
    with pytest.raises(
        errors.DataError, match=rf"bad\.tif has the label {label}\."
    ):
        next(frames)
