# SPDX-License-Identifier: Apache-2.0
"""Fusion of masks and class logits, against a twin in NumPy."""

import functools

import numpy as np
import pytest
import tensorflow as tf

from deeplab2_like.postprocess import options as options_lib
from deeplab2_like.postprocess.masks import (
    fusion,
    fusion_masks,
    pasting,
    sampling,
)
from deeplab2_like.postprocess.pixels import semantic

SIZE = (70, 90)
NUM_STUFF = 3


def _interpolate(values, places, axis):
    places = np.clip(places, 0, values.shape[axis] - 1)
    lower = np.floor(places).astype(int)
    upper = np.minimum(lower + 1, values.shape[axis] - 1)
    shape = [1] * values.ndim
    shape[axis] = -1
    fraction = (places - lower).reshape(shape)
    a, b = np.take(values, lower, axis), np.take(values, upper, axis)
    return a + fraction * (b - a)


def _enlarge_logits(logits):
    """Enlarges maps to SIZE with aligned corners."""
    for axis, side in enumerate(SIZE):
        step = (logits.shape[axis] - 1) / (side - 1)
        logits = _interpolate(logits, np.arange(side) * step, axis)
    return logits


def _draw(mask, frame):
    """Returns the logits of a mask at each pixel of the image."""
    for axis in (0, 1):
        start, end = frame[axis], frame[axis + 2]
        scale = mask.shape[axis] / (end - start if end > start else 1.0)
        center = np.arange(SIZE[axis]) + 0.5
        mask = _interpolate(mask, (center - start) * scale - 0.5, axis)
    return mask


def _mark_box(box, valid_size):
    y, x = np.indices(SIZE) + 0.5
    inside = (y >= box[0]) & (x >= box[1]) & (y <= box[2]) & (x <= box[3])
    return inside & (y < valid_size[0]) & (x < valid_size[1])


def _sigmoid(x):
    return 1.0 / (1.0 + np.exp(-x))


def _fuse_twin(case, rules):
    """Fuses whole maps in float64; also returns where rounding is harmless."""
    full = _enlarge_logits(case["logits"].astype(np.float64))
    best = full[..., :NUM_STUFF].max(axis=-1)
    owner = np.zeros(SIZE, int)
    occupied = np.zeros(SIZE, bool)
    is_kept = np.zeros(len(case["score"]), bool)
    is_sure = np.ones(SIZE, bool)
    for index in np.argsort(-case["score"], kind="stable"):
        if case["score"][index] < rules.score_threshold:
            break
        a = _draw(
            case["masks"][index].astype(np.float64), case["frames"][index]
        )
        inside = _mark_box(case["boxes"][index], case["valid_size"])
        mask = inside & (a > 1e-5)
        area, taken = mask.sum(), (mask & occupied).sum()
        if area == 0 or taken / area > rules.overlap_threshold:
            continue
        occupied |= mask
        is_kept[index] = True
        a = a * rules.mask_logit_scale
        b = full[..., case["channel"][index]]
        claim = (_sigmoid(a) + _sigmoid(b)) * (a + b)
        is_sure &= ~inside | (np.abs(claim - best) > 1e-3)
        is_won = inside & (claim > best)
        owner[is_won], best[is_won] = index + 1, claim[is_won]
    return owner, is_kept, is_sure


RULES = options_lib.FusionRules()


def _fuse(mode, rules=RULES, reach=None, size=SIZE):
    def fuse(case):
        masks = fusion_masks.FusionMasks(
            case["masks"],
            case["frames"],
            case["boxes"],
            case["channel"],
            case["score"],
            reach,
        )
        best = semantic.compute_largest(
            case["logits"][..., :NUM_STUFF], size, case["valid_size"][0]
        )
        return fusion.fuse_masks(
            masks, case["logits"], best, case["valid_size"], rules
        )

    if mode == "eager":
        return fuse
    return tf.function(fuse, jit_compile=mode == "xla", autograph=False)


# Compiled once for all tests with these arguments.
_fuse_as_usual = functools.cache(_fuse)


