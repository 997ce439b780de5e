# SPDX-License-Identifier: Apache-2.0
"""Synthetic label maps: a truth, and a prediction with errors of all kinds."""

import numpy as np
import pytest

from deeplab2_like.labels import descriptor as descriptor_lib

THING_IDS = (3, 4, 5)
IGNORE_LABEL = 255
DIVISOR = 1000


def _draw(rng, height, width, num_things):
    labels = np.zeros((height, width), np.int32)
    split = rng.integers(0, width + 1)
    labels[:, :split] = rng.integers(0, 3) * DIVISOR
    labels[:, split:] = rng.integers(0, 3) * DIVISOR
    for instance in range(1, num_things + 1):
        y, x = rng.integers(0, height), rng.integers(0, width)
        h, w = rng.integers(1, height // 2 + 2), rng.integers(1, width // 2 + 2)
        labels[y : y + h, x : x + w] = (
            rng.choice(THING_IDS) * DIVISOR + instance
        )
    return labels


def _disturb(rng, labels):
    predicted = np.roll(labels, rng.integers(-2, 3, 2), (0, 1))
    for label in np.unique(predicted):
        inside = predicted == label
        fate = rng.random()
        if fate < 0.15:
            predicted[inside] = rng.integers(0, 3) * DIVISOR
        elif fate < 0.3:
            predicted[inside] = rng.choice(THING_IDS) * DIVISOR + 500
        elif fate < 0.4:
            predicted[inside] = IGNORE_LABEL * DIVISOR
        elif fate < 0.5:
            half = np.arange(labels.shape[1]) < labels.shape[1] // 2
            predicted[inside & half] = rng.choice(THING_IDS) * DIVISOR + 600
    return predicted


def _add_void_and_crowd(rng, labels):
    height, width = labels.shape
    for value in (
        IGNORE_LABEL * DIVISOR,
        int(rng.choice(THING_IDS)) * DIVISOR,
        int(rng.choice(THING_IDS)) * DIVISOR,
    ):
        if rng.random() < 0.6:
            y, x = rng.integers(0, height), rng.integers(0, width)
            labels[y : y + height // 3, x : x + width // 3] = value


@pytest.fixture
def make_maps():
    """Returns a function of a seed that makes a true and a predicted map."""

    def make(seed, height=24, width=31, num_things=8):
        rng = np.random.default_rng(seed)
        truth = _draw(rng, height, width, num_things)
        predicted = _disturb(rng, truth)
        _add_void_and_crowd(rng, truth)
        return truth, predicted

    return make


@pytest.fixture
def dataset():
    """Returns the descriptor of the data set of `make_maps`."""
    return descriptor_lib.make(
        ["sky", "road", "tree"],
        ["car", "person", "dog"],
        ignore_label=IGNORE_LABEL,
        label_divisor=DIVISOR,
    )


@pytest.fixture
def make_dataset():
    """Returns a function of a number that makes a data set of stuff classes."""

    def make(num_classes, ignore_label=255):
        names = [f"class {index}" for index in range(num_classes)]
        return descriptor_lib.make(names, [], ignore_label=ignore_label)

    return make
