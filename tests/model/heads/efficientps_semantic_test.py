# SPDX-License-Identifier: Apache-2.0
import json

import numpy as np
import pytest
import tensorflow as tf

from deeplab2_like.model.decoders import feature_pyramid
from deeplab2_like.model.heads.efficientps_semantic import (
    ContextBranch,
    DensePredictionCell,
    LevelClassifier,
    SeparablePair,
)
from deeplab2_like.model.layers.upsample import upsample_bilinear
from deeplab2_like.testing import harness, reference


def _shapes(batch, height, width, channels=8):
    return {
        level: (batch, (height - 1) // s + 1, (width - 1) // s + 1, channels)
        for level, s in feature_pyramid.STRIDES.items()
        if level in feature_pyramid.LEVELS
    }


def test_the_cell_passes_the_harness(tmp_path):
    harness.check_layer(lambda: DensePredictionCell(4, name="cell"), tmp_path)


def test_the_pair_passes_the_harness(tmp_path):
    harness.check_layer(lambda: SeparablePair(4, name="pair"), tmp_path)


@pytest.mark.slow
def test_the_branch_passes_the_harness(tmp_path):
    harness.check_layer(
        lambda: ContextBranch(3, 4, name="semantic"),
        tmp_path,
        shapes=[_shapes(2, 65, 97), _shapes(1, 90, 50)],
        tolerance=harness.Tolerance(bfloat16=0.3),
    )


def test_logits_are_at_stride_4_for_any_size():
    branch = ContextBranch(3, 4)
    branch.build(_shapes(1, 64, 64))
    for size in ((257, 513), (360, 480), (33, 7)):
        levels = {k: tf.ones(shape) for k, shape in _shapes(1, *size).items()}
        logits = branch(levels)
        assert logits.dtype == tf.float32
        assert logits.shape == (1, *((n - 1) // 4 + 1 for n in size), 3)


@pytest.mark.parametrize("size", [(64, 96), (65, 97)])
def test_levels_are_classified_as_if_they_were_joined(size):
    rng = np.random.default_rng(0)
    levels = {
        level: tf.constant(rng.normal(size=shape).astype(np.float32))
        for level, shape in _shapes(2, *size).items()
    }
    layer = LevelClassifier(3)
    logits = layer(levels)
    finest = levels["p2"].shape[1:3]
    joined = [levels["p2"]]
    joined += [
        upsample_bilinear(levels[f"p{n}"], finest, 2 ** (n - 2))
        for n in (3, 4, 5)
    ]
    joined = np.concatenate(joined, axis=-1)
    expected = joined @ layer.kernel.numpy()[0, 0] + layer.bias.numpy()
    np.testing.assert_allclose(logits, expected, atol=1e-6)


def test_the_classifier_passes_the_harness(tmp_path):
    harness.check_layer(
        lambda: LevelClassifier(3, name="last"),
        tmp_path,
        shapes=[_shapes(2, 65, 97), _shapes(1, 90, 50)],
    )


def test_training_starts_undecided_however_few_classes_there_are():
    branch = ContextBranch(2, 64)
    rng = np.random.default_rng(0)
    levels = {
        level: tf.constant(rng.normal(size=shape).astype(np.float32))
        for level, shape in _shapes(2, 65, 65, 64).items()
    }
    assert np.abs(branch(levels, training=True)).max() < 1.0


def test_each_dilated_convolution_sees_its_own_distance():
    """An impulse spreads as far as the rates of the path through the cell."""
    cell = DensePredictionCell(4)
    cell.build((None, None, None, 2))
    impulse = np.zeros((1, 81, 121, 2), np.float32)
    base = cell(tf.zeros(impulse.shape))
    impulse[0, 40, 60] = 100.0
    moved = np.abs(cell(tf.constant(impulse)) - base).max(axis=(0, 3)) > 0
    rows, columns = np.nonzero(moved)
    # 1x6 first; then rows from 18x15 and 6x3 behind it, columns from 6x21.
    assert (rows.min(), rows.max()) == (40 - 25, 40 + 25)
    assert (columns.min(), columns.max()) == (60 - 27, 60 + 27)


def test_parameters_are_as_many_as_published():
    branch = ContextBranch(19, 128)
    branch.build(dict.fromkeys(feature_pyramid.LEVELS, (None, None, None, 256)))
    count = sum(int(np.prod(v.shape)) for v in branch.trainable_variables)
    assert count == 1_206_547
    path = reference.folder() / "peer_head_parameter_counts.json"
    if path.exists():
        counts = json.loads(path.read_text())
        name = "EfficientPSSemanticHead(256->128,19 classes)"
        assert counts[name] == count
