# SPDX-License-Identifier: Apache-2.0
"""Chooses images to look at, and draws them."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from deeplab2_like import errors
from deeplab2_like.data.inspection import texts
from deeplab2_like.data.inspection.collector import Collector
from deeplab2_like.data.inspection.findings import Evidence
from deeplab2_like.labels import label_map
from deeplab2_like.labels.descriptor import DatasetDescriptor
from deeplab2_like.recipes.inspection.checked import LoadImage
from deeplab2_like.reports.data_check import SampleImage
from deeplab2_like.reports.report import Picture
from deeplab2_like.visualize import page_pictures, visualizer

NUM_SAMPLES = 24
# Images that are shown for one reason.
_PAIRS = 3
_OF_A_KIND = 2
_RARE_CLASSES = 4
_MUCH_VOID = 0.5
_MAX_CLASSES = 8

Color = tuple[int, int, int]


def choose(
    evidence: Evidence, count: int = NUM_SAMPLES
) -> list[tuple[int, str]]:
    """Chooses images, those that need attention first.

    Args:
        evidence: What was found.
        count: Most images.

    Returns:
        Place of each image in the collector, and why it is shown.
    """
    chosen: dict[int, str] = {}
    collector = evidence.collector
    for row, reason in _list_candidates(evidence):
        if len(chosen) < count:
            chosen.setdefault(row, reason)
    total = len(collector.names)
    left = min(count, total) - len(chosen)
    if left > 0:
        others = np.setdiff1d(np.arange(total), [*chosen])
        step = len(others) / left
        for number in range(left):
            row = int(others[int((number + 0.5) * step)])
            chosen[row] = ""
    return [*chosen.items()]


def _list_candidates(evidence: Evidence) -> Iterator[tuple[int, str]]:
    collector = evidence.collector
    names = collector.names
    for pairs, words in (
        (evidence.equal.between, "equal to"),
        (evidence.near.between, "nearly like"),
    ):
        for pair in pairs[:_PAIRS].tolist():
            for row, other in (pair, pair[::-1]):
                yield row, f"{words} {names[other]} of another split"
    for pair in evidence.equal.within[:1].tolist():
        for row, other in (pair, pair[::-1]):
            yield row, f"equal to {names[other]}"
    void = collector.void_shares
    for row in np.flatnonzero(void >= 1)[:_OF_A_KIND].tolist():
        yield row, "no labeled pixel"
    for row in np.flatnonzero(collector.is_uniform)[:_OF_A_KIND].tolist():
        yield row, "one color only"
    for row in np.argsort(-void, kind="stable")[:_OF_A_KIND].tolist():
        if void[row] > _MUCH_VOID:
            yield row, f"{100 * void[row]:.0f} % void"
    yield from _list_rare(collector)
    counts = collector.instance_counts
    for row in np.argsort(-counts, kind="stable")[:_OF_A_KIND].tolist():
        if counts[row]:
            yield row, f"most objects: {counts[row]}"
    for pair in evidence.near.within[:1].tolist():
        for row, other in (pair, pair[::-1]):
            yield row, f"nearly like {names[other]}"


def _list_rare(collector: Collector) -> Iterator[tuple[int, str]]:
    data = collector.descriptor
    images = collector.images.sum(0)
    present = np.flatnonzero(images)
    rare = present[np.argsort(images[present], kind="stable")]
    total = sum(collector.num_images)
    for index in rare[:_RARE_CLASSES].tolist():
        if images[index] * 2 > total:
            return
        for split in range(len(collector.splits)):
            for row in collector.holders.get((split, index), [])[:1]:
                yield (
                    row,
                    f"rare class: {data.class_names[index]}, in "
                    f"{images[index]} of {total} images",
                )


def draw(
    evidence: Evidence, load: LoadImage, count: int = NUM_SAMPLES
) -> tuple[list[SampleImage], list[tuple[str, Color]]]:
    """Draws the chosen images.

    Args:
        evidence: What was found.
        load: Function that loads an image; see `checked.Checked`.
        count: Most images.

    Returns:
        The images, and name and color of the classes in their pictures.
    """
    collector = evidence.collector
    data = collector.descriptor
    keys, splits = collector.keys, collector.image_splits
    samples = []
    colors: dict[str, Color] = {}
    for row, reason in choose(evidence, count):
        try:
            image_hw3, label_hw = load(int(keys[row]))
        except errors.DataError:
            continue  # It has changed since it was checked.
        pictures, found = draw_pictures(image_hw3, label_hw, data)
        colors |= found
        samples.append(
            SampleImage(
                texts.make_writable(collector.names[row]),
                texts.make_writable(collector.splits[splits[row]]),
                texts.make_writable(reason),
                texts.make_writable(describe(label_hw, data)),
                pictures,
            )
        )
    order = {name: index for index, name in enumerate(data.class_names)}
    listed = sorted(
        colors.items(), key=lambda item: order.get(item[0], len(order))
    )
    return samples, [(texts.make_writable(one), rgb) for one, rgb in listed]


def draw_pictures(
    image_hw3: npt.NDArray[np.uint8],
    label_hw: npt.NDArray[Any] | None,
    descriptor: DatasetDescriptor,
) -> tuple[list[Picture], dict[str, Color]]:
    """Draws an image and its label.

    Args:
        image_hw3: uint8 [H, W, 3], RGB.
        label_hw: Integers [H, W], class * label_divisor + instance; None
            without a label.
        descriptor: The data set.

    Returns:
        The pictures, and the color of each class in them.
    """
    if label_hw is None:
        picture = Image.fromarray(image_hw3)
        picture.thumbnail((page_pictures.PANEL_SIZE,) * 2)
        return [page_pictures.encode("image", picture)], {}
    panels, entries = visualizer.draw_panels(
        image_hw3,
        label_hw,
        None,
        descriptor,
        alpha=0.6,
        panel_size=page_pictures.PANEL_SIZE,
    )
    pictures = [
        page_pictures.encode(title, picture)
        for title, (_, picture) in zip(("image", "label"), panels, strict=True)
    ]
    return pictures, {
        entry.name: entry.color for entry in entries if entry.color is not None
    }


def describe(
    label_hw: npt.NDArray[Any] | None, descriptor: DatasetDescriptor
) -> str:
    """Describes a label: "3 car, 1 crowd of person; sky, road; 5 % void".

    Args:
        label_hw: Integers [H, W], class * label_divisor + instance; None
            without a label.
        descriptor: The data set.
    """
    if label_hw is None:
        return "no label"
    found = label_map.compute_segments(label_hw)
    classes, instances = np.divmod(found.ids, descriptor.label_divisor)
    areas: Counter[int] = Counter()
    things: Counter[int] = Counter()
    crowds: Counter[int] = Counter()
    for index, number, area in zip(
        classes.tolist(), instances.tolist(), found.areas.tolist(), strict=True
    ):
        areas[index] += area
        if descriptor.is_thing(index):
            (things if number else crowds)[index] += 1
    void = areas.pop(descriptor.ignore_label, 0)
    names = descriptor.class_names
    counted = [f"{n} {names[i]}" for i, n in things.most_common()]
    counted += [f"{n} crowd of {names[i]}" for i, n in crowds.most_common()]
    stuff = [
        names[i] for i, _ in areas.most_common() if not descriptor.is_thing(i)
    ]
    parts = [_join(counted), _join(stuff)]
    if void:
        share = 100 * void / label_hw.size
        parts.append(f"{share:.0f} % void" if share >= 1 else "< 1 % void")
    return "; ".join(filter(None, parts)) or "nothing"


def _join(texts: list[str]) -> str:
    shown = ", ".join(texts[:_MAX_CLASSES])
    more = len(texts) - _MAX_CLASSES
    return f"{shown} and {more} more" if more > 0 else shown
