# SPDX-License-Identifier: Apache-2.0
"""Non-maximum suppression against a twin in NumPy."""

import numpy as np
import pytest
import tensorflow as tf

from deeplab2_like.detection import nms


def _suppress_twin(boxes, score, group, limit, overlap_of):
    hits = overlap_of(boxes, boxes) > np.float32(0.5)
    hits &= group[:, None] == group
    kept = []
    for index in np.argsort(-score, kind="stable"):
        if len(kept) == limit or score[index] == -np.inf:
            break
        if not hits[kept, index].any():
            kept.append(index)
    return kept


def _make_case(rng, random_boxes, number):
    score = rng.integers(0, rng.choice([2, 1000]), number).astype(np.float32)
    kind = rng.choice(
        ["all", "some", "one", "none"], p=[0.45, 0.45, 0.05, 0.05]
    )
    if kind == "some":
        score[rng.random(number) < 0.2] = -np.inf
    elif kind == "one":
        score[np.arange(number) != rng.integers(number)] = -np.inf
    elif kind == "none":
        score[:] = -np.inf
    groups = rng.integers(0, rng.choice([1, 3]), number).astype(np.int32)
    return random_boxes(rng, number), score, groups


def _assert_equal_to_twin(suppress, cases, limit, overlap_of):
    index, is_kept = suppress(
        *(tf.constant(np.stack(x)) for x in zip(*cases, strict=True))
    )
    assert index.shape == (len(cases), limit)
    for case, row, kept in zip(
        cases, index.numpy(), is_kept.numpy(), strict=True
    ):
        expected = _suppress_twin(*case, limit, overlap_of)
        np.testing.assert_array_equal(row[kept], expected)
        assert kept[: len(expected)].all()
        assert not row[~kept].any()


def _suppress(limit):
    def suppress(boxes, score, group):
        return nms.suppress_overlaps(
            boxes,
            score,
            overlap_threshold=0.5,
            max_output=limit,
            group_ln=group,
        )

    return suppress


@pytest.mark.parametrize("limit", [5, 40])
def test_1000_cases_equal_the_twin(
    run_in, random_boxes, overlap_of, limit, monkeypatch
):
    monkeypatch.setattr(nms, "_BLOCK", 8)  # so that there are several blocks
    rng = np.random.default_rng(0)
    cases = [_make_case(rng, random_boxes, 30) for _ in range(1000)]
    suppress = run_in(_suppress(limit))
    for first in range(0, 1000, 100):
        _assert_equal_to_twin(
            suppress, cases[first : first + 100], limit, overlap_of
        )


@pytest.mark.parametrize("number", [1, 255, 256, 700])
def test_any_number_of_boxes_works(number, random_boxes, overlap_of):
    rng = np.random.default_rng(1)
    cases = [_make_case(rng, random_boxes, number) for _ in range(2)]
    suppress = tf.function(_suppress(50), jit_compile=True, autograph=False)
    _assert_equal_to_twin(suppress, cases, 50, overlap_of)


def test_a_chain_of_boxes_is_settled_in_its_order():
    y = np.arange(300, dtype=np.float32)[:, None] * 4.0
    box = np.concatenate([y, 0 * y, y + 10, 0 * y + 10], axis=1)
    score = np.linspace(1, 0, 300).astype(np.float32)
    index, is_kept = nms.suppress_overlaps(
        tf.constant(box[None]),
        tf.constant(score[None]),
        overlap_threshold=0.3,
        max_output=300,
    )
    np.testing.assert_array_equal(index[0][is_kept[0]], np.arange(0, 300, 2))


def test_the_graph_for_thousands_of_boxes_holds_no_square_of_them():
    number = 8000
    function = tf.function(
        _suppress(1000), autograph=False
    ).get_concrete_function(
        tf.TensorSpec([1, number, 4]),
        tf.TensorSpec([1, number]),
        tf.TensorSpec([1, number], tf.int32),
    )
    graphs = [function.graph, *_inner_graphs(function.graph)]
    sizes = [
        tensor.shape.num_elements() or 0
        for graph in graphs
        for operation in graph.get_operations()
        for tensor in operation.outputs
        if tensor.shape.is_fully_defined()
    ]
    assert max(sizes) <= 4 * 256 * 256


def _inner_graphs(graph):
    definition = graph.as_graph_def(add_shapes=True).library.function
    names = [function.signature.name for function in definition]
    return [
        graph._functions[name].graph
        for name in names
        if name in graph._functions and hasattr(graph._functions[name], "graph")
    ]
