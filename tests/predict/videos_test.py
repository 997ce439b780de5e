# SPDX-License-Identifier: Apache-2.0
"""Videos in, videos and files out."""

import errno
import fractions
import json
import pathlib
import struct
import subprocess
import sys

import numpy as np
import pytest

from deeplab2_like import errors, predict
from deeplab2_like.labels import coco_format
from deeplab2_like.visualize import visualizer

av = pytest.importorskip("av", reason="PyAV is not installed (extra video)")

_MS = fractions.Fraction(1, 1000)
_REGULAR = [40 * number for number in range(30)]
_SIZE = (48, 64)


def _draw(number):
    """Draws a frame: a bright box that moves on a dark background."""
    pixels = np.full((*_SIZE, 3), 30, np.uint8)
    x = number % 30
    pixels[10:30, x : x + 20] = 220
    pixels[:6, :6] = (30, 220, 30)
    return pixels


def _write(path, times=_REGULAR, *, turned=None, codec="libx264", **options):
    with av.open(str(path), "w", options=options) as container:
        stream = container.add_stream(codec, rate=25, options={"g": "10"})
        stream.height, stream.width = _SIZE
        stream.pix_fmt = "yuv420p"
        stream.codec_context.time_base = _MS
        for number, time in enumerate(times):
            frame = av.VideoFrame.from_ndarray(_draw(number), "rgb24")
            frame.pts, frame.time_base = time, _MS
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    if turned:
        _turn(path, turned)
    return path


def _turn(path, degrees):
    """Notes in an MP4 file by how much to turn it counterclockwise."""
    data = bytearray(path.read_bytes())
    place = data.index(b"tkhd") + 44
    matrix = {90: (0, -1, 1, 0), -90: (0, 1, -1, 0), 180: (-1, 0, 0, -1)}
    a, b, c, d = (number << 16 for number in matrix[degrees])
    struct.pack_into(">5i", data, place, a, b, 0, c, d)
    path.write_bytes(data)


def _read(path):
    """Returns the times in milliseconds and the pixels of all frames."""
    with av.open(str(path)) as container:
        frames = list(container.decode(video=0))
        stream = container.streams.video[0]
        assert len(container.streams) == 1
        assert stream.codec_context.name == "h264"
        duration = float(stream.duration * stream.time_base)
        times = [round(1000 * frame.time) for frame in frames]
        assert duration >= times[-1] / 1000
        return times, [f.to_ndarray(format="rgb24") for f in frames]


def _assert_alike(found, expected):
    difference = np.abs(found.astype(int) - expected)
    assert np.percentile(difference, 90) < 12


def test_a_video_becomes_a_video_of_the_same_size_and_times(fake, tmp_path):
    times = [0, 40, 100, 120, 500, 501, 900]
    path = _write(tmp_path / "clip.mp4", times)
    out = tmp_path / "out"
    result = predict.predict_files("model", [path], out)
    assert (result.videos, result.problems) == (["clip.overlay.mp4"], [])
    found_times, pictures = _read(out / "clip.overlay.mp4")
    assert found_times == times
    assert sorted(p.name for p in out.iterdir()) == [
        "clip.overlay.mp4",
        "progress.jsonl",
    ]
    for number, picture in enumerate(pictures):
        pixels = _draw(number)
        found = fake.predict(pixels)
        expected = visualizer.visualize(
            pixels, found, fake.descriptor, scale=1, legend=False
        )
        _assert_alike(picture, expected)


@pytest.mark.usefixtures("fake")
@pytest.mark.parametrize(
    ("turned", "quarters"), [(90, 1), (-90, -1), (180, 2), (None, 0)]
)
def test_turned_videos_are_predicted_upright(tmp_path, turned, quarters):
    path = _write(tmp_path / "clip.mp4", _REGULAR[:3], turned=turned)
    out = tmp_path / "out"
    options = predict.PredictOptions(frame_results=True)
    predict.predict_files("model", [path], out, options=options)
    for number in range(3):
        expected = np.rot90(_draw(number), quarters)[..., 1] > 127
        ids = coco_format.load_segment_ids(
            out / f"clip/{number:06d}.panoptic.png"
        )
        assert ids.shape == expected.shape
        is_bright = ids == ids[expected][0]
        assert np.mean(is_bright == expected) > 0.98
    _, pictures = _read(out / "clip.overlay.mp4")
    assert pictures[0].shape[:2] == expected.shape


