# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from deeplab2_like.scenes import augmentations_picture


@pytest.mark.slow
def test_every_change_but_the_first_is_seen():
    crops = augmentations_picture._make_all()
    assert len({title for title, _ in crops}) == len(crops) == 16
    plain = crops[0][1]
    for number, (_, (image, panoptic)) in enumerate(crops[1:], 1):
        assert image.shape == plain[0].shape
        assert np.abs(image - plain[0]).max() > 1
        changes_labels = number < augmentations_picture._NUM_LABELED
        is_equal = np.array_equal(panoptic, plain[1])
        assert is_equal != changes_labels


def test_the_shipped_policy_has_the_operations_of_the_picture():
    for title, pair, is_done in augmentations_picture._OPERATIONS:
        policy = augmentations_picture.autoaugment.load_policy(
            augmentations_picture._POLICY
        )
        operation = policy[pair][is_done.index(0.0)]
        name, *magnitude = title.removeprefix("autoaugment: ").split()
        assert operation.name == name
        assert operation.probability > 0
        for value in magnitude:
            assert operation.magnitude == pytest.approx(float(value))
