# SPDX-License-Identifier: Apache-2.0
"""Post-processing of EfficientPS at sizes of data sets, in every mode."""

import numpy as np
import pytest
import tensorflow as tf

from deeplab2_like.postprocess import efficientps, options
from deeplab2_like.postprocess.objects import Cells, Objects

SIZES = [(257, 513), (360, 480), (1024, 2048)]
BATCH = 2
GRIDS = (6, 4)
FILTERS = 8
FUSION_RULES = options.FusionRules(score_threshold=0.3)
pytestmark = pytest.mark.slow


def _make_logits(rng, size):
    shape = [(side - 1) // 4 + 1 for side in size]
    coarse = rng.normal(0.0, 3.0, (BATCH, 5, 7, 5)).astype(np.float32)
    return tf.image.resize(coarse, shape).numpy()


def _make_objects(rng, size, number=4):
    sides = rng.uniform(0.02, 0.7, (BATCH, number, 2)) * size
    start = rng.uniform(-0.1, 0.9, (BATCH, number, 2)) * size
    place = np.linspace(-1.0, 1.0, 28)
    masks = 6.0 - 8.0 * (place[:, np.newaxis] ** 2 + place**2)
    masks = masks + rng.normal(0.0, 1.0, (BATCH, number, 28, 28))
    return Objects(
        np.concatenate([start, start + sides], axis=-1).astype(np.float32),
        rng.integers(3, 5, (BATCH, number)).astype(np.int32),
        rng.uniform(0.2, 1.0, (BATCH, number)).astype(np.float32),
        rng.random((BATCH, number)) < 0.9,
        masks.astype(np.float32),
    )


def _make_cells(rng, size):
    """Makes whole numbers of kernels and features, with exact products."""
    shape = [(side - 1) // 4 + 1 for side in size]
    cells = sum(side * side for side in GRIDS)
    coarse = rng.integers(-3, 4, (BATCH, 4, 5, FILTERS))
    rows = np.arange(shape[0]) * 4 // shape[0]
    columns = np.arange(shape[1]) * 5 // shape[1]
    return Cells(
        rng.normal(-2.0, 2.0, (BATCH, cells, 2)).astype(np.float32),
        rng.integers(-2, 3, (BATCH, cells, FILTERS)).astype(np.float32),
        coarse[:, rows][:, :, columns].astype(np.float32),
    )


def _assert_equal_in_every_mode(process, inputs, class_rules):
    inputs = [tf.constant(values) for values in inputs]
    expected = process(*inputs).as_dict()
    is_thing = expected["panoptic"].numpy() % class_rules.label_divisor > 0
    assert 0.01 < is_thing.mean() < 0.99
    for jit_compile in (False, True):
        function = tf.function(
            process, jit_compile=jit_compile, autograph=False
        )
        for name, values in function(*inputs).as_dict().items():
            if name == "segment_score":
                np.testing.assert_allclose(values, expected[name], rtol=1e-5)
            else:
                np.testing.assert_array_equal(
                    values, expected[name], err_msg=name
                )


@pytest.mark.parametrize("size", SIZES)
def test_fusion_is_equal_in_every_mode(size, fusion_classes):
    rng = np.random.default_rng(0)
    valid_size = np.array([size, [size[0] - 9, size[1] // 2]], np.int32)

    def process(logits, valid_size, *objects):
        return efficientps.postprocess(
            logits,
            Objects(*objects),
            canvas_size=size,
            valid_size=valid_size,
            class_rules=fusion_classes,
            fusion_rules=FUSION_RULES,
        )

    inputs = [
        _make_logits(rng, size),
        valid_size,
        *_make_objects(rng, size),
    ]
    _assert_equal_in_every_mode(process, inputs, fusion_classes)


@pytest.mark.parametrize("size", SIZES)
def test_decoding_of_cells_is_equal_in_every_mode(size, fusion_classes):
    rng = np.random.default_rng(1)
    valid_size = np.array([size, [size[0] - 9, size[1] // 2]], np.int32)
    cell_rules = options.CellRules(
        grids=GRIDS, smallest_masks=(8, 16), candidates=16, max_objects=4
    )

    def process(logits, valid_size, *cells):
        return efficientps.postprocess_cells(
            logits,
            Cells(*cells),
            canvas_size=size,
            valid_size=valid_size,
            cell_rules=cell_rules,
            class_rules=fusion_classes,
            fusion_rules=FUSION_RULES,
        )

    inputs = [_make_logits(rng, size), valid_size, *_make_cells(rng, size)]
    _assert_equal_in_every_mode(process, inputs, fusion_classes)
