# SPDX-License-Identifier: Apache-2.0
"""Objects that keep their ids through videos and folders of images."""

import dataclasses
import fractions
import json
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from deeplab2_like import errors, predict
from deeplab2_like.labels import coco_format, masks
from deeplab2_like.predict import image_sequences, journal
from deeplab2_like.storage import image_files

pytest.importorskip("scipy", reason="SciPy is not installed (extra tracking)")

_LINK = predict.PredictOptions(link=True)
_SIZE = (40, 60)


@pytest.fixture(name="tracker")
def _tracker(fake, monkeypatch):
    """A model that finds an object in each colour; its numbers change."""
    colors = {200: 1, 150: 2, 100: 3}
    predict_bright = fake.predict_maps

    def predict_maps(image):
        maps = predict_bright(image)
        gray = np.asarray(image)[..., 1]
        divisor = fake.descriptor.label_divisor
        panoptic = np.zeros(gray.shape, np.int32)
        ids = [0]
        for value, number in colors.items():
            # Another number in each frame.
            label = 5 * divisor + 1 + (number + fake.calls) % 3
            is_object = np.abs(gray.astype(int) - value) < 20
            if is_object.any():
                panoptic[is_object] = label
                ids.append(label)
        ids = np.array(ids, np.int32)
        return {
            **maps,
            "semantic": panoptic // divisor,
            "panoptic": panoptic,
            "segment_id": ids,
            "segment_category": ids // divisor,
            "segment_score": np.full(len(ids), 0.5, np.float32),
            "segment_area": np.ones(len(ids), np.int32),
            "segment_is_valid": np.ones(len(ids), bool),
        }

    monkeypatch.setattr(fake, "predict_maps", predict_maps)
    return fake


def _draw(time):
    """Two boxes that move; a third is missing in the frames 3 and 4."""
    pixels = np.full((*_SIZE, 3), 30, np.uint8)
    pixels[4:14, 2 + 4 * time : 14 + 4 * time] = 200
    pixels[25:35, 46 - 4 * time : 58 - 4 * time] = 150
    if time not in (3, 4):
        pixels[17:23, 25:40] = 100
    return pixels


def _write_folder(folder, times, name="frame{}.bmp"):
    folder.mkdir(parents=True, exist_ok=True)
    for time in times:
        Image.fromarray(_draw(time)).save(folder / name.format(time))
    return folder


def _write_video(path, times):
    av = pytest.importorskip("av", reason="PyAV is not installed")
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"crf": "1"})
        stream.height, stream.width = _SIZE
        stream.pix_fmt = "yuv444p"
        stream.codec_context.time_base = fractions.Fraction(1, 1000)
        for number, time in enumerate(times):
            frame = av.VideoFrame.from_ndarray(_draw(time), "rgb24")
            frame.pts = 40 * number
            frame.time_base = fractions.Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


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
            np.testing.assert_array_equal(mask.to_array(_SIZE), expected)
            assert area == expected.sum()
            assert box[:2] == [mask.left, mask.top]
            assert score == 0.5
    return content


@pytest.mark.usefixtures("tracker")
def test_images_of_a_folder_are_linked_in_natural_order(tmp_path):
    folder = _write_folder(tmp_path / "clip", range(8, 11))
    for time in range(8):  # frame10 is the last, not the third.
        _write_folder(folder, [time])
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
def test_each_folder_is_a_sequence_of_its_own(tmp_path):
    _write_folder(tmp_path / "data/a", range(3))
    _write_folder(tmp_path / "data/b", range(3, 6))
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
def test_frames_of_a_video_are_linked(tmp_path):
    path = _write_video(tmp_path / "clip.mp4", range(11))
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


@pytest.mark.parametrize("is_video", [True, False])
def test_an_interrupted_sequence_goes_on_where_it_was(
    tracker, tmp_path, is_video
):
    if is_video:
        path = _write_video(tmp_path / "clip.mp4", range(10))
    else:
        path = _write_folder(tmp_path / "clip", range(10))
    predict.predict_files("model", [path], tmp_path / "1", options=_LINK)
    tracker.stop_at = 16
    out = tmp_path / "2"
    with pytest.raises(KeyboardInterrupt):
        predict.predict_files("model", [path], out, options=_LINK)
    assert not list(out.glob("*tracks.json*"))
    tracker.calls, tracker.stop_at = 5, None
    predict.predict_files("model", [path], out, options=_LINK)
    assert tracker.calls == 10
    names = [
        sorted(p.relative_to(f).as_posix() for p in f.rglob("*"))
        for f in (tmp_path / "1", out)
    ]
    assert names[0] == names[1]
    for name in names[0]:
        if name != "progress.jsonl" and (out / name).is_file():
            assert (out / name).read_bytes() == (
                tmp_path / "1" / name
            ).read_bytes(), name


