# SPDX-License-Identifier: Apache-2.0
import dataclasses

import numpy as np
import pytest
from PIL import Image

from deeplab2_like import errors
from deeplab2_like.labels import descriptor
from deeplab2_like.results import original_size, raw_predictions
from deeplab2_like.trainer import prediction_saver

_CITY = descriptor.load("cityscapes_panoptic")


def _make_image(name="munich_1", has_instances=True):
    panoptic = np.full((40, 60), 10000, np.int32)
    panoptic[20:, 10:30] = 13001
    panoptic[:3] = 255000
    return original_size.RestoredImage(
        name=name,
        # Another size than that of the label, as after resizing.
        image=np.full((20, 30, 3), 90, np.uint8),
        true_panoptic=panoptic,
        semantic=panoptic // 1000,
        panoptic=panoptic if has_instances else None,
        segments={},
    )


def _list(folder):
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*.*"))


@pytest.mark.parametrize("has_instances", [True, False])
@pytest.mark.parametrize("has_labels", [True, False])
def test_the_first_images_are_drawn_and_all_are_written(
    tmp_path, has_instances, has_labels
):
    saver = prediction_saver.PredictionSaver(
        _CITY,
        num_pictures=2,
        picture_folder=str(tmp_path),
        raw_writer=raw_predictions.RawPredictionWriter(tmp_path, _CITY),
        has_labels=has_labels,
    )
    for index in range(3):
        saver.add(_make_image(f"munich_{index}", has_instances))
    kind = "comparison" if has_labels else "prediction"
    folders = ["raw_panoptic"] * has_instances + ["raw_semantic"]
    assert _list(tmp_path) == [
        f"munich_0_{kind}.png",
        f"munich_1_{kind}.png",
        *(f"{f}/munich_{i}.png" for f in folders for i in range(3)),
    ]
    picture = np.asarray(Image.open(tmp_path / f"munich_0_{kind}.png"))
    assert picture.shape[2] == 3
    assert len(np.unique(picture.reshape(-1, 3), axis=0)) > 3
    first, second = saver.describe()
    assert first == f"2 pictures are in {tmp_path}"
    assert second == f"The label maps of 3 images are in {tmp_path}"


def test_pictures_keep_the_folders_of_frames_and_replace_no_other(tmp_path):
    saver = prediction_saver.PredictionSaver(
        _CITY, num_pictures=4, picture_folder=str(tmp_path)
    )
    for name in ("0001/000000.png", "0002/000000.png", "a.b", "a.b"):
        saver.add(_make_image(name))
    assert _list(tmp_path) == [
        "0001/000000_comparison.png",
        "0002/000000_comparison.png",
        "a.b_000003_comparison.png",
        "a.b_comparison.png",
    ]


@pytest.mark.parametrize("name", ["../a", "/etc/a", ""])
def test_names_that_lead_out_of_the_folder_are_refused(tmp_path, name):
    saver = prediction_saver.PredictionSaver(
        _CITY, num_pictures=1, picture_folder=str(tmp_path / "vis")
    )
    with pytest.raises(errors.DataError, match="cannot become a file name"):
        saver.add(_make_image(name))
    assert not _list(tmp_path)


def test_nothing_is_written_unless_asked_for(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    saver = prediction_saver.PredictionSaver(_CITY, num_pictures=1)
    saver.add(_make_image())
    assert not _list(tmp_path)
    assert saver.describe() == []


def test_the_memory_does_not_grow_with_the_images(tmp_path):
    saver = prediction_saver.PredictionSaver(
        _CITY, raw_writer=raw_predictions.RawPredictionWriter(tmp_path, _CITY)
    )
    image = _make_image()
    for index in range(5):
        saver.add(dataclasses.replace(image, name=str(index)))

    def find_arrays(value, depth=0):
        if isinstance(value, np.ndarray):
            return value.nbytes
        if depth > 3:
            return 0
        inner = value.values() if isinstance(value, dict) else ()
        inner = vars(value).values() if hasattr(value, "__dict__") else inner
        return sum(find_arrays(v, depth + 1) for v in inner)

    assert find_arrays(saver) < image.semantic.nbytes
