# SPDX-License-Identifier: Apache-2.0
"""Post-processing of head outputs: modes, sizes, tables, scores."""

import dataclasses
import functools

import numpy as np
import pytest
import tensorflow as tf

from deeplab2_like import errors
from deeplab2_like.postprocess import options, panoptic_deeplab

CENTER_RULES = options.CenterRules(
    center_threshold=0.2, nms_kernel=3, keep_k_centers=6
)


def _make_heads(seed, batch, height, width, num_classes=6):
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 3, (batch, height, width, num_classes))
    heatmap = rng.random((batch, height, width, 1)) ** 4
    offset = rng.normal(0, 2, (batch, height, width, 2))
    return [tf.constant(x, tf.float32) for x in (logits, heatmap, offset)]


def _postprocess(*heads, class_rules, **arguments):
    return panoptic_deeplab.postprocess(
        *heads,
        class_rules=dataclasses.replace(class_rules, stuff_area_limit=5),
        center_rules=CENTER_RULES,
        **arguments,
    )


# Traced once for all tests with heads and arguments that are alike.
_in_graph = tf.function(_postprocess, autograph=False)


def _assert_same(some, others, score_tolerance=1e-5):
    for name, value in some.as_dict().items():
        other = others.as_dict()[name]
        if name == "segment_score":
            np.testing.assert_allclose(value, other, atol=score_tolerance)
        else:
            np.testing.assert_array_equal(value, other, name)


def test_eager_gives_the_same_as_a_graph(class_rules):
    heads = _make_heads(0, 1, 4, 6)
    options = {"class_rules": class_rules, "canvas_size": (13, 21)}
    _assert_same(_postprocess(*heads, **options), _in_graph(*heads, **options))


@pytest.mark.parametrize(
    "canvas_size", [(40, 63), pytest.param((19, 50), marks=pytest.mark.slow)]
)
def test_xla_gives_the_same_as_a_graph(canvas_size, class_rules):
    process = functools.partial(
        _postprocess, class_rules=class_rules, canvas_size=canvas_size
    )
    heads = _make_heads(0, 2, 10, 16)
    compiled = tf.function(process, jit_compile=True, autograph=False)
    _assert_same(
        _in_graph(*heads, class_rules=class_rules, canvas_size=canvas_size),
        compiled(*heads),
    )


@pytest.mark.slow
def test_bfloat16_gives_the_same_as_its_values_in_float32(class_rules):
    process = functools.partial(
        _in_graph, class_rules=class_rules, canvas_size=(37, 61)
    )
    heads = [tf.cast(x, tf.bfloat16) for x in _make_heads(1, 1, 10, 16)]
    _assert_same(
        process(*heads), process(*(tf.cast(x, tf.float32) for x in heads))
    )


def test_a_batch_is_the_same_as_its_images(class_rules):
    process = functools.partial(
        _in_graph, class_rules=class_rules, canvas_size=(37, 61)
    )
    heads = _make_heads(2, 3, 10, 16)
    whole = process(*heads)
    for index in range(3):
        single = process(*(x[index : index + 1] for x in heads))
        part = type(whole)(*(x[index : index + 1] for x in whole))
        _assert_same(part, single)


@pytest.mark.parametrize(
    ("mode", "cases"),
    [
        ("graph", [(2, (10, 16), (40, 63)), (1, (4, 6), (13, 21))]),
        pytest.param("xla", [(1, (10, 16), (40, 63))], marks=pytest.mark.slow),
        pytest.param(
            "xla",
            [(2, (10, 16), (10, 16)), (1, (5, 7), (23, 50))],
            marks=pytest.mark.slow,
        ),
    ],
)
def test_sizes_that_are_unknown_at_first(mode, cases, class_rules):
    def process(logits, heatmap, offset, image):
        return _postprocess(
            logits,
            heatmap,
            offset,
            class_rules=class_rules,
            canvas_size=tf.shape(image)[1:3],
        )

    unknown = tf.function(
        process,
        input_signature=[
            tf.TensorSpec([None, None, None, channels], tf.float32)
            for channels in (6, 1, 2, 3)
        ],
        jit_compile=mode == "xla",
        autograph=False,
    )
    for batch, source, canvas in cases:
        heads = _make_heads(3, batch, *source)
        known = _in_graph(*heads, class_rules=class_rules, canvas_size=canvas)
        image = tf.zeros([batch, *canvas, 3])
        _assert_same(known, unknown(*heads, image))


