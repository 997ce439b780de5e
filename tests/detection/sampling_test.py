# SPDX-License-Identifier: Apache-2.0
"""Balanced random choice of boxes."""

import numpy as np
import pytest
import tensorflow as tf

from deeplab2_like.detection import sampling


def _make_labels(rng, number, share):
    label = rng.choice([1, 0, -1], number, p=[share, 0.7 - share, 0.3])
    return label.astype(np.int32)


def _sample(label, seed, number=16, share=0.25):
    return sampling.sample_balanced(
        tf.convert_to_tensor(label),
        tf.stack([seed, 7]),
        num_samples=number,
        positive_share=share,
    )


def test_1000_samples_have_the_right_numbers_of_the_right_boxes():
    rng = np.random.default_rng(0)
    label = np.stack(
        [
            _make_labels(rng, 40, rng.choice([0, 0.02, 0.5, 0.7]))
            for _ in range(1000)
        ]
    )
    sample = _sample(label, 1)
    for row, index, is_positive, is_chosen in zip(
        label, *(x.numpy() for x in sample), strict=True
    ):
        positive = min(4, (row == 1).sum())
        negative = min(16 - positive, (row == 0).sum())
        assert is_positive.sum() == positive
        assert is_chosen.sum() == positive + negative
        assert set(row[index[is_positive]]) <= {1}
        assert set(row[index[is_chosen & ~is_positive]]) <= {0}
        assert len(set(index[is_chosen])) == positive + negative
        assert list(is_chosen) == sorted(is_chosen, reverse=True)


def test_a_seed_gives_the_same_choice_in_every_mode(run_in):
    label = _make_labels(np.random.default_rng(1), 300, 0.2)[None]
    for seed in (3, -5, 2**31 - 1):
        expected = _sample(label, seed)
        # As arguments: what is constant is computed outside of XLA.
        actual = run_in(_sample)(tf.constant(label), tf.constant(seed))
        for one, other in zip(actual, expected, strict=True):
            np.testing.assert_array_equal(one, other)
    other_seed = _sample(label, 4)
    assert not np.array_equal(other_seed.index, expected.index)


def test_priorities_are_those_of_the_twin(run_in):
    def mix(bits):
        bits = ((bits ^ bits >> 16) * 0x7FEB352D) & 0xFFFFFFFF
        bits = ((bits ^ bits >> 15) * 0x846CA68B) & 0xFFFFFFFF
        return bits ^ bits >> 16

    seed = (1234567, -3)
    expected = [
        1 + (mix(mix(k ^ mix(seed[0])) ^ mix(seed[1] % 2**32)) >> 9) * 2**-23
        for k in range(15)
    ]
    draw = run_in(lambda seed: sampling.draw_priorities([3, 5], seed))
    actual = draw(tf.constant(seed)).numpy()
    np.testing.assert_array_equal(actual, np.reshape(expected, [3, 5]))


def test_priorities_are_uniform_and_independent():
    drawn = [
        sampling.draw_priorities([256, 256], tf.constant([9, step])).numpy()
        for step in range(3)
    ]
    for one in drawn:
        count, _ = np.histogram(one, 256, (1.0, 2.0))
        # Mean and spread of chi-square with 255 degrees of freedom.
        assert abs(((count - 256) ** 2 / 256).sum() - 255) < 5 * 22.6
    pairs = [
        (drawn[0], drawn[1]),
        (drawn[1], drawn[2]),
        (drawn[0][:, 1:], drawn[0][:, :-1]),
        (drawn[0][1:], drawn[0][:-1]),
    ]
    for one, other in pairs:
        correlation = np.corrcoef(one.ravel(), other.ravel())[0, 1]
        assert abs(correlation) < 5 / 256


def test_every_box_has_the_same_chance():
    label = np.zeros((1, 50), np.int32)
    count = np.zeros(50)
    for seed in range(200):
        count[_sample(label, seed, number=10).index[0]] += 1
    assert count.sum() == 2000
    assert count.min() > 15
    assert count.max() < 70


@pytest.mark.parametrize("number", [0, 1, 3])
def test_fewer_boxes_than_places_leave_places_empty(number):
    sample = _sample(np.zeros((2, number), np.int32), 0)
    assert sample.index.shape == (2, 16)
    np.testing.assert_array_equal(sample.is_chosen.numpy().sum(1), number)
