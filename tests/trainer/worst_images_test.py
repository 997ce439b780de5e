# SPDX-License-Identifier: Apache-2.0
"""Which images are drawn, and how many are kept."""

import io
import math

import numpy as np
import pytest
from PIL import Image

from deeplab2_like.labels import descriptor as descriptor_lib
from deeplab2_like.results import original_size
from deeplab2_like.trainer import worst_images

_DATASET = descriptor_lib.make(["road"], ["car"])


def _make_image(name, size=(20, 30), has_instances=True, canvas=None):
    true = np.zeros(size, np.int32)
    true[:5, :5] = 1001
    true[-1] = 255000
    predicted = np.roll(true, 3, 1)
    return original_size.RestoredImage(
        name=name,
        image=np.full((*(canvas or size), 3), 90, np.uint8),
        true_panoptic=true,
        semantic=predicted // 1000,
        panoptic=predicted if has_instances else None,
        segments={},
    )


def _list_names(worst):
    return [name for name, _ in worst]


def test_the_lowest_scores_are_kept_worst_first():
    worst = worst_images.WorstImages(_DATASET, 3)
    scores = np.random.default_rng(0).permutation(10) / 10
    for index, score in enumerate(scores):
        worst.add(_make_image(f"image {index}"), score)
    expected = [f"image {i}" for i in np.argsort(scores)[:3]]
    assert _list_names(worst) == expected


def test_of_equal_scores_the_first_images_are_kept():
    worst = worst_images.WorstImages(_DATASET, 2)
    for name in "abcd":
        worst.add(_make_image(name), 0.5)
    assert _list_names(worst) == ["a", "b"]


def test_images_without_a_score_are_passed_over():
    worst = worst_images.WorstImages(_DATASET)
    worst.add(_make_image("void"), math.nan)
    assert _list_names(worst) == []
    assert worst.list_colors() == []


@pytest.mark.parametrize("has_instances", [True, False])
def test_an_image_has_four_pictures_of_one_size(has_instances):
    worst = worst_images.WorstImages(_DATASET)
    image = _make_image(
        "a", (20, 31), has_instances=has_instances, canvas=(10, 15)
    )
    worst.add(image, 0.1)
    ((_, pictures),) = worst
    titles = [picture.title for picture in pictures]
    assert titles == ["image", "ground truth", "prediction", "difference"]
    for picture in pictures:
        decoded = Image.open(io.BytesIO(picture.data))
        assert decoded.size == (picture.width, picture.height) == (480, 310)
        assert picture.media_type == "image/jpeg"
    names = [name for name, _ in worst.list_colors()]
    assert names == ["road", "car", "void", "wrong class", "wrong instance"]


def test_only_images_that_are_kept_are_drawn(monkeypatch):
    worst = worst_images.WorstImages(_DATASET, 2)
    drawn = []
    draw = worst._draw
    monkeypatch.setattr(
        worst, "_draw", lambda image: drawn.append(image.name) or draw(image)
    )
    for index, score in enumerate([0.3, 0.2, 0.9, 0.4, 0.1]):
        worst.add(_make_image(str(index)), score)
    assert drawn == ["0", "1", "4"]