def test_one_compilation_serves_all_images(class_rules):
    def process(*heads):
        return _postprocess(
            *heads, class_rules=class_rules, canvas_size=(37, 61)
        )

    process = tf.function(process, jit_compile=True, autograph=False)
    heads = _make_heads(4, 1, 10, 16)
    text = process.experimental_get_compiler_ir(*heads)(stage="hlo")
    # Inputs that a compiled function depends on as constants are no
    # parameters of it, and each image would be compiled for.
    entry = text[text.index("ENTRY") :]
    assert entry.count("parameter(") == 3


def _upsample(x, size):
    return tf.raw_ops.ResizeBilinear(
        images=x, size=size, align_corners=True
    ).numpy()


@pytest.mark.parametrize(
    ("canvas_size", "are_probabilities"),
    [
        ((37, 61), False),
        ((10, 16), True),
        pytest.param((37, 61), True, marks=pytest.mark.slow),
        pytest.param((10, 16), False, marks=pytest.mark.slow),
    ],
)
def test_scores_are_heat_times_mean_probability(
    are_probabilities, canvas_size, class_rules
):
    logits, heatmap, offset = _make_heads(5, 1, 10, 16)
    scores = tf.nn.softmax(logits) if are_probabilities else logits
    prediction = _in_graph(
        scores,
        heatmap,
        offset,
        class_rules=class_rules,
        canvas_size=canvas_size,
        are_probabilities=are_probabilities,
    )
    probability = _upsample(scores, canvas_size)[0]
    if not are_probabilities:
        probability = tf.nn.softmax(probability).numpy()
    heat = _upsample(heatmap, canvas_size)[0, ..., 0]
    panoptic = prediction.panoptic[0].numpy()
    valid = prediction.segment_is_valid[0].numpy()
    rows = np.nonzero(valid)[0]
    assert np.any(rows < 6)
    assert np.any(rows >= 6)
    peaks = np.sort(heat.ravel())[-400:]
    for row in rows:
        category = prediction.segment_category[0, row]
        mask = panoptic == prediction.segment_id[0, row].numpy()
        mean = probability[mask][:, category].mean()
        score = prediction.segment_score[0, row].numpy()
        if row < 6:
            # The center of an instance is one of the peaks.
            assert np.min(np.abs(peaks * mean - score)) < 1e-4
        else:
            assert score == pytest.approx(mean, abs=1e-4)


def test_the_table_describes_the_map(class_rules, read_table):
    prediction = _in_graph(
        *_make_heads(6, 2, 10, 16),
        class_rules=class_rules,
        canvas_size=(37, 61),
        valid_size=tf.constant([[37, 61], [20, 33]]),
    )
    for index in range(2):
        panoptic = prediction.panoptic[index].numpy()
        ids, areas = np.unique(panoptic, return_counts=True)
        counted = dict(zip(ids, areas, strict=True))
        counted.pop(255000, None)
        table = read_table(prediction, index)
        assert {i: area for i, (_, area) in table.items()} == counted
        assert all(i // 1000 == c for i, (c, _) in table.items())


def test_logits_that_are_no_numbers_stay_in_range(class_rules):
    logits, heatmap, offset = (x.numpy() for x in _make_heads(8, 1, 10, 16))
    logits[0, 3:5] = np.nan
    logits[0, 7, 7] = np.inf
    heads = [tf.constant(x) for x in (logits, heatmap, offset)]
    prediction = _in_graph(
        *heads, class_rules=class_rules, canvas_size=(37, 61)
    )
    assert np.all(np.isin(prediction.semantic, range(6)))
    assert np.all(np.isfinite(prediction.segment_score))


def test_numpy_arrays_give_the_same_as_tensors(class_rules):
    process = functools.partial(_postprocess, class_rules=class_rules)
    heads = _make_heads(10, 1, 4, 6)
    valid_size = np.array([[13, 17]])
    _assert_same(
        process(
            *(x.numpy().astype(np.float64) for x in heads),
            canvas_size=np.array([13, 21]),
            valid_size=valid_size,
        ),
        process(
            *heads,
            canvas_size=tf.constant([13, 21]),
            valid_size=tf.constant(valid_size, tf.int32),
        ),
        score_tolerance=0.0,
    )


def test_heads_for_other_classes_are_refused(class_rules):
    class_rules = dataclasses.replace(class_rules, num_classes=7)
    text = "6 channels but the data set 7 classes"
    with pytest.raises(errors.ConfigError, match=text):
        _postprocess(
            *_make_heads(9, 1, 3, 3),
            class_rules=class_rules,
            canvas_size=(9, 9),
        )
