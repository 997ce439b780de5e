# SPDX-License-Identifier: Apache-2.0
"""Objects that keep their ids through videos and folders of images."""

import dataclasses
import json
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from deeplab2_like import errors, predict
from deeplab2_like.labels import coco_format, masks

pytest.importorskip("scipy", reason="SciPy is not installed (extra tracking)")

_LINK = predict.PredictOptions(link=True)


def _check(out, names, tracks_file):
    """Checks that each object has one id, in the PNGs and in the tracks."""
    places = {"right": (9, 4, 1), "left": (30, 4, -1)}
    maps = [coco_format.load_segment_ids(out / name) for name in names]
    content = json.loads((out / tracks_file).read_text())
    (video,) = content["videos"]
    assert video["length"] == len(names) == len(video["frames"])
    for y, _, _ in places.values():
        found = {tuple(np.unique(ids[y])) for ids in maps}
        assert len(found) == 1
    seen = {
        int(ids[20, 32]) for time, ids in enumerate(maps) if time not in (3, 4)
    }
    assert len(seen) == 1
    assert len(content["annotations"]) == 4
    for annotation in content["annotations"]:
        lists = ("bboxes", "areas", "scores", "segmentations")
        for frame, box, area, score, runs in zip(
            annotation["frames"], *map(annotation.get, lists), strict=True
        ):
            counts = masks.read_compressed_counts(runs["counts"])
            mask = masks.fill_runs(counts, runs["size"])
            place = [f["frame"] for f in video["frames"]].index(frame)
            expected = maps[place] == annotation["id"]
            size = expected.shape
            np.testing.assert_array_equal(mask.to_array(size), expected)
            assert area == expected.sum()
            assert box[:2] == [mask.left, mask.top]
            assert score == 0.5
    return content


@pytest.mark.usefixtures("tracker")
def test_images_of_a_folder_are_linked_in_natural_order(clips, tmp_path):
    folder = clips.write_folder(tmp_path / "clip", range(8, 11))
    for time in range(8):  # frame10 is the last, not the third.
        clips.write_folder(folder, [time])
    out = tmp_path / "out"
    result = predict.predict_files("model", [folder], out, options=_LINK)
    assert (result.tracks, result.videos) == (["tracks.json"], [])
    content = _check(
        out, [f"frame{t}.panoptic.png" for t in range(11)], "tracks.json"
    )
    assert content["videos"][0]["name"] == "clip"
    names = [frame["file_name"] for frame in content["videos"][0]["frames"]]
    assert names == [f"frame{time}.bmp" for time in range(11)]
    listed = json.loads((out / "panoptic.json").read_text())
    assert [i["file_name"] for i in listed["images"]] == names
    assert (out / "frame3.overlay.png").exists()


@pytest.mark.usefixtures("tracker")
def test_each_folder_is_a_sequence_of_its_own(clips, tmp_path):
    clips.write_folder(tmp_path / "data/a", range(3))
    clips.write_folder(tmp_path / "data/b", range(3, 6))
    out = tmp_path / "out"
    result = predict.predict_files(
        "model", [tmp_path / "data"], out, options=_LINK
    )
    assert result.tracks == ["a.tracks.json", "b.tracks.json"]
    for name, count in (("a", 4), ("b", 4)):
        content = json.loads((out / f"{name}.tracks.json").read_text())
        ids = [annotation["id"] for annotation in content["annotations"]]
        assert ids == list(range(1, count + 1))


@pytest.mark.usefixtures("tracker")
def test_images_of_two_folders_are_not_linked(clips, tmp_path):
    folders = [
        clips.write_folder(tmp_path / "frankfurt", range(3), "frankfurt{}.bmp"),
        clips.write_folder(tmp_path / "munster", range(2), "munster{}.bmp"),
    ]
    out = tmp_path / "out"
    result = predict.predict_files("model", folders, out, options=_LINK)
    assert result.tracks == ["frankfurt.tracks.json", "munster.tracks.json"]
    for name, count in (("frankfurt", 3), ("munster", 2)):
        (video,) = json.loads((out / f"{name}.tracks.json").read_text())[
            "videos"
        ]
        assert (video["name"], video["length"]) == (name, count)


@pytest.mark.usefixtures("tracker")
def test_frames_of_a_video_are_linked(clips, tmp_path):
    path = clips.write_video(tmp_path / "clip.mp4", range(11))
    out = tmp_path / "out"
    result = predict.predict_files("model", [path], out, options=_LINK)
    assert result.tracks == ["clip.tracks.json"]
    assert result.videos == ["clip.overlay.mp4"]
    content = _check(
        out,
        [f"clip/{t:06d}.panoptic.png" for t in range(11)],
        "clip.tracks.json",
    )
    frame = content["videos"][0]["frames"][5]
    assert (frame["frame"], frame["seconds"]) == (5, 0.2)
    again = predict.predict_files("model", [path], out, options=_LINK)
    assert (again.tracks, again.num_kept) == (result.tracks, 11)


@pytest.mark.usefixtures("tracker")
def test_label_maps_number_the_tracks_of_each_class(clips, tmp_path):
    folder = clips.write_folder(tmp_path / "clip", range(6))
    out = tmp_path / "out"
    options = dataclasses.replace(
        _LINK, raw_panoptic_format="three_channel_png"
    )
    predict.predict_files("model", [folder], out, options=options)
    found = set()
    for time in range(6):
        values = np.asarray(
            Image.open(out / f"raw_panoptic/frame{time}.png")
        ).astype(int)
        found.add((values[9, 4 + 4 * time, 0], values[9, 4 + 4 * time, 2]))
        semantic = Image.open(out / f"raw_semantic/frame{time}.png")
        np.testing.assert_array_equal(semantic, values[..., 0])
    assert found == {(6, 1)}  # The category id of cars.


def test_more_tracks_than_label_maps_number_are_one_sentence(
    clips, tracker, tmp_path
):
    tracker.descriptor = dataclasses.replace(
        tracker.descriptor, label_divisor=4
    )
    folder = clips.write_folder(tmp_path / "clip", range(3))
    pixels = np.full((*clips.SIZE, 3), 30, np.uint8)
    pixels[:2, 58:] = 200  # A fourth object.
    Image.fromarray(pixels).save(folder / "frame3.bmp")
    out = tmp_path / "out"
    options = dataclasses.replace(
        _LINK, raw_panoptic_format="three_channel_png"
    )
    with pytest.raises(errors.DataError, match="number up to 3 objects"):
        predict.predict_files("model", [folder], out, options=options)
    assert json.loads((out / "panoptic.json").read_text())["images"]
    assert not (out / "failures.json").exists()
    predict.predict_files("model", [folder], tmp_path / "2", options=_LINK)


def test_without_scipy_the_program_says_what_to_install(clips, tmp_path):
    code = (
        "import sys\n"
        "sys.modules['scipy'] = None\n"
        "from deeplab2_like import errors, predict\n"
        "try:\n"
        "    predict.predict_files('m', [sys.argv[1]], sys.argv[2],\n"
        "        options=predict.PredictOptions(link=True))\n"
        "except errors.InstallError as error:\n"
        "    print(error)\n"
    )
    folder = clips.write_folder(tmp_path / "clip", range(1))
    done = subprocess.run(
        [sys.executable, "-c", code, folder, tmp_path / "out"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "pip install 'deeplab2-like[tracking]'" in done.stdout
    assert not (tmp_path / "out").exists()
