# SPDX-License-Identifier: Apache-2.0
"""ADE20K panoptic: 150 classes of ADEChallengeData2016, 100 of them things.

The published files are label images: `annotations/` has 1 to 150 and 0 for
other things, `annotations_instance/` the instance class (1 to 100) in R and the
number of the instance in G. The field makes a JSON and PNGs of them
(Mask2Former: `datasets/prepare_ade20k_pan_seg.py`); both are read and give the
same labels: stuff first, things over it, pixels of things without an instance
void. deeplab2: `data/build_ade20k_data.py`.
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
    LABEL_IMAGES,
    PANOPTIC_JSON,
    Item,
    Listing,
    PublishedSet,
    Split,
)
from deeplab2_like.recipes.published.labels import SegmentMap

_NUM_CLASSES = 150
_FOLDERS = {"train": "training", "val": "validation"}
_SEMANTIC, _INSTANCE = "annotations", "annotations_instance"
# Ids of things begin behind those of stuff, which are the classes.
_FIRST_THING = 1000


def find_root(root: pathlib.Path) -> pathlib.Path:
    """Returns the folder of the data, given it or the one above it."""
    inner = root / "ADEChallengeData2016"
    return inner if inner.is_dir() else root


def get_instance_path(semantic_path: str) -> str:
    """Returns the path of the instances of an image, given its classes."""
    path = pathlib.PurePath(semantic_path)
    return str(path.parents[2] / _INSTANCE / path.parent.name / path.name)


def read_label_images(
    entry: Entry, descriptor: DatasetDescriptor
) -> SegmentMap:
    """Reads the two label images of an image.

    Args:
        entry: The image, with the path of the image of classes.
        descriptor: The data set: class 0 is void, k the class k of the files,
            and the things are the instance classes in their order.

    Raises:
        errors.DataError: A file cannot be read, or they do not agree.
    """
    path = entry.label_path
    classes_hw = labels.load_grey(path, entry, max_value=_NUM_CLASSES).values
    instance_path = get_instance_path(path)
    coded = pixel_maps.load(instance_path)
    if coded.kind is not Kind.COLOR:
        raise errors.DataError(
            f"Image {entry.name!r}: {instance_path} has {coded.kind.value}, "
            "but must be RGB: R the class of the instance, G its number. "
            "Unpack annotations_instance.tar again."
        )
    if coded.size != classes_hw.shape:
        raise errors.DataError(
            f"Image {entry.name!r}: {path} has {classes_hw.shape[0]} x "
            f"{classes_hw.shape[1]} pixels (height x width), but "
            f"{instance_path} {coded.size[0]} x {coded.size[1]}. Unpack both "
            "archives again."
        )
    is_stuff = np.isin(classes_hw, descriptor.stuff_ids)
    numbers_hw = coded.values >> 8 & 255
    ids_hw = np.where(is_stuff, classes_hw, 0)
    ids_hw = np.where(numbers_hw > 0, _FIRST_THING + numbers_hw, ids_hw)
    things = _find_things(entry, instance_path, coded.values, descriptor)
    categories = descriptor.category_ids
    segments = []
    for number in label_map.number_values(ids_hw)[0].tolist():
        if number >= _FIRST_THING:
            index = things[number - _FIRST_THING]
            segments.append(Segment(number, categories[index]))
        elif number:
            segments.append(Segment(number, categories[number]))
    return SegmentMap(ids_hw, segments)


def _find_things(
    entry: Entry,
    path: str,
    coded_hw: np.ndarray,
    descriptor: DatasetDescriptor,
) -> dict[int, int]:
    """Returns the class index of each instance number."""
    things: dict[int, int] = {}
    for value in label_map.number_values(coded_hw & 0xFFFF)[0].tolist():
        kind, number = value & 255, value >> 8
        if not number:
            continue
        if not 1 <= kind <= len(descriptor.thing_ids):
            raise labels.refuse_numbers(
                entry,
                path,
                [kind],
                f"1 to {len(descriptor.thing_ids)} in R where G is not 0",
            )
        index = descriptor.thing_ids[kind - 1]
        if things.setdefault(number, index) != index:
            names = descriptor.class_names
            raise errors.DataError(
                f"Image {entry.name!r}: instance {number} of {path} is "
                f"{names[things[number]]!r} in some pixels and "
                f"{names[index]!r} in others. Unpack annotations_instance.tar "
                "again."
            )
    return things


def _list_images(listing: Listing) -> list[Item]:
    root = find_root(listing.root)
    place = _FOLDERS[listing.split]
    images = folders.list_files(
        folders.require_folder(
            root, [f"images/{place}"], f"images of split {listing.split!r}"
        ),
        ".jpg",
    )
    found = [
        folders.list_files(
            folders.require_folder(root, [f"{kind}/{place}"], what), ".png"
        )
        for kind, what in (
            (_SEMANTIC, f"classes of split {listing.split!r}"),
            (_INSTANCE, f"instances of split {listing.split!r}"),
        )
    ]
    names = folders.pair(listing, images, found[0])
    folders.pair(listing, images, found[1])
    return folders.make_items(
        listing,
        [
            Entry(name, images[name], found[0][name], prefers_upright=False)
            for name in names
        ],
        read_label_images,
        more_inputs=lambda entry: (get_instance_path(entry.label_path),),
    )


def _list_json(listing: Listing) -> list[Item]:
    root = find_root(listing.root)
    images = folders.require_folder(
        root,
        [f"images/{_FOLDERS[listing.split]}"],
        f"images of split {listing.split!r}",
    )
    path = root / f"ade20k_panoptic_{listing.split}.json"
    panoptic = folders.require_folder(
        root,
        [f"ade20k_panoptic_{listing.split}"],
        f"PNGs of split {listing.split!r}",
    )
    return folders.make_items(
        listing,
        folders.list_json_entries(listing, path, images, panoptic),
        labels.read_panoptic_png,
        more_inputs=lambda _: (str(path),),
    )


def _has_images(root: pathlib.Path, split: str) -> bool:
    place = find_root(root) / _INSTANCE / _FOLDERS[split]
    return next(place.glob("*.png"), None) is not None


def _has_json(root: pathlib.Path, split: str) -> bool:
    return (find_root(root) / f"ade20k_panoptic_{split}.json").is_file()


ADE20K = PublishedSet(
    key="ade20k",
    title="ADE20K panoptic",
    splits=(Split("train", 20210), Split("val", 2000)),
    ways={PANOPTIC_JSON: _list_json, LABEL_IMAGES: _list_images},
    is_there={PANOPTIC_JSON: _has_json, LABEL_IMAGES: _has_images},
    num_shards=1000,
    dataset="ade20k_panoptic",
)
