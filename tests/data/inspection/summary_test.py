# SPDX-License-Identifier: Apache-2.0
"""The numbers of a report are those of the labels."""

import numpy as np

from deeplab2_like.data.inspection import facts, findings, summary
from deeplab2_like.data.inspection.collector import Collector
from deeplab2_like.labels import descriptor as descriptor_lib

_DATA = descriptor_lib.make(["ground", "sky"], ["tree", "car"])


def _draw(seed):
    """Draws a label with void, crowds, stuff and instances."""
    random = np.random.default_rng(seed)
    label = np.full((30, 40), 1000 * random.integers(0, 2))
    for _ in range(12):
        y, x = random.integers(0, 30), random.integers(0, 40)
        height, width = random.integers(1, 20, 2)
        index = random.choice([0, 1, 2, 3, 255])
        number = random.integers(0, 5) if index in (2, 3) else 0
        label[y : y + height, x : x + width] = index * 1000 + number
    return label


def _summarize(labels, splits):
    collector = Collector(_DATA, ["train", "val"])
    random = np.random.default_rng(0)
    for key, (label, split) in enumerate(zip(labels, splits, strict=True)):
        pixels = random.integers(0, 256, (*label.shape, 3), np.uint8)
        found = facts.measure(pixels, label, 1000)
        collector.add(f"image {key}", split, key, found)
    equal, near = summary.find_twins(collector)
    evidence = findings.Evidence(collector, equal, near)
    return summary.summarize(evidence, "drawn", "Drawn.", len(labels))


def test_counts_are_those_of_the_pixels():
    labels = [_draw(seed) for seed in range(20)]
    splits = [int(seed % 3 == 0) for seed in range(20)]
    found = _summarize(labels, splits)
    for number, split in enumerate(found.splits):
        mine = [
            label
            for label, s in zip(labels, splits, strict=True)
            if s == number
        ]
        assert split.images == len(mine)
        assert split.pixels == sum(label.size for label in mine)
        assert split.void_pixels == sum((m == 255000).sum() for m in mine)
        for index, one in enumerate(found.classes):
            assert one.name == _DATA.class_names[index]
            masks = [label // 1000 == index for label in mine]
            assert one.pixels[number] == sum(mask.sum() for mask in masks)
            assert one.images[number] == sum(mask.any() for mask in masks)
            ids = [
                {*label[mask].tolist()}
                for label, mask in zip(mine, masks, strict=True)
            ]
            crowds = sum(1000 * index in one for one in ids)
            if one.is_thing:
                assert one.crowds[number] == crowds
                total = sum(map(len, ids))
                assert one.instances[number] == total - crowds
            else:
                assert one.crowds[number] == one.instances[number] == 0
    assert found.num_good == found.num_images == 20
    assert sum(n * c for n, c in found.instances_per_image) == (
        found.num_instances
    )
    assert sum(c for _, _, c in found.instance_sides) == found.num_instances
    assert found.sizes == ((30, 40, 20),)


def test_sides_of_objects_are_counted_by_powers_of_two():
    label = np.zeros((40, 40), int)
    label[0, 0] = 2001
    label[2:4, 0:2] = 2002
    label[5:9, 0:4] = 2003
    label[10:18, 0:8] = 2004
    label[20, 0:15] = 2005
    found = _summarize([label], [0])
    assert found.instance_sides == ((1, 2, 1), (2, 4, 2), (4, 8, 1), (8, 16, 1))


def test_images_without_labels_have_sizes_only():
    collector = Collector(_DATA, ["records"])
    collector.add("a", 0, 0, facts.ImageFacts((4, 5), 1))
    equal, near = summary.find_twins(collector)
    evidence = findings.Evidence(collector, equal, near)
    found = summary.summarize(evidence, "x", "X.", 1)
    assert not found.has_labels
    assert found.classes == found.instance_sides == ()
    assert found.findings == ()
    assert found.sizes == ((4, 5, 1),)
