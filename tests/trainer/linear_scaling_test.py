# SPDX-License-Identifier: Apache-2.0
"""Rates and warm-up for other batch sizes."""

import pytest

from deeplab2_like.protos import trainer_pb2
from deeplab2_like.trainer import linear_scaling


def _make(**fields):
    return trainer_pb2.SolverOptions(
        base_learning_rate=0.001,
        poly_end_learning_rate=0.0001,
        warmup_steps=500,
        training_number_of_steps=10_000,
        **fields,
    )


@pytest.mark.parametrize("fields", [{}, {"reference_batch_size": 32}])
def test_nothing_changes_without_another_batch_size(fields):
    scaled, text = linear_scaling.scale(_make(**fields), 32)
    assert scaled == _make(**fields)
    assert not text


@pytest.mark.parametrize("batch_size", [8, 64, 96])
def test_rate_times_warm_up_is_constant_and_the_rate_follows_the_batch(
    batch_size,
):
    solver = _make(reference_batch_size=32)
    scaled, text = linear_scaling.scale(solver, batch_size)
    factor = batch_size / 32
    assert scaled.base_learning_rate == pytest.approx(0.001 * factor)
    assert scaled.poly_end_learning_rate == pytest.approx(0.0001 * factor)
    images = scaled.warmup_steps * batch_size
    assert 500 * 32 <= images < 500 * 32 + batch_size
    assert scaled.training_number_of_steps == 10_000
    assert f"batches of 32 to {batch_size}" in text
    assert f"{round(10_000 / factor)} steps" in text


def test_a_warm_up_stays_shorter_than_the_training():
    scaled, _ = linear_scaling.scale(_make(reference_batch_size=320), 1)
    assert scaled.warmup_steps == 9_999


def test_rates_are_written_as_they_were_given():
    _, text = linear_scaling.scale(_make(reference_batch_size=32), 64)
    assert "learning rate 0.001 -> 0.002, warm-up 500 -> 250 steps" in text
