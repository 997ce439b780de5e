# SPDX-License-Identifier: Apache-2.0
"""Linked frames that were interrupted, damaged or changed in the meantime."""

import os

import numpy as np
import pytest
from PIL import Image

from deeplab2_like import predict
from deeplab2_like.predict import journal

pytest.importorskip("scipy", reason="SciPy is not installed (extra tracking)")

_LINK = predict.PredictOptions(link=True)


@pytest.mark.parametrize("is_video", [True, False])
def test_an_interrupted_sequence_goes_on_where_it_was(
    clips, tracker, tmp_path, is_video
):
    if is_video:
        path = clips.write_video(tmp_path / "clip.mp4", range(10))
    else:
        path = clips.write_folder(tmp_path / "clip", range(10))
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
def test_a_frame_that_changes_changes_the_ids_behind_it(clips, tmp_path):
    folder = clips.write_folder(tmp_path / "clip", range(6))
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
    clips, tmp_path, monkeypatch
):
    folder = clips.write_folder(tmp_path / "clip", range(1, 6))
    first = folder / "frame0.bmp"
    first.write_bytes(b"no image")
    out = tmp_path / "out"
    predict.predict_files("model", [folder], out, options=_LINK)
    # Two objects that are seen no more take ids of those that follow.
    Image.fromarray(np.flipud(clips.draw(0))).save(first)
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
    clips,
    tmp_path,
):
    folder = clips.write_folder(tmp_path / "clip", range(1, 6))
    first = folder / "frame0.bmp"
    first.write_bytes(b"no image")
    out = tmp_path / "out"
    predict.predict_files("model", [folder], out, options=_LINK)
    Image.fromarray(np.flipud(clips.draw(0))).save(first)
    damaged = folder / "frame3.bmp"
    found = damaged.stat()
    damaged.write_bytes(bytes(found.st_size))
    os.utime(damaged, ns=(found.st_atime_ns, found.st_mtime_ns))
    result = predict.predict_files("model", [folder], out, options=_LINK)
    (problem,) = result.problems
    assert "frame3.bmp" in problem
    assert result.num_images == 5