def _to_tensors(case):
    return {name: tf.constant(value) for name, value in case.items()}


@pytest.mark.parametrize(
    "count", [50, pytest.param(500, marks=pytest.mark.slow)]
)
@pytest.mark.parametrize(
    ("options", "few_tiles"),
    [({}, 16), ({"mask_logit_scale": 4.0, "overlap_threshold": 0.3}, 0)],
)
def test_many_cases_equal_the_twin(
    options, few_tiles, count, monkeypatch, make_fusion_case
):
    # With 0, bounds of tiles are computed for all masks.
    monkeypatch.setattr(fusion, "_FEW_TILES", few_tiles)
    rules = options_lib.FusionRules(**options)
    fuse = _fuse("xla", rules)
    rng = np.random.default_rng(0)
    unsure = 0
    for _ in range(count):
        case = make_fusion_case(rng)
        placed = fuse(_to_tensors(case))
        owner, is_kept, is_sure = _fuse_twin(case, rules)
        np.testing.assert_array_equal(placed.is_kept, is_kept)
        is_sure &= _mark_box([0, 0, *SIZE], case["valid_size"])
        actual = placed.instance.numpy()
        np.testing.assert_array_equal(actual[is_sure], owner[is_sure])
        unsure += np.sum(~is_sure & (actual != owner))
    assert unsure < 5 * count  # of 6300 pixels in each case


def _make_blobs(rng, size, number=6):
    """Makes masks that fill or leave out many tiles; some values are NaN."""
    place = np.linspace(-1.0, 1.0, 12)
    distance = np.abs(place[:, np.newaxis]) ** 3 + np.abs(place) ** 3
    masks = 8.0 * (rng.uniform(0.2, 1.5, (number, 1, 1)) - distance)
    masks += rng.normal(0.0, 0.3, masks.shape)
    boxes = np.sort(rng.uniform(-20, np.max(size), (number, 2, 2)), axis=1)
    boxes = boxes.reshape(number, 4)
    boxes[0] = [0, 0, *size]
    logits = rng.normal(-1.0, 1.0, (9, 12, 5))
    logits[:, :, 3] += np.linspace(-6.0, 6.0, 12)
    if rng.random() < 0.5:
        for values in (masks, logits):
            some = rng.random(values.shape) < 0.02
            values[some] = rng.choice([np.nan, np.inf, -np.inf], some.sum())
    valid_size = size if rng.random() < 0.5 else rng.integers(1, size)
    case = {
        "masks": masks,
        "frames": boxes,
        "boxes": boxes,
        "score": rng.uniform(0.5, 1.0, number),
        "logits": logits,
    }
    return {name: value.astype(np.float32) for name, value in case.items()} | {
        "channel": rng.integers(NUM_STUFF, 5, number).astype(np.int32),
        "valid_size": np.array(valid_size, np.int32),
    }


@pytest.mark.slow
@pytest.mark.parametrize("options", [{}, {"zero_outside": True}])
def test_to_look_at_bounds_first_changes_nothing(options, monkeypatch):
    size = (150, 270)
    for module in (fusion, pasting, sampling):
        monkeypatch.setattr(module, "TILE", 16)
    rules = options_lib.FusionRules(mask_logit_scale=2.0, **options)
    rng = np.random.default_rng(5)
    cases = [_to_tensors(_make_blobs(rng, size)) for _ in range(30)]
    results = []
    for few_tiles in (0, 10**6):
        monkeypatch.setattr(fusion, "_FEW_TILES", few_tiles)
        fuse = _fuse("xla", rules, size=size)
        results.append([fuse(case) for case in cases])
    kept = 0
    for one, other in zip(*results, strict=True):
        np.testing.assert_array_equal(one.instance, other.instance)
        np.testing.assert_array_equal(one.is_kept, other.is_kept)
        kept += np.sum(one.is_kept)
    assert kept > 60


