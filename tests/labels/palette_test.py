# SPDX-License-Identifier: Apache-2.0
import dataclasses

import numpy as np
import pytest

from deeplab2_like.labels import descriptor as descriptor_lib
from deeplab2_like.labels import palette


def _descriptor(colors, num_classes=4, ignore_label=255):
    return descriptor_lib.DatasetDescriptor(
        name="x",
        num_classes=num_classes,
        thing_ids=(2, 3),
        stuff_ids=(0, 1),
        ignore_label=ignore_label,
        label_divisor=1000,
        class_names=tuple("abcd"[:num_classes]),
        colors=colors,
        category_ids=tuple(range(num_classes)),
    )


@pytest.mark.parametrize("size", [0, 1, 7, 19, 134, 300])
def test_a_palette_has_as_many_different_colours_as_asked_for(size):
    colors = palette.make_palette(size)
    assert colors.shape == (size, 3)
    assert len({tuple(color) for color in colors.tolist()}) == size


def test_a_larger_palette_begins_with_the_smaller_one():
    np.testing.assert_array_equal(
        palette.make_palette(40)[:12], palette.make_palette(12)
    )


@pytest.mark.parametrize("size", [8, 19])
def test_colours_differ_for_all_kinds_of_sight(size):
    views = palette._see_as_all(palette.make_palette(size))
    for lab in views:
        distances = np.linalg.norm(lab[:, None] - lab[None], axis=-1)
        distances[np.diag_indices(size)] = np.inf
        # A step of 0.02 in OKLab is about the smallest that one notices.
        assert distances.min() > 0.05


def test_colours_of_the_data_set_are_taken():
    colors = ((1, 2, 3), (4, 5, 6), (7, 8, 9), (10, 11, 12))
    chosen = palette.choose_class_colors(_descriptor(colors))
    np.testing.assert_array_equal(chosen, colors)


def test_classes_of_one_colour_are_drawn_apart():
    colors = ((90, 160, 60), (7, 8, 9), (90, 160, 60), (90, 160, 60))
    chosen = palette.choose_class_colors(_descriptor(colors))
    np.testing.assert_array_equal(chosen[:2], colors[:2])
    assert len({tuple(color) for color in chosen.tolist()}) == 4
    lab = palette._to_lab(palette._to_linear(chosen))
    distances = np.linalg.norm(lab[:, None] - lab[None], axis=-1)
    assert distances[~np.eye(4, dtype=bool)].min() > 0.1
    again = palette.choose_class_colors(_descriptor(colors))
    np.testing.assert_array_equal(chosen, again)


def test_a_class_of_the_colour_of_a_class_that_stands_for_void_keeps_it():
    colors = ((1, 2, 3), (4, 5, 6), (1, 2, 3), (7, 8, 9))
    descriptor = dataclasses.replace(_descriptor(colors), ignore_label=0)
    np.testing.assert_array_equal(
        palette.choose_class_colors(descriptor), colors
    )


def test_missing_colours_are_chosen_and_things_come_first():
    chosen = palette.choose_class_colors(_descriptor(((1, 2, 3), (), (), ())))
    np.testing.assert_array_equal(chosen[0], (1, 2, 3))
    np.testing.assert_array_equal(chosen[2:], palette.make_palette(2))
    whole = palette.choose_class_colors(_descriptor(()))
    assert len({tuple(color) for color in whole.tolist()}) == 4


def test_a_class_that_stands_for_void_has_the_colour_of_void():
    descriptor = dataclasses.replace(_descriptor(()), ignore_label=1)
    chosen = palette.choose_class_colors(descriptor)
    assert tuple(chosen[1].tolist()) == palette.VOID


def test_instances_have_different_shades_of_a_similar_colour():
    base = np.tile(np.array([[0, 114, 178]], np.uint8), (30, 1))
    shades = palette.shade_instances(base, np.arange(1, 31))
    assert len({tuple(color) for color in shades.tolist()}) == 30
    # Blue remains the strongest part.
    assert (shades.argmax(-1) == 2).all()
    steps = np.abs(np.diff(shades.astype(int), axis=0)).max(-1)
    assert steps.min() > 15


@pytest.mark.parametrize("color", [(0, 0, 0), (255, 255, 255), (128, 128, 128)])
def test_grey_classes_have_different_shades_too(color):
    base = np.tile(np.array([color], np.uint8), (12, 1))
    shades = palette.shade_instances(base, np.arange(1, 13))
    assert len({tuple(color) for color in shades.tolist()}) == 12


def test_number_zero_keeps_the_colour_of_the_class():
    base = np.array([[12, 34, 56]], np.uint8)
    np.testing.assert_array_equal(
        palette.shade_instances(base, np.array([0])), base
    )
    none = np.zeros((0, 3), np.uint8)
    assert palette.shade_instances(none, np.zeros(0, int)).shape == (0, 3)
