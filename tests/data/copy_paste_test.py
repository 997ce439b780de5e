# SPDX-License-Identifier: Apache-2.0
import functools

import numpy as np
import pytest
import tensorflow as tf

from deeplab2_like.data import copy_paste

STUFF, VOID = 0, 255
THINGS = (2, 3, 5)
SIZE = (14, 18)


def draw_label(seed, divisor, count=12):
    """Draws rectangles of stuff, void, crowds and things with any number."""
    generator = np.random.default_rng(seed)
    label = np.full(SIZE, STUFF * divisor, np.int32)
    for _ in range(count):
        kind = generator.choice([STUFF, 1, VOID, *THINGS, *THINGS, *THINGS])
        number = 0
        if kind in THINGS:
            number = generator.integers(0, divisor)
        y, x = generator.integers(0, [SIZE[0] - 1, SIZE[1] - 1])
        h, w = generator.integers(1, 8, 2)
        label[y : y + h, x : x + w] = kind * divisor + number
    return label


def draw_pair(seed, divisor):
    """Returns base and source; no two pixels of them have the same color."""
    labels = draw_label(2 * seed, divisor), draw_label(2 * seed + 1, divisor)
    colors = np.arange(2 * 3 * np.prod(SIZE), dtype=np.float32)
    images = colors.reshape(2, *SIZE, 3)
    return (images[0], labels[0]), (images[1], labels[1])


