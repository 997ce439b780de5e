# SPDX-License-Identifier: Apache-2.0
import json

import numpy as np
import pytest

from deeplab2_like.labels import descriptor as descriptor_lib
from deeplab2_like.labels import masks
from deeplab2_like.results import tracks_json
from deeplab2_like.results.panoptic_result import PanopticResult


@pytest.fixture(name="dataset")
def _dataset():
    return descriptor_lib.make(["sky"], ["car"], name="two")


def _make_frame(dataset, time):
    panoptic = np.zeros((6, 9), np.int32)
    panoptic[2:5, time : time + 3] = 1001
    if time == 1:
        panoptic[0, 0] = 1002
    return PanopticResult.from_label(panoptic, dataset)


def _write(path, dataset, frames=4):
    with tracks_json.TracksWriter(path, dataset, "clip.mp4") as writer:
        for time in range(frames):
            facts = {"file_name": f"{time}.png"}
            writer.add(10 * time, facts, _make_frame(dataset, time))


def test_a_track_has_an_entry_for_each_of_its_frames(dataset, tmp_path):
    _write(tmp_path / "a.tracks.json", dataset)
    content = json.loads((tmp_path / "a.tracks.json").read_text())
    (video,) = content["videos"]
    assert (video["name"], video["length"]) == ("clip.mp4", 4)
    assert video["frames"][2] == {
        "frame": 20,
        "file_name": "2.png",
        "height": 6,
        "width": 9,
    }
    assert [c["name"] for c in content["categories"]] == ["sky", "car"]
    sky, car, other = content["annotations"]
    assert (sky["isthing"], car["isthing"]) == (0, 1)
    assert car["frames"] == [0, 10, 20, 30]
    assert (other["frames"], other["areas"]) == ([10], [1])
    for time, (box, area, runs) in enumerate(
        zip(car["bboxes"], car["areas"], car["segmentations"], strict=True)
    ):
        assert (box, area) == ([time, 2, 3, 3], 9)
        counts = masks.read_compressed_counts(runs["counts"])
        mask = masks.fill_runs(counts, runs["size"]).to_array((6, 9))
        np.testing.assert_array_equal(mask, _make_frame(dataset, time).mask(2))


def test_without_frames_the_lists_are_empty(dataset, tmp_path):
    _write(tmp_path / "a.json", dataset, 0)
    content = json.loads((tmp_path / "a.json").read_text())
    assert content["annotations"] == content["videos"][0]["frames"] == []


def test_an_error_leaves_no_file(dataset, tmp_path):
    def fail():
        path = tmp_path / "a.json"
        with tracks_json.TracksWriter(path, dataset, "a") as writer:
            writer.add(0, {}, _make_frame(dataset, 0))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert not list(tmp_path.iterdir())
