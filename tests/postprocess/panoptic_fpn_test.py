# SPDX-License-Identifier: Apache-2.0
"""Objects and class logits to segments, against a twin in NumPy."""

import numpy as np
import pytest
import tensorflow as tf

from deeplab2_like import errors
from deeplab2_like.postprocess import options, panoptic_fpn
from deeplab2_like.postprocess.masks import pasting
from deeplab2_like.postprocess.objects import Objects

SIZE = (33, 65)
CLASSES = options.ClassRules(
    num_classes=6,
    thing_ids=(1, 4),
    ignore_label=255,
    label_divisor=100,
    stuff_area_limit=30,
)
CHANNELS = (1, 0, 2, 3, 5)  # things, then stuff
MASKS = options.MaskRules()


def _make_case(rng, batch=2, number=6):
    boxes = np.sort(rng.integers(-5, 60, (batch, number, 2, 2)), axis=2)
    objects = Objects(
        boxes=boxes.reshape(batch, number, 4).astype(np.float32),
        category=rng.choice(CLASSES.thing_ids, (batch, number)).astype("i4"),
        score=rng.choice([0.3, 0.5, 0.75, 0.9], (batch, number)).astype("f4"),
        is_valid=rng.random((batch, number)) < rng.choice([0, 0.7, 1]),
        masks=rng.random((batch, number, 7, 7)).astype("f4"),
    )
    cells = rng.integers(0, len(CHANNELS), (batch, 9, 17))
    logits = 9.0 * np.eye(len(CHANNELS), dtype="f4")[cells]
    valid_size = np.array([SIZE] * batch, np.int32)
    if rng.random() < 0.3:
        valid_size = rng.integers(1, SIZE, (batch, 2)).astype(np.int32)
    return logits, objects, valid_size


def _postprocess(logits, objects, valid_size):
    return panoptic_fpn.postprocess(
        logits,
        Objects(*objects),
        canvas_size=SIZE,
        valid_size=valid_size,
        class_rules=CLASSES,
        mask_rules=MASKS,
        channel_classes=CHANNELS,
    )


@tf.function(autograph=False)
def _paste(mask, box):
    return pasting.paste_mask(mask, box, SIZE)


def _merge_twin(category, objects, image, is_valid):
    """Returns panoptic and semantic map, and {id: score} of things."""
    boxes, classes, scores, exists, masks = (x[image] for x in objects)
    owner = np.zeros(SIZE, int)
    for index in np.argsort(-scores, kind="stable"):
        if not exists[index] or scores[index] < 0.5:
            continue
        mask = _paste(
            tf.constant(masks[index]), tf.constant(boxes[index])
        ).numpy()
        mask &= is_valid
        taken = (mask & (owner > 0)).sum()
        if mask.any() and not taken / mask.sum() > 0.5:
            owner[mask & (owner == 0)] = index + 1
    panoptic = np.full(SIZE, CLASSES.void_id)
    semantic = np.full(SIZE, CLASSES.ignore_label)
    numbers = dict.fromkeys(CLASSES.thing_ids, 0)
    things = {}
    for value in dict.fromkeys(owner[owner > 0].tolist()):
        chosen = int(classes[value - 1])
        numbers[chosen] += 1
        name = chosen * CLASSES.label_divisor + numbers[chosen]
        panoptic[owner == value] = name
        semantic[owner == value] = chosen
        things[name] = scores[value - 1]
    for stuff in CLASSES.stuff_ids:
        mask = (category == stuff) & (owner == 0) & is_valid
        semantic[mask] = stuff
        if mask.sum() >= CLASSES.stuff_area_limit:
            panoptic[mask] = stuff * CLASSES.label_divisor
    return panoptic, semantic, things


@pytest.mark.parametrize("mode", ["eager", "graph", "xla"])
def test_random_images_equal_the_twin(mode):
    process = _postprocess
    if mode != "eager":
        process = tf.function(
            process, jit_compile=mode == "xla", autograph=False
        )
    rng = np.random.default_rng(0)
    for _ in range(3 if mode == "eager" else 30):
        logits, objects, valid_size = _make_case(rng)
        prediction = process(
            tf.constant(logits),
            [tf.constant(x) for x in objects],
            tf.constant(valid_size),
        )
        resized = tf.compat.v1.image.resize_bilinear(
            logits, SIZE, align_corners=True
        ).numpy()
        channel = resized.argmax(axis=-1)
        for image in range(2):
            is_valid = np.zeros(SIZE, bool)
            is_valid[: valid_size[image, 0], : valid_size[image, 1]] = True
            panoptic, semantic, things = _merge_twin(
                np.array(CHANNELS)[channel[image]], objects, image, is_valid
            )
            np.testing.assert_array_equal(prediction.panoptic[image], panoptic)
            np.testing.assert_array_equal(prediction.semantic[image], semantic)
            _check_table(prediction, image, things)


def _check_table(prediction, image, things):
    table = {
        name: getattr(prediction, f"segment_{name}")[image].numpy()
        for name in ("id", "category", "area", "score", "is_valid")
    }
    is_valid = table["is_valid"]
    ids, areas = np.unique(
        prediction.panoptic[image].numpy(), return_counts=True
    )
    expected = dict(zip(ids.tolist(), areas.tolist(), strict=True))
    expected.pop(CLASSES.void_id, None)
    found = zip(table["id"][is_valid], table["area"][is_valid], strict=True)
    assert dict(found) == expected
    for row in np.nonzero(is_valid)[0]:
        name = int(table["id"][row])
        assert table["category"][row] == name // CLASSES.label_divisor
        if name in things:
            assert table["score"][row] == things[name]
        else:
            assert 0.2 < table["score"][row] <= 1.0


def test_without_a_semantic_branch_everything_else_is_void():
    rng = np.random.default_rng(1)
    _, objects, valid_size = _make_case(rng)
    objects = objects._replace(
        is_valid=np.ones((2, 6), bool), score=np.full((2, 6), 0.9, np.float32)
    )
    prediction = _postprocess(
        None, [tf.constant(x) for x in objects], tf.constant(valid_size)
    )
    classes = set(np.unique(prediction.semantic))
    assert classes <= {1, 4, CLASSES.ignore_label}
    is_void = prediction.panoptic.numpy() == CLASSES.void_id
    np.testing.assert_array_equal(
        is_void, prediction.semantic.numpy() == CLASSES.ignore_label
    )
    assert not is_void.all()


def test_numpy_arrays_give_the_same_as_tensors():
    logits, objects, valid_size = _make_case(np.random.default_rng(2))
    expected = _postprocess(
        tf.constant(logits),
        [tf.constant(x) for x in objects],
        tf.constant(valid_size),
    )
    boxes, category, *others = objects
    actual = _postprocess(
        logits,
        [boxes.astype(np.float64), category.astype(np.int64), *others],
        valid_size.astype(np.int64),
    )
    for some, other in zip(actual, expected, strict=True):
        np.testing.assert_array_equal(some, other)


def test_logits_of_other_channels_are_refused():
    logits, objects, valid_size = _make_case(np.random.default_rng(3))
    with pytest.raises(errors.ConfigError, match="4 channels"):
        _postprocess(logits[..., 1:], objects, valid_size)
