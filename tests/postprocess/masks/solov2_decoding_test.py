# SPDX-License-Identifier: Apache-2.0
"""Objects from cells, against a twin in NumPy."""

import numpy as np
import pytest
import tensorflow as tf

from deeplab2_like.postprocess import options
from deeplab2_like.postprocess.masks import solov2_decoding

GRIDS = (6, 4)
RULES = options.CellRules(
    grids=GRIDS, smallest_masks=(4, 8), candidates=30, max_objects=12
)
SIZE = (24, 30)
FILTERS = 5


def _sigmoid(x):
    return 1.0 / (1.0 + np.exp(-x))


def _find_twin(probability, kernels, features, valid_size, rules):
    """Returns (category, score, mask) of the objects, in float64."""
    flat = probability.ravel()
    order = np.argsort(-flat, kind="stable")[: rules.candidates]
    order = order[flat[order] > rules.score_threshold]
    limits = np.repeat(rules.smallest_masks, np.square(rules.grids))
    found = []
    for place in order:
        cell, category = divmod(place, probability.shape[1])
        logits = features.astype(np.float64) @ kernels[cell]
        mask = logits > rules.mask_logit
        mask[valid_size[0] :] = False
        mask[:, valid_size[1] :] = False
        if mask.sum() > limits[cell]:
            soft = _sigmoid(logits)[mask].mean()
            found.append((flat[place] * soft, category, mask))
    found.sort(key=lambda x: -x[0])
    decayed = _decay_twin(found, rules)
    kept = [
        (category, score, mask)
        for score, (_, category, mask) in zip(decayed, found, strict=True)
        if score >= rules.final_threshold
    ]
    return sorted(kept, key=lambda x: -x[1])[: rules.max_objects]


def _overlap(a, b):
    if a[1] != b[1]:
        return 0.0
    return (a[2] & b[2]).sum() / (a[2] | b[2]).sum()


def _decay_twin(found, rules):
    overlapped = [
        max([_overlap(found[i], found[j]) for i in range(j)], default=0.0)
        for j in range(len(found))
    ]
    scores = []
    for j, (score, _, _) in enumerate(found):
        decay = 1.0
        for i in range(j):
            overlap = _overlap(found[i], found[j])
            if rules.decay == "gaussian":
                step = np.exp(rules.sigma * (overlapped[i] ** 2 - overlap**2))
            else:
                step = (1 - overlap) / max(1 - overlapped[i], 1e-6)
            decay = min(decay, step)
        scores.append(score * decay)
    return scores


def _make_case(rng, num_classes=2):
    cells = sum(side * side for side in GRIDS)
    probability = rng.random((cells, num_classes)) ** 3
    kernels = rng.normal(0, 2, (cells, FILTERS))
    features = rng.normal(0, 1, (*SIZE, FILTERS))
    if rng.random() < 0.5:
        kernels[1] = kernels[0]
        probability[1] = probability[0]
    kind = rng.choice(["some", "one", "none"], p=[0.8, 0.1, 0.1])
    if kind != "some":
        is_left = np.arange(cells) == (
            rng.integers(cells) if kind == "one" else -1
        )
        probability[~is_left] = 0.0
    features = np.cumsum(features, axis=0) / 2
    return (
        probability.astype(np.float32),
        kernels.astype(np.float32),
        features.astype(np.float32),
    )


def _find(mode, rules=RULES):
    def find(probability, kernels, features, valid_size):
        return solov2_decoding.find_objects(
            probability, kernels, features, valid_size, rules
        )

    if mode == "eager":
        return find
    return tf.function(find, jit_compile=mode == "xla", autograph=False)


