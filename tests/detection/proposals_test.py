# SPDX-License-Identifier: Apache-2.0
"""Selection of proposals and of detections."""

import numpy as np
import pytest
import tensorflow as tf

from deeplab2_like.detection import boxes as boxes_lib
from deeplab2_like.detection import proposals

WEIGHTS = (10.0, 10.0, 5.0, 5.0)


def _suppress_twin(boxes, score, threshold, overlap_of):
    """Returns the kept places in decreasing order of the scores."""
    hits = overlap_of(boxes, boxes) > np.float32(threshold)
    kept = []
    for index in np.argsort(-score, kind="stable"):
        if score[index] > -np.inf and not hits[kept, index].any():
            kept.append(index)
    return np.array(kept, int)


def _make_levels(rng, random_boxes, batch):
    levels = []
    for number in (30, 9, 2):
        objectness = rng.normal(size=(batch, number)).astype(np.float32)
        codes = rng.normal(size=(batch, number, 4)).astype(np.float32) / 4
        levels.append((objectness, codes, random_boxes(rng, number)))
    return levels


def _select_twin(levels, image, size, overlap_of):
    found = []
    for objectness, codes, anchors in levels:
        best = np.argsort(-objectness[image], kind="stable")[:12]
        boxes = boxes_lib.decode(
            tf.constant(codes[image, best]),
            tf.constant(anchors[best]),
            proposals.PROPOSAL_WEIGHTS,
        ).numpy()
        boxes = np.clip(boxes, 0, np.tile(size, 2)).astype(np.float32)
        is_box = (boxes[:, 2:] > boxes[:, :2]).all(axis=1)
        score = np.where(is_box, objectness[image, best], -np.inf)
        kept = _suppress_twin(boxes, score, 0.7, overlap_of)[:10]
        found += [(score[k], boxes[k]) for k in kept]
    return sorted(found, key=lambda pair: -pair[0])[:10]


def test_proposals_equal_the_twin(run_in, random_boxes, overlap_of):
    rng = np.random.default_rng(0)

    @run_in
    def select(levels, size):
        return proposals.select_proposals(
            [proposals.Level(*level) for level in levels],
            size,
            level_limit=12,
            limit=10,
            overlap_threshold=0.7,
        )

    for _ in range(20):
        levels = _make_levels(rng, random_boxes, 2)
        size = rng.integers(1, 33, (2, 2)).astype(np.int32)
        selected = select(
            tf.nest.map_structure(tf.constant, levels), tf.constant(size)
        )
        assert selected.boxes.shape == (2, 10, 4)
        for image in range(2):
            expected = _select_twin(levels, image, size[image], overlap_of)
            is_valid = selected.is_valid[image].numpy()
            assert is_valid.sum() == len(expected)
            for place, (score, box) in enumerate(expected):
                assert selected.score[image, place] == score
                np.testing.assert_allclose(
                    selected.boxes[image, place], box, atol=1e-4
                )
            assert not selected.boxes[image].numpy()[~is_valid].any()


def _detect_twin(logits, codes, boxes, is_valid, size, overlap_of):
    score = np.exp(logits - logits.max(axis=1, keepdims=True))
    score = (score / score.sum(axis=1, keepdims=True))[:, :-1]
    found = []
    for category in range(codes.shape[1]):
        decoded = boxes_lib.decode(
            tf.constant(codes[:, category]), tf.constant(boxes), WEIGHTS
        ).numpy()
        decoded = np.clip(decoded, 0, np.tile(size, 2)).astype(np.float32)
        is_box = (decoded[:, 2:] > decoded[:, :2]).all(axis=1) & is_valid
        is_box &= score[:, category] > 0.1
        chosen = np.where(is_box, score[:, category], -np.inf)
        kept = _suppress_twin(decoded, chosen, 0.5, overlap_of)
        found += [(chosen[k], category, decoded[k]) for k in kept]
    return sorted(found, key=lambda row: -row[0])[:6]


def test_detections_equal_the_twin(run_in, random_boxes, overlap_of):
    rng = np.random.default_rng(1)

    @run_in
    def select(logits, codes, boxes, is_valid, size):
        return proposals.select_detections(
            logits,
            codes,
            proposals.Proposals(boxes, tf.zeros([2, 15]), is_valid),
            size,
            proposals.DetectionRules(
                code_weights=WEIGHTS,
                score_threshold=0.1,
                overlap_threshold=0.5,
                candidate_limit=45,
                limit=6,
            ),
        )

    for _ in range(20):
        logits = rng.normal(size=(2, 15, 4)).astype(np.float32) * 2
        codes = rng.normal(size=(2, 15, 3, 4)).astype(np.float32)
        boxes = np.stack([random_boxes(rng, 15) for _ in range(2)])
        is_valid = rng.random((2, 15)) < rng.choice([0, 0.5, 1])
        size = rng.integers(1, 33, (2, 2)).astype(np.int32)
        inputs = (logits, codes, boxes, is_valid, size)
        found = select(*map(tf.constant, inputs))
        for image in range(2):
            expected = _detect_twin(*(x[image] for x in inputs), overlap_of)
            assert found.is_valid[image].numpy().sum() == len(expected)
            for place, (score, category, box) in enumerate(expected):
                assert found.score[image, place].numpy() == pytest.approx(
                    score, rel=1e-5
                )
                assert found.category[image, place] == category
                np.testing.assert_allclose(
                    found.boxes[image, place], box, atol=1e-3
                )


def test_levels_of_unknown_size_may_have_fewer_anchors_than_wanted():
    @tf.function(autograph=False)
    def select(objectness, codes, anchors):
        return proposals.select_proposals(
            [proposals.Level(objectness, codes, anchors)],
            tf.constant([[16, 16]]),
            level_limit=5,
            limit=8,
            overlap_threshold=0.7,
        )

    select.get_concrete_function(
        tf.TensorSpec([None, None]),
        tf.TensorSpec([None, None, 4]),
        tf.TensorSpec([None, 4]),
    )
    anchors = tf.constant([[0.0, 0.0, 4.0, 4.0], [8.0, 8.0, 12.0, 12.0]])
    selected = select(tf.zeros([1, 2]), tf.zeros([1, 2, 4]), anchors)
    np.testing.assert_array_equal(
        selected.is_valid[0], [True] * 2 + [False] * 6
    )


def test_numbers_that_are_not_finite_give_no_proposal():
    anchors = tf.constant([[0.0, 0.0, 4.0, 4.0], [8.0, 8.0, 12.0, 12.0]])
    codes = tf.constant([[[float("nan")] * 4, [0.0] * 4]])
    selected = proposals.select_proposals(
        [proposals.Level(tf.constant([[2.0, 1.0]]), codes, anchors)],
        tf.constant([[16, 16]]),
        level_limit=2,
        limit=2,
        overlap_threshold=0.7,
    )
    np.testing.assert_array_equal(selected.is_valid, [[True, False]])
    np.testing.assert_array_equal(selected.boxes[0, 0], anchors[1])