def is_instance(ids, divisor):
    return np.isin(ids // divisor, THINGS) & (ids % divisor > 0)


def list_instances(label, divisor):
    ids = np.unique(label)
    return ids[is_instance(ids, divisor)]


def paste_in_numpy(base, source, chosen, divisor):
    image, label = base[0].copy(), base[1].copy()
    used = set(np.unique(base[1]).tolist())
    for key in chosen:
        first = key // divisor * divisor
        free = [n for n in range(1, divisor) if first + n not in used]
        if free:
            used.add(first + free[0])
            mask = source[1] == key
            image[mask] = source[0][mask]
            label[mask] = first + free[0]
    return image, label


@functools.cache
def make_function(divisor):
    float_image = tf.TensorSpec([None, None, 3], tf.float32)
    label = tf.TensorSpec([None, None], tf.int32)

    @tf.function(
        input_signature=[
            (float_image, label),
            (float_image, label),
            tf.TensorSpec([None], tf.int32),
        ]
    )
    def paste(base, source, chosen):
        return copy_paste.paste_instances(
            base, source, chosen, thing_ids=THINGS, label_divisor=divisor
        )

    return paste


def paste(base, source, chosen, divisor):
    chosen = np.asarray(chosen, np.int32)
    pasted = make_function(divisor)(base, source, chosen)
    return [tensor.numpy() for tensor in pasted]


@pytest.mark.parametrize("divisor", [2, 4, 7, 1000])
def test_pasting_is_that_of_the_loop_over_instances(divisor):
    pasted_any = left_out_any = 0
    for seed in range(40):
        base, source = draw_pair(seed, divisor)
        chosen = list_instances(source[1], divisor)
        np.random.default_rng(seed).shuffle(chosen)
        chosen = chosen[: seed % (len(chosen) + 1)]
        image, label = paste(base, source, chosen, divisor)
        expected = paste_in_numpy(base, source, chosen, divisor)
        np.testing.assert_array_equal(image, expected[0])
        np.testing.assert_array_equal(label, expected[1])
        is_pasted = image[..., 0] != base[0][..., 0]
        pasted_any += is_pasted.any()
        left_out_any += (np.isin(source[1], chosen) & ~is_pasted).any()
    assert pasted_any > 5
    assert bool(left_out_any) == (divisor < 10)


@pytest.mark.parametrize("divisor", [4, 1000])
@pytest.mark.parametrize("seed", range(100, 130))
def test_each_pixel_is_of_the_base_or_of_one_pasted_instance(seed, divisor):
    base, source = draw_pair(seed, divisor)
    chosen = list_instances(source[1], divisor)
    image, label = paste(base, source, chosen, divisor)
    from_base = (image == base[0]).all(-1)
    from_source = (image == source[0]).all(-1)
    assert (from_base ^ from_source).all()
    # What is not covered is as it was: void and crowds too.
    np.testing.assert_array_equal(label[from_base], base[1][from_base])
    # Pasted: instances only, of the same class, with numbers of their own.
    assert is_instance(source[1][from_source], divisor).all()
    assert is_instance(label[from_source], divisor).all()
    np.testing.assert_array_equal(
        label[from_source] // divisor, source[1][from_source] // divisor
    )
    pairs = np.unique(
        np.stack([source[1][from_source], label[from_source]]), axis=1
    )
    old, new = pairs
    assert len(set(old)) == len(set(new)) == pairs.shape[1]
    assert not set(new) & set(np.unique(base[1]))
    # Whole instances only.
    np.testing.assert_array_equal(from_source, np.isin(source[1], old))


def test_an_instance_without_a_free_number_is_left_out():
    base = np.zeros((1, 6), np.int32)
    base[0, :3] = [2 * 4 + 1, 2 * 4 + 2, 2 * 4 + 3]
    source = np.array([[0, 0, 0, 9, 13, 14]], np.int32)
    images = np.zeros((1, 6, 3), np.float32), np.ones((1, 6, 3), np.float32)
    image, label = paste(
        (images[0], base), (images[1], source), [9, 14, 13], divisor=4
    )
    # Class 2 is full; class 3 numbers in the order of the choice.
    np.testing.assert_array_equal(label, [[9, 10, 11, 0, 14, 13]])
    np.testing.assert_array_equal(image[0, :, 0], [0, 0, 0, 0, 1, 1])


def test_what_is_covered_vanishes():
    base = np.array([[2001, 2001, 3002, 255000, 2000, 0]], np.int32)
    source = np.array([[2009, 2009, 2009, 2009, 2009, 2009]], np.int32)
    image = np.zeros((1, 6, 3), np.float32)
    _, label = paste((image, base), (image, source), [2009], divisor=1000)
    np.testing.assert_array_equal(label, np.full((1, 6), 2002))


def choose(label, uniform, seed, divisor=7, most=100):
    options = copy_paste.CopyPaste(1.0, most, THINGS)
    seed = tf.constant([seed, 0], tf.int64)
    uniform = tf.constant(uniform, tf.float32)
    chosen = copy_paste.choose_instances(label, uniform, seed, options, divisor)
    return chosen.numpy().tolist()


def test_a_subset_is_chosen_without_crowds():
    label = draw_label(3, 7, count=20)
    instances = set(list_instances(label, 7).tolist())
    assert len(instances) > 3
    sizes, seen = set(), set()
    for seed in range(60):
        uniform = np.random.default_rng(seed).random()
        chosen = choose(label, uniform, seed)
        assert len(set(chosen)) == len(chosen) > 0
        assert set(chosen) <= instances
        sizes.add(len(chosen))
        seen.update(chosen)
        assert chosen == choose(label, uniform, seed)
    assert sizes == set(range(1, len(instances) + 1))
    assert seen == instances
    assert set(choose(label, 1 - 2**-24, 0)) == instances
    assert len(choose(label, 1 - 2**-24, 0, most=2)) == 2
    assert choose(label, 0.4, 0) != choose(label, 0.4, 1)


def test_an_image_without_instances_gives_none():
    label = np.array([[0, 7, 14, 255 * 7]], np.int32)  # 14: a crowd.
    assert choose(label, 0.9, 0) == []
    image = np.zeros((1, 4, 3), np.float32)
    pasted = paste((image, label), (image + 1, label), [], divisor=7)
    np.testing.assert_array_equal(pasted[0], image)
    np.testing.assert_array_equal(pasted[1], label)


@pytest.mark.parametrize("probability", [0.25, 1.0])
def test_things_are_pasted_with_the_probability(probability):
    base, source = draw_pair(5, 1000)
    options = copy_paste.CopyPaste(probability, 100, THINGS)
    for uniform in np.linspace(0, 0.99, 12):
        image, label = copy_paste.paste_at_random(
            tuple(map(tf.constant, base)),
            tuple(map(tf.constant, source)),
            tf.constant([uniform, 0.5], tf.float32),
            tf.constant([1, 2], tf.int64),
            options=options,
            label_divisor=1000,
        )
        is_changed = (image.numpy() != base[0]).any()
        assert is_changed == (uniform < probability)
        assert (label.numpy() != base[1]).any() == is_changed


def test_nothing_is_active_without_probability_or_things():
    assert not copy_paste.CopyPaste().is_active
    assert not copy_paste.CopyPaste(0.5).is_active
    assert not copy_paste.CopyPaste(0.0, 5, THINGS).is_active
    assert copy_paste.CopyPaste(0.5, 5, THINGS).is_active
