# SPDX-License-Identifier: Apache-2.0
"""Images without labels of several kinds of files, and their names."""

import os
import shutil
import sys

import numpy as np
import pytest
from PIL import Image

from deeplab2_like import errors
from deeplab2_like.data.records import features, writer
from deeplab2_like.naive_student import unlabeled
from deeplab2_like.predict.options import PredictOptions


def _find(arguments, frames):
    return unlabeled.find_images(
        [str(argument) for argument in arguments],
        PredictOptions(),
        frames,
        max_pixels=sys.maxsize,
        warn=lambda _: None,
    )


def _write_records(folder, images):
    paths = sorted(images.iterdir())
    records = [
        features.encode_example(
            name=path.name,
            image=path.read_bytes(),
            image_format="png",
            size=Image.open(path).size[::-1],
        )
        for path in paths
    ]
    writer.write_shards(records, len(records), str(folder), "new", 1)
    (path,) = folder.glob("new-*")
    return path


def test_two_images_of_one_name_are_refused_with_both_places(
    write_images, tmp_path
):
    images = write_images(tmp_path / "images", 2)
    first = _write_records(tmp_path / "a", images)
    second = _write_records(tmp_path / "b", images)
    with pytest.raises(errors.DataError, match=r"same name '0\.png'") as caught:
        _find([first, second], tmp_path / "frames")
    assert f"Record 0 of {first}" in str(caught.value)
    assert f"Record 0 of {second}" in str(caught.value)


def test_a_name_that_is_no_text_is_refused_at_once(write_images, tmp_path):
    images = write_images(tmp_path / "images", 1)
    (images / "0.png").rename(images / os.fsdecode(b"\xff.png"))
    with pytest.raises(errors.DataError, match=r"'\\udcff\.png' has bytes"):
        _find([images], tmp_path / "frames")


@pytest.mark.parametrize("name", ["photos.data", "photos"])
def test_record_files_may_have_any_name(write_images, tmp_path, name):
    images = write_images(tmp_path / "images", 2)
    named = _write_records(tmp_path / "a", images)
    shutil.copy(named, tmp_path / name)
    expected, _ = _find([named], tmp_path / "frames")
    found, failures = _find([tmp_path / name], tmp_path / "frames")
    assert not failures
    assert [one.name for one in found] == [one.name for one in expected]
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one.load().pixels, other.load().pixels)


def test_frames_of_another_clip_of_the_same_name_are_not_reused(tmp_path):
    av = pytest.importorskip("av", reason="PyAV is not installed")

    def write(path, level):
        with av.open(str(path), "w") as container:
            stream = container.add_stream("libx264", rate=25)
            stream.height, stream.width, stream.pix_fmt = 48, 64, "yuv420p"
            for _ in range(3):
                pixels = np.full((48, 64, 3), level, np.uint8)
                frame = av.VideoFrame.from_ndarray(pixels, "rgb24")
                container.mux(stream.encode(frame))
            container.mux(stream.encode())

    clip, frames = tmp_path / "clip.mp4", tmp_path / "frames"
    for level in (40, 200):
        write(clip, level)
        found, failures = _find([clip], frames)
        assert not failures
        assert len(found) == 3
        for one in found:
            assert abs(one.load().pixels.mean() - level) < 10


def test_damaged_images_are_named_in_the_order_of_all(write_images, tmp_path):
    images = write_images(tmp_path / "images", 9)
    for number in (2, 5):
        path = images / f"{number}.png"
        path.write_bytes(path.read_bytes()[:100])
    found, _ = _find([images], tmp_path / "frames")
    done = []
    good, digests, failures = unlabeled.check_images(found, done.append)
    assert [one.name for one in good] == [
        f"{number}.png" for number in (0, 1, 3, 4, 6, 7, 8)
    ]
    assert digests == [one.load().digest for one in good]
    assert [one.source for one in failures] == [
        str(images / f"{number}.png") for number in (2, 5)
    ]
    assert done == list(range(1, 10))
