# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from deeplab2_like import errors
from deeplab2_like.trainer import schedules


@pytest.mark.parametrize("policy", schedules.POLICIES)
def test_the_rate_starts_at_its_base_and_stays_at_its_end(policy):
    schedule = schedules.LearningRate(0.1, 100, policy=policy)
    np.testing.assert_allclose(schedule(0), 0.1, rtol=1e-6)
    np.testing.assert_allclose(schedule(100), 0.0, atol=1e-8)
    np.testing.assert_allclose(schedule(1000), 0.0, atol=1e-8)


def test_the_warm_up_is_linear_from_zero_and_does_not_shift_the_decay():
    plain = schedules.LearningRate(0.1, 100)
    warm = schedules.LearningRate(0.1, 100, warmup_steps=10)
    np.testing.assert_allclose(
        [float(warm(step)) for step in (0, 1, 5)], [0.0, 0.01, 0.05], rtol=1e-6
    )
    assert float(warm(10)) == float(plain(10))
    assert float(warm(37)) == float(plain(37))


def test_an_unknown_policy_is_refused_with_the_known_ones():
    with pytest.raises(errors.ConfigError, match=r"'step'.*poly, cosine"):
        schedules.LearningRate(0.1, 100, policy="step")


def test_config_round_trip_gives_an_equal_schedule():
    schedule = schedules.LearningRate(0.1, 50, policy="poly", warmup_steps=5)
    twin = schedules.LearningRate.from_config(schedule.get_config())
    for step in (0, 3, 20, 49, 60):
        assert float(schedule(step)) == float(twin(step))
