# SPDX-License-Identifier: Apache-2.0
"""Placing of masks that overlap, against a twin in NumPy."""

import numpy as np
import pytest
import tensorflow as tf

from deeplab2_like.postprocess import options
from deeplab2_like.postprocess.masks import heuristic_merge, pasting

SIZE = (70, 90)
RULES = options.MaskRules()


def _place_twin(masks, scores, valid_size, rules):
    """Places masks of full size, bool [K, H, W]."""
    instance = np.zeros(SIZE, np.int32)
    is_kept = np.zeros(len(masks), bool)
    is_valid = np.zeros(SIZE, bool)
    is_valid[: valid_size[0], : valid_size[1]] = True
    for index in np.argsort(-scores, kind="stable"):
        if scores[index] < rules.score_threshold:
            break
        mask = masks[index] & is_valid
        area, taken = mask.sum(), (mask & (instance > 0)).sum()
        if area == 0 or taken / area > rules.overlap_threshold:
            continue
        instance[mask & (instance == 0)] = index + 1
        is_kept[index] = True
    return instance, is_kept


def _make_case(rng, number=8):
    boxes = np.sort(rng.integers(-5, 90, (number, 2, 2)), axis=1)
    boxes = boxes.reshape(number, 4).astype(np.float32)
    masks = np.round(rng.random((number, 7, 7)) + rng.choice([0, 0.3, 0.5]))
    if rng.random() < 0.3:
        boxes[1], masks[1] = boxes[0], masks[0]  # a duplicate
    if rng.random() < 0.1:
        boxes[:] = [0, 0, *SIZE]
    scores = rng.integers(3, 8, number) / np.float32(8)
    kind = rng.choice(["all", "some", "one", "none"], p=[0.7, 0.1, 0.1, 0.1])
    if kind == "some":
        scores[rng.random(number) < 0.5] = -np.inf
    elif kind == "one":
        scores[np.arange(number) != rng.integers(number)] = -np.inf
    elif kind == "none":
        scores[:] = -np.inf
    valid_size = np.array(SIZE)
    if rng.random() < 0.3:
        valid_size = rng.integers(1, SIZE)
    return masks.astype("f4"), boxes, scores.astype("f4"), valid_size


def _place(mode, rules=RULES):
    def place(masks, boxes, scores, valid_size):
        return heuristic_merge.place_masks(
            masks, boxes, scores, SIZE, valid_size, rules
        )

    if mode == "eager":
        return place
    return tf.function(place, jit_compile=mode == "xla", autograph=False)


@pytest.mark.parametrize(
    ("mode", "overlap_threshold", "tile", "count"),
    [
        ("graph", 0.5, 12, 100),
        ("xla", 0.3, 64, 100),
        *(
            pytest.param(mode, *rules, 500, marks=pytest.mark.slow)
            for mode in ("graph", "xla")
            for rules in ((0.5, 64), (0.3, 64), (0.5, 12))
        ),
    ],
)
def test_many_cases_equal_the_twin(
    mode, overlap_threshold, tile, count, monkeypatch
):
    # Masks cover some of the small tiles.
    monkeypatch.setattr(pasting, "TILE", tile)
    rules = options.MaskRules(overlap_threshold=overlap_threshold)
    place = _place(mode, rules)
    paste = tf.function(
        lambda mask, box: pasting.paste_mask(mask, box, SIZE),
        jit_compile=True,
    )
    rng = np.random.default_rng(0)
    for _ in range(count):
        masks, boxes, scores, valid_size = _make_case(rng)
        placed = place(
            tf.constant(masks),
            tf.constant(boxes),
            tf.constant(scores),
            tf.constant(valid_size, tf.int32),
        )
        full = [
            paste(tf.constant(mask), tf.constant(box)).numpy()
            for mask, box in zip(masks, boxes, strict=True)
        ]
        instance, is_kept = _place_twin(
            np.stack(full), scores, valid_size, rules
        )
        np.testing.assert_array_equal(placed.instance, instance)
        np.testing.assert_array_equal(placed.is_kept, is_kept)


def test_modes_agree_on_soft_masks():
    rng = np.random.default_rng(1)
    places = [_place(mode) for mode in ("eager", "graph", "xla")]
    for _ in range(5):
        masks, boxes, scores, valid_size = _make_case(rng)
        masks = rng.random(masks.shape).astype("f4")
        results = [
            place(
                tf.constant(masks),
                tf.constant(boxes),
                tf.constant(scores),
                tf.constant(valid_size, tf.int32),
            )
            for place in places
        ]
        for other in results[1:]:
            np.testing.assert_array_equal(other.instance, results[0].instance)
            np.testing.assert_array_equal(other.is_kept, results[0].is_kept)
