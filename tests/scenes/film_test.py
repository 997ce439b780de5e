# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from deeplab2_like import errors
from deeplab2_like.scenes import film, scene

_SIZE = (65, 129)


def _make(seed=0, **options):
    return list(film.make_film(seed, _SIZE, **{"frames": 6, **options}))


def test_the_same_seed_gives_the_same_film():
    for first, second in zip(_make(), _make(), strict=True):
        np.testing.assert_array_equal(first.image, second.image)
        np.testing.assert_array_equal(first.panoptic, second.panoptic)
    assert (_make(1)[0].image != _make()[0].image).any()


def test_things_keep_their_numbers_and_move():
    moved = 0
    for seed in range(4):
        first, second = (frame.panoptic for frame in _make(seed, frames=2))
        both = np.intersect1d(first, second)
        for label in both[(both % 1000 > 0) & (both < 255_000)]:
            shared = (first == label) & (second == label)
            smaller = min((first == label).sum(), (second == label).sum())
            assert shared.any() or smaller < 200, (seed, label)
            moved += not np.array_equal(first == label, second == label)
    assert moved > 4


def test_labels_are_those_of_scenes():
    for frame in _make(2, frames=3):
        assert frame.image.shape == (*_SIZE, 3)
        kinds, instances = np.divmod(np.unique(frame.panoptic), 1000)
        for kind, instance in zip(kinds, instances, strict=True):
            assert kind < scene.NUM_CLASSES or kind == scene.IGNORE_LABEL
            assert (instance > 0) == (kind in scene.THING_IDS)


@pytest.mark.parametrize("options", [{"frames": 0}, {"rate": 0.0}])
def test_wrong_arguments_are_one_sentence(options):
    with pytest.raises(errors.DataError, match="Both must be above 0"):
        _make(**options)
