# SPDX-License-Identifier: Apache-2.0
"""What a check of data warns of."""

import numpy as np
import pytest

from deeplab2_like.data.inspection import facts, findings, summary
from deeplab2_like.data.inspection.collector import (
    MAX_SENTENCES,
    Collector,
    Sentences,
)
from deeplab2_like.labels import descriptor as descriptor_lib

_DATA = descriptor_lib.make(["ground", "sky"], ["tree", "car"])
_VOID = _DATA.void_id
_ALL = [0, 1000, 2001, 3001]


def _collect(images, height=20):
    """Collects (name, split, a row of the label [W], seed of the pixels)."""
    collector = Collector(_DATA, ["train", "val"])
    for key, (name, split, label, seed) in enumerate(images):
        random = np.random.default_rng(seed)
        pixels = random.integers(0, 256, (24, 24, 3), np.uint8)
        label_hw = None
        if label is not None:
            label_hw = np.array([label] * height)
        found = facts.measure(pixels, label_hw, _DATA.label_divisor)
        collector.add(name, split, key, found)
    return collector


def _list(images=None, collector=None, **more):
    if images is None and collector is None:
        images = [("a", 0, _ALL, 1), ("b", 1, _ALL, 2)]
    collector = collector or _collect(images)
    equal, near = summary.find_twins(collector)
    return findings.list_findings(
        findings.Evidence(collector, equal, near, **more)
    )


def _titles(found):
    return [f"{one.level}: {one.title}" for one in found]


def test_data_of_all_classes_have_no_finding():
    assert _list() == ()


def test_classes_that_do_not_occur_are_named():
    (one,) = _list([("a", 0, [0, 2001], 1), ("b", 1, [0, 2001], 2)])
    assert one.title == "2 of 4 classes do not occur."
    assert one.examples == ("sky", "car")
    assert "learns nothing about them" in one.advice


def test_classes_of_one_split_only_are_named_with_what_it_means():
    train, val = _list([("a", 0, _ALL[:2], 1), ("b", 1, _ALL[2:], 2)])
    assert train.title == "2 classes do not occur in train but elsewhere."
    assert "scored as 0" in train.advice
    assert train.examples == ("tree", "car")
    assert val.title == "2 classes do not occur in val but elsewhere."
    assert val.examples == ("ground", "sky")


def test_a_sample_does_not_show_that_a_class_is_missing():
    assert _list([("a", 0, [0], 1)], is_sample=True) == ()


def test_rare_classes_are_noted_where_there_are_many_images():
    images = [(str(i), 0, _ALL if i < 2 else [0, 1000], i) for i in range(10)]
    (one,) = _list(images)
    assert one.level == "note"
    assert one.examples == ("tree (2)", "car (2)")


@pytest.mark.parametrize(("most", "is_warned"), [(255, False), (256, True)])
def test_more_instances_than_raw_predictions_hold_are_named(most, is_warned):
    label = [0, 1000, 3001, *range(2001, 2001 + most)]
    found = _list([("a", 0, label, 1)])
    titles = [t for t in _titles(found) if "instances of one class" in t]
    assert bool(titles) == is_warned
    if titles:
        assert "An image has 256 instances of one class" in titles[0]
        assert "three_channel_png" in titles[0]


def test_the_same_image_in_two_splits_is_a_warning():
    found = _list([("a", 0, _ALL, 1), ("b", 1, _ALL, 1), ("c", 0, _ALL, 2)])
    (one,) = found
    assert one.level == "warning"
    assert one.title == (
        "1 image of a split occurs in an earlier split, too (the same pixels)."
    )
    assert one.examples == ("b (val) and a (train)",)
    assert "scores are too high" in one.advice


def test_the_same_image_twice_in_a_split_is_a_warning():
    (one,) = _list([("a", 0, _ALL, 1), ("b", 0, _ALL, 1), ("c", 1, _ALL, 2)])
    assert one.title.startswith("1 image occurs more than once in a split")


def test_equal_images_with_other_labels_contradict_each_other():
    renumbered = [0, 1000, 2007, 3009]
    (same,) = _list([("a", 0, _ALL, 1), ("b", 0, renumbered, 1)])
    assert same.title.startswith("1 image occurs more than once")
    moved = [0, 1000, 3001, 2001]
    _, other = _list([("a", 0, _ALL, 1), ("b", 0, moved, 1)])
    assert other.level == "warning"
    assert other.title == "1 image occurs again with another label."
    assert other.examples == ("b (train) and a (train)",)


def test_images_without_labeled_pixels_and_of_one_color_are_named():
    collector = _collect([("a", 0, _ALL, 1), ("b", 0, [_VOID], 2)])
    plain = np.full((4, 4, 3), 7, np.uint8)
    collector.add(
        "plain", 0, 2, facts.measure(plain, np.array([_ALL] * 20), 1000)
    )
    void, color = _list(collector=collector)
    assert void.title == "1 image without a labeled pixel."
    assert void.examples == ("b",)
    assert color.title == "1 image of one color only."
    assert color.examples == ("plain",)


def test_names_that_make_trouble_are_warned_of_and_doubled_ones_refused():
    images = [
        (name, 0, _ALL, seed)
        for seed, name in enumerate(["a", "a", "A", "con", "x?"])
    ]
    problem, trouble, alike = _list(images)
    assert problem.level == "problem"
    assert problem.examples == ("a (2 times in train)",)
    assert trouble.examples == (
        "'con' is reserved on Windows",
        "'x?' has ?, which Windows does not allow",
    )
    assert alike.examples == ("a and A",)


def test_of_many_problems_the_first_are_kept_and_all_are_counted():
    problems = Sentences()
    for number in range(MAX_SENTENCES + 5):
        problems.add(f"Image {number} is damaged.")
    (one,) = _list(problems=problems)
    assert one.level == "problem"
    assert one.title == f"{MAX_SENTENCES + 5} problems in files and labels."
    assert len(one.examples) == MAX_SENTENCES
    assert one.count == MAX_SENTENCES + 5


def test_problems_come_first_and_notes_last():
    problems = Sentences()
    problems.add("Image 'x' is damaged.")
    found = _list(
        [("a", 0, [0], 1)],
        problems=problems,
        remarks=["Check: colors.", "Warning: 2 images have no label."],
    )
    assert [one.level for one in found] == [
        "problem",
        "warning",
        "warning",
        "note",
    ]
    assert found[-1].title == "colors."


def test_small_objects_and_crowds_are_noted():
    label = [0, 1000, 2001, 3001, 3000, *[1000] * 100]
    tiny, crowds = _list(collector=_collect([("a", 0, label, 1)], height=1))
    assert tiny.title == ("100 % of the objects have fewer than 16 pixels.")
    assert crowds.title.startswith("1 segments of thing classes are crowds")