@pytest.mark.slow
def test_modes_agree_bit_by_bit(make_fusion_case):
    fuses = [_fuse_as_usual(mode) for mode in ("eager", "graph", "xla")]
    rng = np.random.default_rng(1)
    for _ in range(2):
        case = _to_tensors(make_fusion_case(rng))
        results = [fuse(case) for fuse in fuses]
        for other in results[1:]:
            np.testing.assert_array_equal(other.instance, results[0].instance)
            np.testing.assert_array_equal(other.is_kept, results[0].is_kept)


@pytest.mark.slow
def test_masks_of_the_whole_image_need_only_a_window(make_fusion_case):
    """Reading a part of a large mask gives the same as reading all of it."""
    rng = np.random.default_rng(2)
    case = make_fusion_case(rng)
    case["masks"] = rng.normal(0, 3, (7, 18, 23)).astype(np.float32)
    case["frames"][:] = [-1.5, -1.5, 4 * 18 - 1.5, 4 * 23 - 1.5]
    case = _to_tensors(case)
    whole = _fuse_as_usual("graph")(case)
    window = _fuse("graph", reach=64 // 4 + 2)(case)
    assert len(np.unique(whole.instance)) > 2
    np.testing.assert_array_equal(whole.instance, window.instance)


@pytest.mark.parametrize("stuff_logit", [-5.0, 5.0])
def test_an_instance_does_not_leave_its_box(stuff_logit, make_one_object):
    case = _to_tensors(make_one_object(8.0, 8.0, stuff_logit))
    instance = _fuse_as_usual("graph")(case).instance.numpy()
    expected = np.zeros(SIZE, int)
    expected[10:40, 20:60] = 1
    np.testing.assert_array_equal(instance, expected)


def test_masks_that_are_zero_outside_win_there_from_negative_stuff(
    make_one_object,
):
    fuse = _fuse("graph", options_lib.FusionRules(zero_outside=True))
    instance = fuse(_to_tensors(make_one_object(8.0, 8.0, -5.0))).instance
    np.testing.assert_array_equal(instance, 1)
    instance = fuse(_to_tensors(make_one_object(8.0, 8.0, 5.0))).instance
    assert np.sum(instance) == 30 * 40


def test_mask_and_class_have_to_agree(make_one_object):
    for mask_logit, class_logit, is_won in (
        (3.0, 3.0, True),
        (3.0, -3.0, False),  # no more than nothing: 0 is below 1
        (9.0, -1.0, True),
    ):
        case = _to_tensors(make_one_object(mask_logit, class_logit, 1.0))
        placed = _fuse_as_usual("graph")(case)
        assert placed.is_kept[0]
        assert (placed.instance.numpy().max() == 1) == is_won


def test_an_empty_mask_is_left_out(make_one_object):
    case = _to_tensors(make_one_object(-1.0, 30.0, 0.0))
    placed = _fuse_as_usual("graph")(case)
    assert not placed.is_kept[0]
    assert placed.instance.numpy().max() == 0


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_numbers_that_are_none_do_no_harm(value, make_one_object):
    for name in ("masks", "boxes", "logits"):
        case = make_one_object(3.0, 3.0, 0.0)
        case[name].flat[1] = value
        case = _to_tensors(case)
        results = [_fuse_as_usual(mode)(case) for mode in ("graph", "xla")]
        np.testing.assert_array_equal(results[0].instance, results[1].instance)
        assert results[0].instance.numpy().min() >= 0


def test_sizes_that_are_unknown_give_the_same(make_fusion_case):
    rng = np.random.default_rng(4)
    case = _to_tensors(make_fusion_case(rng))
    expected = _fuse_as_usual("graph")(case)
    signature = {
        name: tf.TensorSpec(
            [None, None, 5] if name == "logits" else value.shape, value.dtype
        )
        for name, value in case.items()
    }
    unknown = tf.function(
        lambda case, size: _fuse("eager", size=tf.unstack(size, 2))(case),
        input_signature=[signature, tf.TensorSpec([2], tf.int32)],
        autograph=False,
    )
    actual = unknown(case, tf.constant(SIZE))
    np.testing.assert_array_equal(actual.instance, expected.instance)