@pytest.mark.parametrize(
    ("decay", "mode", "num_classes"),
    [
        ("gaussian", "graph", 1),
        ("gaussian", "xla", 3),
        ("linear", "graph", 3),
        pytest.param("linear", "xla", 1, marks=pytest.mark.slow),
        pytest.param("gaussian", "graph", 3, marks=pytest.mark.slow),
        pytest.param("gaussian", "xla", 1, marks=pytest.mark.slow),
        pytest.param("linear", "graph", 1, marks=pytest.mark.slow),
        pytest.param("linear", "xla", 3, marks=pytest.mark.slow),
    ],
)
def test_125_cases_equal_the_twin(decay, mode, num_classes):
    rules = options.CellRules(
        grids=GRIDS,
        smallest_masks=(4, 8),
        candidates=30,
        max_objects=12,
        decay=decay,
    )
    find = _find(mode, rules)
    rng = np.random.default_rng(0)
    for number in range(125):
        case = _make_case(rng, num_classes)
        valid_size = np.array(SIZE if number % 2 else (20, 17), np.int32)
        found = find(*(tf.constant(x) for x in case), tf.constant(valid_size))
        expected = _find_twin(*case, valid_size, rules)
        is_valid = found.is_valid.numpy()
        assert is_valid.sum() == len(expected)
        scores = [score for _, score, _ in expected]
        np.testing.assert_allclose(
            found.score[: len(expected)], scores, rtol=1e-4
        )
        masks = found.logits.numpy() > rules.mask_logit
        masks[:, valid_size[0] :] = False
        masks[:, :, valid_size[1] :] = False
        for row, (category, score, mask) in enumerate(expected):
            is_tied = np.sum(np.isclose(scores, score, rtol=1e-4)) > 1
            if not is_tied:
                assert found.category[row] == category
                assert np.sum(masks[row] != mask) <= 1


@pytest.mark.parametrize("decay", ["gaussian", "linear"])
def test_decays_of_1000_cases_equal_the_twin(decay):
    rules = options.CellRules(decay=decay)
    number = 12

    def compute(masks, category, is_valid):
        flat = tf.cast(masks, tf.float32)
        shared = tf.matmul(flat, flat, transpose_b=True)
        area = tf.linalg.diag_part(shared)
        return solov2_decoding.compute_decay(
            shared, area, category, is_valid, rules
        )

    compute = tf.function(compute, jit_compile=True, autograph=False)
    rng = np.random.default_rng(1)
    for _ in range(1000):
        masks = rng.random((number, 9)) < rng.choice([0.1, 0.5, 1.0])
        category = rng.integers(0, rng.choice([1, 3]), number)
        is_valid = rng.random(number) < rng.choice([0.0, 0.5, 1.0])
        # Only masks with pixels are objects.
        is_valid &= masks.any(axis=1)
        actual = compute(
            tf.constant(masks),
            tf.constant(category, tf.int32),
            tf.constant(is_valid),
        ).numpy()[is_valid]
        found = [(1.0, category[i], masks[i]) for i in np.nonzero(is_valid)[0]]
        expected = _decay_twin(found, rules)
        np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-6)


def test_cells_below_the_threshold_give_nothing():
    cells = sum(side * side for side in GRIDS)
    for mode in ("eager", "xla"):
        found = _find(mode)(
            tf.fill([cells, 2], 0.1),
            tf.ones([cells, FILTERS]),
            tf.ones([*SIZE, FILTERS]),
            tf.constant(SIZE),
        )
        assert not found.is_valid.numpy().any()
        np.testing.assert_array_equal(found.score, 0.0)


@pytest.mark.parametrize("decay", ["gaussian", "linear"])
def test_any_number_of_equal_masks_decays_to_one(decay):
    rules = options.CellRules(decay=decay, sigma=20.0)
    count = 5
    values = solov2_decoding.compute_decay(
        tf.fill([count, count], 7.0),
        tf.fill([count], 7.0),
        tf.zeros(count, tf.int32),
        tf.ones(count, tf.bool),
        rules,
    ).numpy()
    assert np.isfinite(values).all()
    assert values[0] == 1.0
    assert values[1:].max() < 1e-6


def test_masks_of_other_classes_and_invalid_ones_have_no_influence():
    values = solov2_decoding.compute_decay(
        tf.fill([3, 3], 7.0),
        tf.fill([3], 7.0),
        tf.constant([0, 1, 1]),
        tf.constant([True, False, True]),
        RULES,
    )
    np.testing.assert_array_equal(values, [1.0, 1.0, 1.0])


def test_equal_neighbors_both_stay():
    x = np.zeros((4, 4, 1), np.float32)
    x[1, 1:3] = 0.5
    x[2, 2] = 0.4
    cells = solov2_decoding.suppress_neighbors(x.reshape(16, 1), [4])
    kept = cells.numpy().reshape(4, 4)
    assert kept[1, 1] == kept[1, 2] == 0.5
    assert kept[2, 2] == 0.0


def test_boxes_are_around_the_masks():
    masks = np.zeros((3, 8, 9), bool)
    masks[0, 2:5, 3:7] = True
    masks[1, 7, 8] = True
    boxes = solov2_decoding.find_boxes(tf.constant(masks.transpose(1, 2, 0)))
    expected = [[2, 3, 5, 7], [7, 8, 8, 9], [0, 0, 0, 0]]
    np.testing.assert_array_equal(boxes, expected)