@pytest.mark.usefixtures("fake")
def test_frames_can_be_results_of_their_own(tmp_path):
    path = _write(tmp_path / "clip.mp4")
    out = tmp_path / "out"
    options = predict.PredictOptions(
        frame_step=5, start_seconds=0.2, end_seconds=0.8, frame_results=True
    )
    result = predict.predict_files("model", [path], out, options=options)
    content = json.loads(result.json_path.read_text())
    assert [i["frame"] for i in content["images"]] == [5, 10, 15]
    assert content["images"][1] == {
        "id": "clip/000010",
        "file_name": "clip/000010.png",
        "height": 48,
        "width": 64,
        "video": "clip.mp4",
        "frame": 10,
        "seconds": 0.4,
    }
    for annotation in content["annotations"]:
        ids = coco_format.load_segment_ids(out / annotation["file_name"])
        areas = {i["id"]: i["area"] for i in annotation["segments_info"]}
        assert areas == {i: int(np.sum(ids == i)) for i in areas}
    assert _read(out / "clip.overlay.mp4")[0] == [0, 200, 400]
    again = predict.predict_files("model", [path], out, options=options)
    assert again.num_kept == again.num_images == 3
    assert json.loads(result.json_path.read_text()) == content


@pytest.mark.parametrize("frame_results", [True, False])
def test_an_interrupted_video_goes_on_where_it_was(
    fake, tmp_path, frame_results
):
    path = _write(tmp_path / "clip.mp4", _REGULAR[:12])
    options = predict.PredictOptions(frame_results=frame_results)
    predict.predict_files("model", [path], tmp_path / "1", options=options)
    fake.stop_at = 12 + 8
    out = tmp_path / "2"
    with pytest.raises(KeyboardInterrupt):
        predict.predict_files("model", [path], out, options=options)
    assert not (out / "clip.overlay.mp4").exists()
    predict.predict_files("model", [path], out, options=options)
    assert fake.calls == 12 + 8 + 5
    names = [
        sorted(p.relative_to(f).as_posix() for p in f.rglob("*"))
        for f in (tmp_path / "1", out)
    ]
    assert names[0] == names[1]
    for name in names[0]:
        if name != "progress.jsonl" and (out / name).is_file():
            assert (out / name).read_bytes() == (
                tmp_path / "1" / name
            ).read_bytes()
    predict.predict_files("model", [path], out, options=options)
    assert fake.calls == 25


@pytest.mark.usefixtures("fake")
def test_a_damaged_frame_is_named_and_the_others_are_kept(tmp_path):
    path = _write(tmp_path / "clip.mp4")
    data = bytearray(path.read_bytes())
    with av.open(str(path)) as container:
        packets = [p for p in container.demux(video=0) if p.size]
        place, size = packets[14].pos, packets[14].size
    data[place : place + size] = bytes(size)
    path.write_bytes(data)
    out = tmp_path / "out"
    result = predict.predict_files("model", [path], out)
    (problem,) = result.problems
    assert "frame" in problem
    assert "is damaged" in problem
    times, _ = _read(out / "clip.overlay.mp4")
    assert len(times) == 29
    assert set(times) < set(_REGULAR)
    (failure,) = json.loads((out / "failures.json").read_text())
    assert failure["problem"] == problem
    again = predict.predict_files("model", [path], out)
    assert again.problems == [problem]


@pytest.mark.usefixtures("fake")
@pytest.mark.parametrize("name", ["clip.mkv", "clip.mp4"])
def test_of_a_video_that_was_cut_off_the_beginning_is_kept(tmp_path, name):
    options = {"movflags": "faststart"} if name.endswith("mp4") else {}
    times = [40 * number for number in range(50)]
    path = _write(tmp_path / name, times, **options)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 6 // 10])
    out = tmp_path / "out"
    result = predict.predict_files("model", [path], out)
    assert "the file ends at" in result.problems[-1]
    assert "of 2.00 s" in result.problems[-1]
    found, _ = _read(out / "clip.overlay.mp4")
    assert 5 < len(found) < 45
    assert found == times[: len(found)]


@pytest.mark.usefixtures("fake")
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "cannot be read as a video"),
        (b"This is text.\n" * 100, "cannot be read as a video"),
        (b"#EXTM3U\n#EXTINF:1,\nhttp://127.0.0.1:9/a.ts\n", "cannot be read"),
        (b"\0\0\0\x18ftypmp42\0\0\0\0", "cannot be read as a video"),
        (b"RIFF\x04\0\0\0WAVE", "cannot be read as a video|no pictures"),
    ],
)
def test_what_is_no_video_is_one_sentence(tmp_path, content, message):
    path = tmp_path / "clip.mp4"
    path.write_bytes(content)
    with pytest.raises(errors.DataError, match=message) as raised:
        predict.predict_files("model", [path], tmp_path / "out")
    assert len(str(raised.value).splitlines()) == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("fake")
def test_sound_is_no_video(tmp_path):
    path = tmp_path / "clip.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=44100)
        frame = av.AudioFrame.from_ndarray(
            np.zeros((1, 4096), np.float32), "fltp", "mono"
        )
        frame.sample_rate = 44100
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    with pytest.raises(errors.DataError, match="has no pictures"):
        predict.predict_files("model", [path], tmp_path / "out")


