# SPDX-License-Identifier: Apache-2.0
"""Tracks of others, of other rules and of other sources are not replaced."""

import dataclasses
import json

import pytest

from deeplab2_like import errors, predict

pytest.importorskip("scipy", reason="SciPy is not installed (extra tracking)")

_LINK = predict.PredictOptions(link=True)


@pytest.mark.parametrize("name", ["frame2.overlay.png", "b.tracks.json"])
def test_what_must_not_be_replaced_is_found_before_the_first_frame(
    clips, tracker, tmp_path, name
):
    clips.write_folder(tmp_path / "data/a", range(3), "frame{}.bmp")
    clips.write_folder(tmp_path / "data/b", range(3), "frame{}.bmp")
    out = tmp_path / "out"
    other = out / (name if name.startswith("b.") else f"b/{name}")
    other.parent.mkdir(parents=True)
    other.write_text("somebody's")
    with pytest.raises(errors.DataError, match="exists, and"):
        predict.predict_files("model", [tmp_path / "data"], out, options=_LINK)
    assert tracker.calls == 0
    assert other.read_text() == "somebody's"


@pytest.mark.usefixtures("tracker")
def test_results_with_other_rules_are_refused(clips, tmp_path):
    folder = clips.write_folder(tmp_path / "clip", range(2))
    out = tmp_path / "out"
    predict.predict_files("model", [folder], out, options=_LINK)
    other = dataclasses.replace(_LINK, max_gap=5)
    with pytest.raises(errors.DataError, match="--max_gap=2, and now it is 5"):
        predict.predict_files("model", [folder], out, options=other)
    with pytest.raises(errors.DataError, match="of --link=True, and now"):
        predict.predict_files("model", [folder], out)


@pytest.mark.usefixtures("tracker")
def test_tracks_of_others_are_never_replaced(clips, tmp_path):
    folder = clips.write_folder(tmp_path / "clip", range(2))
    other = tmp_path / "out/tracks.json"
    other.parent.mkdir()
    other.write_text("somebody's")
    with pytest.raises(errors.DataError, match=r"tracks\.json exists"):
        predict.predict_files("model", [folder], other.parent, options=_LINK)
    assert other.read_text() == "somebody's"


@pytest.mark.usefixtures("tracker")
def test_a_folder_and_a_video_of_one_name_have_tracks_of_their_own(
    clips, tmp_path
):
    clips.write_folder(tmp_path / "data/clip", range(3))
    video = clips.write_video(tmp_path / "clip.mp4", range(2))
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
def test_tracks_of_another_source_are_never_replaced(
    clips, tmp_path, is_video_first
):
    clips.write_folder(tmp_path / "data/clip", range(3))
    video = clips.write_video(tmp_path / "clip.mp4", range(2))
    inputs = [tmp_path / "data", video]
    first, second = inputs[::-1] if is_video_first else inputs
    out = tmp_path / "out"
    predict.predict_files("model", [first], out, options=_LINK)
    before = (out / "clip.tracks.json").read_bytes()
    with pytest.raises(errors.DataError, match=r"'clip\.tracks\.json' in"):
        predict.predict_files("model", [second], out, options=_LINK)
    assert (out / "clip.tracks.json").read_bytes() == before
    predict.predict_files("model", [first], out, options=_LINK)
