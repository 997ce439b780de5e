# SPDX-License-Identifier: Apache-2.0
"""Which images a report shows, and what it says about them."""

import numpy as np

from deeplab2_like.data.inspection import facts, findings, summary
from deeplab2_like.data.inspection.collector import Collector
from deeplab2_like.labels import descriptor as descriptor_lib
from deeplab2_like.recipes.inspection import samples

_DATA = descriptor_lib.make(["ground", "sky"], ["tree", "car"])


def _collect(labels):
    collector = Collector(_DATA, ["train", "val"])
    for key, label in enumerate(labels):
        random = np.random.default_rng(key)
        pixels = random.integers(0, 256, (*label.shape, 3), np.uint8)
        found = facts.measure(pixels, label, 1000)
        collector.add(f"image {key}", key % 2, key, found)
    equal, near = summary.find_twins(collector)
    return findings.Evidence(collector, equal, near)


def _fill(*values):
    return np.repeat(np.array(values), 10)[None].repeat(10, 0)


def test_images_that_need_attention_come_first_with_the_reason():
    labels = [_fill(0, 1000)] * 20
    labels[7] = _fill(255000)
    labels[11] = _fill(255000, 255000, 0)
    labels[12] = _fill(0, 3001)
    labels[13] = _fill(*range(2001, 2010))
    chosen = samples.choose(_collect(labels), 10)
    assert chosen[:4] == [
        (7, "no labeled pixel"),
        (11, "67 % void"),
        (13, "rare class: tree, in 1 of 20 images"),
        (12, "rare class: car, in 1 of 20 images"),
    ]
    assert len(chosen) == 10
    assert len({row for row, _ in chosen}) == 10
    assert [reason for _, reason in chosen[4:]] == [""] * 6


def test_few_images_are_all_shown():
    chosen = samples.choose(_collect([_fill(0)] * 3), 24)
    assert sorted(row for row, _ in chosen) == [0, 1, 2]


def test_a_label_is_described_in_words():
    label = _fill(0, 0, 1000, 2000, 2001, 2002, 3001, 255000)
    assert samples.describe(label, _DATA) == (
        "2 tree, 1 car, 1 crowd of tree; ground, sky; 12 % void"
    )
    assert samples.describe(_fill(255000), _DATA) == "100 % void"


def test_pictures_are_drawn_with_and_without_labels():
    labels = [_fill(0, 2001)] * 2
    evidence = _collect(labels)
    image = np.zeros((10, 20, 3), np.uint8)

    def load(key):
        return image, labels[key] if key else None

    drawn, colors = samples.draw(evidence, load, 24)
    by_name = {one.name: one for one in drawn}
    bare, labeled = by_name["image 0"], by_name["image 1"]
    assert [p.title for p in bare.pictures] == ["image"]
    assert bare.content == "no label"
    assert [p.title for p in labeled.pictures] == ["image", "label"]
    assert labeled.content == "1 tree; ground"
    assert [name for name, _ in colors] == ["ground", "tree"]