@pytest.mark.usefixtures("fake")
def test_a_part_without_frames_is_one_sentence(tmp_path):
    path = _write(tmp_path / "clip.mp4")
    options = predict.PredictOptions(start_seconds=100)
    with pytest.raises(errors.DataError, match="no frame that can be decoded"):
        predict.predict_files("model", [path], tmp_path / "o", options=options)
    assert not (tmp_path / "o").exists()


def test_frames_that_are_too_large_are_one_sentence(
    fake, fake_models, tmp_path, monkeypatch
):
    fake.max_pixels = 1000
    fake_models.install(fake, monkeypatch.setattr)
    path = _write(tmp_path / "clip.mp4")
    with pytest.raises(errors.DataError, match="have 3072 pixels"):
        predict.predict_files("model", [path], tmp_path / "o")


@pytest.mark.usefixtures("fake")
def test_videos_of_others_are_never_replaced(tmp_path):
    path = _write(tmp_path / "clip.mp4", _REGULAR[:2])
    other = tmp_path / "clip.overlay.mp4"
    other.write_text("somebody's")
    with pytest.raises(errors.DataError, match=r"clip\.overlay\.mp4 exists"):
        predict.predict_files("model", [path], tmp_path)
    assert other.read_text() == "somebody's"


@pytest.mark.usefixtures("fake")
def test_images_and_videos_go_into_one_folder(tmp_path, write_boxes):
    images = write_boxes(tmp_path / "images", 2)
    bad = tmp_path / "bad.mp4"
    bad.write_text("no video")
    path = _write(tmp_path / "0000.mp4", _REGULAR[:2])
    out = tmp_path / "out"
    result = predict.predict_files("model", [images, path, bad], out)
    assert (result.num_images, len(result.problems)) == (2, 1)
    assert result.videos == ["0000-2.overlay.mp4"]
    content = json.loads(result.json_path.read_text())
    assert [image["id"] for image in content["images"]] == [0, 1]
    with pytest.raises(errors.ConfigError, match="have no ids"):
        predict.predict_files(
            "model",
            [path],
            out,
            image_ids={"a.png": 1},
            options=predict.PredictOptions(frame_results=True),
        )


@pytest.mark.parametrize("size", [(47, 64), (48, 63), (33, 33)])
def test_odd_sizes_are_kept(tmp_path, size):
    from deeplab2_like.predict import video_writer

    pixels = np.full((*size, 3), (200, 30, 90), np.uint8)
    path = tmp_path / "a.mp4"
    with video_writer.VideoWriter(
        path, time_base=_MS, rate=fractions.Fraction(25)
    ) as writer:
        for time in (0, 40, 40, 30):
            writer.write(pixels, time)
    times, pictures = _read(path)
    assert times == [0, 40, 41, 42]
    assert pictures[0].shape[:2] == size
    assert np.abs(pictures[0].astype(int) - pixels).max() < 5


def test_a_full_disk_is_an_error_of_the_operating_system():
    from deeplab2_like.predict import video_writer

    def write():
        with video_writer.VideoWriter(
            "/dev/full", time_base=_MS, rate=fractions.Fraction(25)
        ) as writer:
            for number in range(60):
                writer.write(_draw(number), 40 * number)

    with pytest.raises(OSError, match="No space left") as raised:
        write()
    assert raised.value.errno == errno.ENOSPC


@pytest.mark.slow
def test_frames_get_what_the_model_predicts_for_them(
    predictor, exported, tmp_path
):
    path = _write(tmp_path / "clip.mp4", _REGULAR[:3])
    out = tmp_path / "out"
    options = predict.PredictOptions(frame_results=True)
    predict.predict_files(exported, [path], out, options=options)
    with av.open(str(path)) as container:
        for number, frame in enumerate(container.decode(video=0)):
            found = predictor.predict(frame.to_ndarray(format="rgb24"))
            ids = coco_format.load_segment_ids(
                out / f"clip/{number:06d}.panoptic.png"
            )
            np.testing.assert_array_equal(ids, found.segmentation)
    assert _read(out / "clip.overlay.mp4")[0] == _REGULAR[:3]


def test_without_pyav_the_program_says_what_to_install(tmp_path):
    (tmp_path / "clip.mp4").write_bytes(b"")
    here = pathlib.Path(__file__).resolve().parent
    code = (
        "import sys\n"
        "sys.path.insert(0, sys.argv[1])\n"
        "sys.modules['av'] = None\n"
        "import fake_model\n"
        "from deeplab2_like import predict\n"
        "fake_model.install(fake_model.FakeModel())\n"
        "predict.predict_files('model', [sys.argv[2]], sys.argv[3])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, here, tmp_path / "clip.mp4", tmp_path],
        cwd=here.parents[1],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "pip install 'deeplab2-like[video]'" in done.stderr
    assert list(tmp_path.iterdir()) == [tmp_path / "clip.mp4"]