@pytest.mark.usefixtures("tracker")
def test_a_frame_that_changes_changes_the_ids_behind_it(tmp_path):
    folder = _write_folder(tmp_path / "clip", range(6))
    bad = folder / "frame0.bmp"
    good = bad.read_bytes()
    bad.write_bytes(b"no image")
    out = tmp_path / "out"
    result = predict.predict_files("model", [folder], out, options=_LINK)
    assert len(result.problems) == 1
    bad.write_bytes(good)
    predict.predict_files("model", [folder], out, options=_LINK)
    fresh = tmp_path / "fresh"
    predict.predict_files("model", [folder], fresh, options=_LINK)
    for time in range(6):
        name = f"frame{time}.panoptic.png"
        assert (out / name).read_bytes() == (fresh / name).read_bytes()
    assert (out / "tracks.json").read_bytes() == (
        fresh / "tracks.json"
    ).read_bytes()


@pytest.mark.usefixtures("tracker")
def test_a_kill_while_a_frame_is_written_again_loses_nothing(
    tmp_path, monkeypatch
):
    folder = _write_folder(tmp_path / "clip", range(1, 6))
    first = folder / "frame0.bmp"
    first.write_bytes(b"no image")
    out = tmp_path / "out"
    predict.predict_files("model", [folder], out, options=_LINK)
    # Two objects that are seen no more take ids of those that follow.
    Image.fromarray(np.flipud(_draw(0))).save(first)
    complete = journal.Journal.complete

    def stop(self, name, *arguments):
        if name == "frame3":
            raise KeyboardInterrupt
        complete(self, name, *arguments)

    before = (out / "frame3.panoptic.png").read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(journal.Journal, "complete", stop)
        with pytest.raises(KeyboardInterrupt):
            predict.predict_files("model", [folder], out, options=_LINK)
    assert (out / "frame3.panoptic.png").read_bytes() != before
    predict.predict_files("model", [folder], out, options=_LINK)
    fresh = tmp_path / "fresh"
    predict.predict_files("model", [folder], fresh, options=_LINK)
    for path in fresh.iterdir():
        if path.name != journal.FILE:
            assert (out / path.name).read_bytes() == path.read_bytes()


@pytest.mark.usefixtures("tracker")
def test_a_stored_frame_that_is_damaged_now_does_not_stop_the_others(
    tmp_path,
):
    folder = _write_folder(tmp_path / "clip", range(1, 6))
    first = folder / "frame0.bmp"
    first.write_bytes(b"no image")
    out = tmp_path / "out"
    predict.predict_files("model", [folder], out, options=_LINK)
    Image.fromarray(np.flipud(_draw(0))).save(first)
    damaged = folder / "frame3.bmp"
    found = damaged.stat()
    damaged.write_bytes(bytes(found.st_size))
    os.utime(damaged, ns=(found.st_atime_ns, found.st_mtime_ns))
    result = predict.predict_files("model", [folder], out, options=_LINK)
    (problem,) = result.problems
    assert "frame3.bmp" in problem
    assert result.num_images == 5


@pytest.mark.usefixtures("tracker")
def test_label_maps_number_the_tracks_of_each_class(tmp_path):
    folder = _write_folder(tmp_path / "clip", range(6))
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


def test_more_tracks_than_label_maps_number_are_one_sentence(tracker, tmp_path):
    tracker.descriptor = dataclasses.replace(
        tracker.descriptor, label_divisor=4
    )
    folder = _write_folder(tmp_path / "clip", range(3))
    pixels = np.full((*_SIZE, 3), 30, np.uint8)
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


@pytest.mark.parametrize("name", ["frame2.overlay.png", "b.tracks.json"])
def test_what_must_not_be_replaced_is_found_before_the_first_frame(
    tracker, tmp_path, name
):
    _write_folder(tmp_path / "data/a", range(3), "frame{}.bmp")
    _write_folder(tmp_path / "data/b", range(3), "frame{}.bmp")
    out = tmp_path / "out"
    other = out / (name if name.startswith("b.") else f"b/{name}")
    other.parent.mkdir(parents=True)
    other.write_text("somebody's")
    with pytest.raises(errors.DataError, match="exists, and"):
        predict.predict_files("model", [tmp_path / "data"], out, options=_LINK)
    assert tracker.calls == 0
    assert other.read_text() == "somebody's"


