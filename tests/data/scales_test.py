# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
import tensorflow as tf

from deeplab2_like.data import scales

DRAWS = np.linspace(0, 1, 400, endpoint=False, dtype=np.float32)


def draw(*arguments):
    options = scales.Scales(*arguments)
    return scales.draw_scale(tf.constant(DRAWS), options).numpy()


def test_scales_are_equally_spaced_with_both_ends():
    step = float(np.float32(0.1))
    drawn = np.round(draw(0.5, 2.0, step), 4)
    values, counts = np.unique(drawn, return_counts=True)
    np.testing.assert_allclose(values, np.arange(5, 21) / 10, atol=1e-4)
    assert counts.min() > 20
    drawn = draw(0.5, 2.0, 0)
    assert len(set(drawn)) == 400
    assert drawn.min() >= 0.5
    assert drawn.max() < 2
    assert set(draw(1.0, 1.0, 0.25)) == {1}


@pytest.mark.parametrize("bias", [-4, -1.5, -1, -0.5, 0, 0.7, 1, 4])
def test_scales_of_an_interval_have_the_density_of_the_bias(bias):
    drawn = draw(0.5, 2.0, 0, bias)
    assert drawn.min() >= 0.5
    assert drawn.max() <= 2
    assert (np.diff(drawn) > 0).all()
    # Shares of the density by numerical integration.
    grid = np.linspace(0.5, 2, 200_001)
    shares = np.cumsum(grid**bias)
    shares /= shares[-1]
    expected = np.interp(DRAWS, shares, grid)
    np.testing.assert_allclose(drawn, expected, atol=1e-3)


def test_one_draws_areas_evenly_and_minus_one_octaves():
    areas = draw(0.5, 2.0, 0, 1) ** 2
    counts, _ = np.histogram(areas, 15, (0.25, 4))
    assert counts.max() - counts.min() <= 2
    octaves = np.log2(draw(0.5, 2.0, 0, -1))
    assert (octaves < 0).sum() == 200


@pytest.mark.parametrize("bias", [-3, -1, 0.5, 2])
def test_steps_are_drawn_in_proportion_to_their_power(bias):
    values, counts = np.unique(draw(0.5, 2.0, 0.25, bias), return_counts=True)
    np.testing.assert_allclose(values, np.arange(0.5, 2.1, 0.25))
    expected = values**bias / (values**bias).sum() * 400
    np.testing.assert_allclose(counts, expected, atol=1.01)


@pytest.mark.parametrize("bias", [-4, -1, 0, 1, 4])
@pytest.mark.parametrize("step", [0, 0.25])
def test_the_largest_draw_stays_inside(bias, step):
    options = scales.Scales(0.5, 2.0, step, bias)
    almost_one = np.nextafter(np.float32(1), np.float32(0))
    assert 1.9 < float(scales.draw_scale(almost_one, options)) <= 2.0001


def test_a_single_scale_can_be_drawn():
    for bias in (0, 1):
        for step in (0, 0.25):
            options = scales.Scales(0.5, 2.0, step, bias)
            drawn = scales.draw_scale(tf.constant(DRAWS[150]), options)
            assert drawn.shape == ()
            expected = draw(0.5, 2.0, step, bias)[150]
            np.testing.assert_allclose(drawn, expected, rtol=1e-6)


def test_steps_of_hardly_different_scales_do_not_overflow():
    drawn = draw(50, 64, 0.01, 4)
    assert 50 <= drawn.min() <= 50.1
    assert 63.9 <= drawn.max() <= 64
