# SPDX-License-Identifier: Apache-2.0
"""Cityscapes, fine and coarse, and its images without labels.

The labels are read from `*_instanceIds.png` (cityscapesScripts:
`preparation/json2instanceImg.py`): below 1000 the id of a class, for things a
group of them; else id * 1000 + n, n from 0. Or from the JSON and PNGs that
`preparation/createPanopticImgs.py` makes of them, whose rules are the same
here: classes that are not scored become void, groups become crowds.
"""

import dataclasses
import functools
import pathlib

import numpy as np

from deeplab2_like.data.coco.entries import Entry
from deeplab2_like.labels import label_map
from deeplab2_like.labels.coco_json_types import Segment
from deeplab2_like.labels.descriptor import DatasetDescriptor
from deeplab2_like.recipes.published import folders, labels
from deeplab2_like.recipes.published.items import (
    LABEL_IMAGES,
    PANOPTIC_JSON,
    Item,
    Listing,
    PublishedSet,
    Split,
)
from deeplab2_like.recipes.published.labels import SegmentMap

_DATASET = "cityscapes_panoptic"
_IMAGE_ENDING = "_leftImg8bit.png"
_DIVISOR = 1000
# Ids of the 34 labels that are drawn; the license plate, -1, is not.
_NUM_IDS = 34
_MAX_NUMBER = 65535
FINE, COARSE = "gtFine", "gtCoarse"
# Splits whose labels are not published (there are dummies for `test`).
_UNLABELED = {FINE: ("test", "train_extra"), COARSE: ("test",)}


def read_instance_ids(
    entry: Entry, descriptor: DatasetDescriptor
) -> SegmentMap:
    """Reads `*_instanceIds.png`.

    Args:
        entry: The image.
        descriptor: The data set.

    Raises:
        errors.DataError: It cannot be read, or has numbers of no label.
    """
    path = entry.label_path
    ids_hw = labels.load_grey(path, entry, max_value=_MAX_NUMBER).values
    numbers = label_map.number_values(ids_hw)[0].tolist()
    is_thing = dict(
        zip(
            descriptor.category_ids,
            map(descriptor.is_thing, range(descriptor.num_classes)),
            strict=True,
        )
    )
    unknown = []
    segments = []
    for number in numbers:
        category = number // _DIVISOR if number >= _DIVISOR else number
        if category >= _NUM_IDS:
            unknown.append(number)
        elif category in is_thing:
            is_crowd = is_thing[category] and number < _DIVISOR
            # 0 is no id of a segment, and the label "unlabeled" here.
            segments.append(Segment(number, category, is_crowd=is_crowd))
    if unknown:
        raise labels.refuse_numbers(
            entry,
            path,
            unknown,
            f"0 to {_NUM_IDS - 1}, and id * {_DIVISOR} + n for things",
        )
    return SegmentMap(np.asarray(ids_hw), segments)


def _find_images(listing: Listing) -> dict[str, str]:
    """Returns the paths of the images by name, such as aachen_000000_000019."""
    split = listing.split
    candidates = [f"leftImg8bit/{split}"]
    if split == "train_extra":
        candidates.append(f"leftImg8bit_trainextra/leftImg8bit/{split}")
    folder = folders.require_folder(
        listing.root, candidates, f"images of split {split!r}"
    )
    return _drop_city(folders.list_files(folder, _IMAGE_ENDING))


def _drop_city(paths: dict[str, str]) -> dict[str, str]:
    """Returns paths by name without the folder of the city, in that order."""
    return {key.rsplit("/", 1)[-1]: path for key, path in paths.items()}


def _list_images(kind: str, listing: Listing) -> list[Item]:
    """Lists images with their `*_instanceIds.png`."""
    images = _find_images(listing)
    if listing.split in _UNLABELED[kind]:
        return folders.make_bare_items(listing, images, images)
    folder = folders.require_folder(
        listing.root,
        [f"{kind}/{listing.split}"],
        f"labels of split {listing.split!r}",
    )
    found = _drop_city(folders.list_files(folder, f"_{kind}_instanceIds.png"))
    return folders.make_items(
        listing,
        [
            Entry(name, images[name], found[name], prefers_upright=False)
            for name in folders.pair(listing, images, found)
        ],
        read_instance_ids,
    )


def _find_json(root: pathlib.Path, split: str) -> pathlib.Path | None:
    """Finds the JSON file of createPanopticImgs, in either of its forms."""
    return folders.find_first(
        root,
        [
            f"{folder}cityscapes_panoptic_{split}{ending}.json"
            for folder in ("gtFine/", "")
            for ending in ("", "_trainId")
        ],
    )


def _list_json(listing: Listing) -> list[Item]:
    """Lists the images of the JSON file of createPanopticImgs."""
    if listing.split in _UNLABELED[FINE]:
        return _list_images(FINE, listing)
    path = _find_json(listing.root, listing.split)
    if path is None:
        path = (
            listing.root
            / "gtFine"
            / (f"cityscapes_panoptic_{listing.split}.json")
        )
    if path.stem.endswith("_trainId"):
        # Written with --use-train-id: categories are class indices.
        descriptor = dataclasses.replace(
            listing.descriptor,
            category_ids=tuple(range(listing.descriptor.num_classes)),
        )
        listing = dataclasses.replace(listing, descriptor=descriptor)
    images = folders.require_folder(
        listing.root,
        [f"leftImg8bit/{listing.split}"],
        f"images of split {listing.split!r}",
    )
    return folders.make_json_items(
        listing, path, images, path.with_suffix(""), _name_image
    )


def _name_image(name: str) -> str:
    base = name.rsplit("/", 1)[-1]
    return base.removesuffix(_IMAGE_ENDING.removesuffix(".png"))


def _has_labels(kind: str, root: pathlib.Path, split: str) -> bool:
    if split in _UNLABELED[kind]:
        return (root / "leftImg8bit").is_dir()
    folder = root / kind / split
    return next(folder.glob(f"*/*_{kind}_instanceIds.png"), None) is not None


def _has_json(root: pathlib.Path, split: str) -> bool:
    return _find_json(root, split) is not None


CITYSCAPES = PublishedSet(
    key="cityscapes",
    title="Cityscapes, fine labels",
    splits=(
        Split("train", 2975),
        Split("val", 500),
        Split("test", 1525, has_labels=False, is_default=False),
        Split("train_extra", 19998, has_labels=False, is_default=False),
    ),
    ways={
        LABEL_IMAGES: functools.partial(_list_images, FINE),
        PANOPTIC_JSON: _list_json,
    },
    is_there={
        LABEL_IMAGES: functools.partial(_has_labels, FINE),
        PANOPTIC_JSON: _has_json,
    },
    num_shards=10,
    dataset=_DATASET,
)

CITYSCAPES_COARSE = PublishedSet(
    key="cityscapes-coarse",
    title="Cityscapes, coarse labels",
    splits=(
        Split("train", 2975),
        Split("train_extra", 19998),
        Split("val", 500),
    ),
    ways={LABEL_IMAGES: functools.partial(_list_images, COARSE)},
    is_there={LABEL_IMAGES: functools.partial(_has_labels, COARSE)},
    num_shards=10,
    dataset=_DATASET,
)