@pytest.mark.usefixtures("tracker")
def test_results_with_other_rules_are_refused(tmp_path):
    folder = _write_folder(tmp_path / "clip", range(2))
    out = tmp_path / "out"
    predict.predict_files("model", [folder], out, options=_LINK)
    other = dataclasses.replace(_LINK, max_gap=5)
    with pytest.raises(errors.DataError, match="--max_gap=2, and now it is 5"):
        predict.predict_files("model", [folder], out, options=other)
    with pytest.raises(errors.DataError, match="of --link=True, and now"):
        predict.predict_files("model", [folder], out)


@pytest.mark.usefixtures("tracker")
def test_tracks_of_others_are_never_replaced(tmp_path):
    folder = _write_folder(tmp_path / "clip", range(2))
    other = tmp_path / "out/tracks.json"
    other.parent.mkdir()
    other.write_text("somebody's")
    with pytest.raises(errors.DataError, match=r"tracks\.json exists"):
        predict.predict_files("model", [folder], other.parent, options=_LINK)
    assert other.read_text() == "somebody's"


@pytest.mark.usefixtures("tracker")
def test_a_folder_and_a_video_of_one_name_have_tracks_of_their_own(tmp_path):
    _write_folder(tmp_path / "data/clip", range(3))
    video = _write_video(tmp_path / "clip.mp4", range(2))
    out = tmp_path / "out"
    result = predict.predict_files(
        "model", [tmp_path / "data", video], out, options=_LINK
    )
    assert result.problems == []
    assert result.tracks == ["clip-2.tracks.json", "clip.tracks.json"]
    for name, count in (("clip-2", 3), ("clip", 2)):
        content = json.loads((out / f"{name}.tracks.json").read_text())
        assert content["videos"][0]["length"] == count


@pytest.mark.usefixtures("tracker")
@pytest.mark.parametrize("is_video_first", [True, False])
def test_tracks_of_another_source_are_never_replaced(tmp_path, is_video_first):
    _write_folder(tmp_path / "data/clip", range(3))
    video = _write_video(tmp_path / "clip.mp4", range(2))
    inputs = [tmp_path / "data", video]
    first, second = inputs[::-1] if is_video_first else inputs
    out = tmp_path / "out"
    predict.predict_files("model", [first], out, options=_LINK)
    before = (out / "clip.tracks.json").read_bytes()
    with pytest.raises(errors.DataError, match=r"'clip\.tracks\.json' in"):
        predict.predict_files("model", [second], out, options=_LINK)
    assert (out / "clip.tracks.json").read_bytes() == before
    predict.predict_files("model", [first], out, options=_LINK)


def _group(names, taken=()):
    files = [
        image_files.ImageFile(pathlib.Path("/data", path), relative, relative)
        for path, relative in names.items()
    ]
    return [
        (g.name, g.title, [files[place].relative_path for place in g.places])
        for g in image_sequences.group(files, taken)
    ]


def test_files_are_grouped_by_their_folders():
    names = ["b/2", "b/10", "a", "b/02", "B/1", "10", "9"]
    assert _group({name: name for name in names}) == [
        ("", "data", ["9", "10", "a"]),
        ("B", "B", ["B/1"]),
        ("b-2", "b", ["b/02", "b/2", "b/10"]),
    ]


def test_folders_that_are_inputs_are_sequences_of_their_own():
    names = {"x/munster/1": "1", "x/frankfurt/2": "2", "frankfurt/3": "3"}
    assert _group(names) == [
        ("frankfurt", "frankfurt", ["3"]),
        ("frankfurt-2", "frankfurt", ["2"]),
        ("munster", "munster", ["1"]),
    ]
    assert _group({"clip.v1/1": "clip.v1/1"}, ["clip", "clip.v1"]) == [
        ("clip.v1-2", "clip.v1", ["clip.v1/1"])
    ]


@pytest.mark.usefixtures("tracker")
def test_images_of_two_folders_are_not_linked(tmp_path):
    folders = [
        _write_folder(tmp_path / "frankfurt", range(3), "frankfurt{}.bmp"),
        _write_folder(tmp_path / "munster", range(2), "munster{}.bmp"),
    ]
    out = tmp_path / "out"
    result = predict.predict_files("model", folders, out, options=_LINK)
    assert result.tracks == ["frankfurt.tracks.json", "munster.tracks.json"]
    for name, count in (("frankfurt", 3), ("munster", 2)):
        (video,) = json.loads((out / f"{name}.tracks.json").read_text())[
            "videos"
        ]
        assert (video["name"], video["length"]) == (name, count)


def test_without_scipy_the_program_says_what_to_install(tmp_path):
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
    folder = _write_folder(tmp_path / "clip", range(1))
    done = subprocess.run(
        [sys.executable, "-c", code, folder, tmp_path / "out"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "pip install 'deeplab2-like[tracking]'" in done.stdout
    assert not (tmp_path / "out").exists()
