# SPDX-License-Identifier: Apache-2.0
"""BDD100K panoptic: 40 classes, labels as RGBA bitmasks.

R is the class, 1 to 40; G has bits: 1 ignored, 2 crowd, 4 occluded, 8
truncated; B and A are the high and low byte of the number of the object, from
1, which stuff has, too. As the toolkit does (bdd100k:
`label/to_coco_panseg.py`), things that are crowds or ignored are crowds, pixels
without a number are void, and stuff of a class is one segment. Differences:
stuff that is ignored is void here, where the toolkit lets the first object of a
class decide for all of it.
"""

import pathlib

import numpy as np

from deeplab2_like import errors
from deeplab2_like.data.coco.entries import Entry
from deeplab2_like.labels import label_map, pixel_maps
from deeplab2_like.labels.coco_json_types import Segment
from deeplab2_like.labels.descriptor import DatasetDescriptor
from deeplab2_like.labels.pixel_maps import Kind
from deeplab2_like.recipes.published import folders, labels
from deeplab2_like.recipes.published.items import (
    BITMASKS,
    Item,
    Listing,
    PublishedSet,
    Split,
)
from deeplab2_like.recipes.published.labels import SegmentMap

_IGNORED, _CROWD = 1, 2
_TEST = "test"


def find_root(root: pathlib.Path) -> pathlib.Path:
    """Returns the folder of the data, given it or the one above it."""
    inner = root / "bdd100k"
    return inner if inner.is_dir() else root


def read_bitmask(entry: Entry, descriptor: DatasetDescriptor) -> SegmentMap:
    """Reads a bitmask.

    Args:
        entry: The image.
        descriptor: The data set.

    Raises:
        errors.DataError: It cannot be read, has other classes, or an object of
            several classes.
    """
    path = entry.label_path
    pixels = pixel_maps.load(path)
    if pixels.kind is not Kind.FOUR_CHANNELS:
        raise errors.DataError(
            f"Image {entry.name!r}: the label {path} has {pixels.kind.value}, "
            "but must have four channels. Give the folder with "
            "labels/pan_seg/bitmasks, not that of the colormaps."
        )
    codes, place = label_map.number_values(pixels.values)
    categories, attributes = codes & 255, codes >> 8 & 255
    numbers = (codes >> 16 & 255) * 256 + (codes >> 24 & 255)
    classes = descriptor.class_of_category()
    unknown = sorted({*categories.tolist()} - {0} - classes.keys())
    if unknown:
        raise labels.refuse_numbers(
            entry, path, unknown, f"0 to {max(classes)} in R"
        )
    seen: dict[int, tuple[int, int]] = {}
    segments = []
    ids = np.zeros(len(codes), np.int64)
    order = np.argsort(numbers, kind="stable")
    for index in order.tolist():
        category, number = int(categories[index]), int(numbers[index])
        if not category or not number:
            continue
        facts = category, int(attributes[index])
        if seen.setdefault(number, facts) != facts:
            raise errors.DataError(
                f"Image {entry.name!r}: object {number} of {path} has several "
                "classes or attributes. Unpack the published file again."
            )
        is_thing = descriptor.is_thing(classes[category])
        if facts[1] & _IGNORED and not is_thing:
            continue
        ids[index] = number
        is_crowd = is_thing and bool(facts[1] & (_IGNORED | _CROWD))
        segments.append(Segment(number, category, is_crowd=is_crowd))
    return SegmentMap(ids[place], segments)


def _list_images(listing: Listing) -> list[Item]:
    root, split = find_root(listing.root), listing.split
    images = folders.list_files(
        folders.require_folder(
            root, [f"images/10k/{split}"], f"images of split {split!r}"
        ),
        ".jpg",
    )
    if split == _TEST:
        return folders.make_bare_items(listing, images, images)
    place = folders.require_folder(
        root,
        [f"labels/pan_seg/bitmasks/{split}"],
        f"bitmasks of split {split!r}",
    )
    found = folders.list_files(place, ".png")
    return folders.make_items(
        listing,
        [
            Entry(name, images[name], found[name], prefers_upright=False)
            for name in folders.pair(listing, images, found)
        ],
        read_bitmask,
    )


def _has_bitmasks(root: pathlib.Path, split: str) -> bool:
    place = find_root(root) / "labels" / "pan_seg" / "bitmasks" / split
    return split == _TEST or place.is_dir()


BDD100K = PublishedSet(
    key="bdd100k",
    title="BDD100K panoptic",
    splits=(
        Split("train", 7000),
        Split("val", 1000),
        Split(_TEST, 2000, has_labels=False, is_default=False),
    ),
    ways={BITMASKS: _list_images},
    is_there={BITMASKS: _has_bitmasks},
    num_shards=100,
    dataset="bdd100k_panoptic",
)
