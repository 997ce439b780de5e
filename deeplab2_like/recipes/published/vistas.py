# SPDX-License-Identifier: Apache-2.0
"""Mapillary Vistas 1.2 and 2.0.

The archive of 2021 has both versions, `<split>/v1.2/` and `<split>/v2.0/`; the
older ones have 1.1 or 1.2 without that folder. Labels are a JSON with PNGs of
segment ids, `panoptic/panoptic_20*.json`, or images of
256 * label + instance. Labels are numbered as in config_v*.json, from 0, and
categories of the JSON from 1.
"""

import functools
import pathlib
from collections.abc import Mapping
from typing import Any

from deeplab2_like import errors
from deeplab2_like.data.coco import descriptions
from deeplab2_like.data.coco.entries import Entry
from deeplab2_like.labels import coco_json, json_documents, label_map
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

_FOLDERS = {"train": "training", "val": "validation", "test": "testing"}
_DIVISOR = 256
_NUM_LABELS_V1 = 66
_CONFIG_V2 = "config_v2.0.json"
_MAX_NUMBER = 65535
_TEST = "test"


def _list_places(version: str, split: str, kind: str) -> list[str]:
    """Returns where labels may be, new archive first."""
    place = _FOLDERS[split]
    places = [f"{place}/v{version}/{kind}"]
    if version == "1.2":
        places.append(f"{place}/{kind}")
    return places


def read_instances(
    entry: Entry, descriptor: DatasetDescriptor, *, num_labels: int
) -> SegmentMap:
    """Reads an image of 256 * label + instance.

    Args:
        entry: The image.
        descriptor: The data set; category ids are labels + 1, those that it
            lacks are void.
        num_labels: Labels of the data set.

    Raises:
        errors.DataError: It cannot be read, or has other labels.
    """
    path = entry.label_path
    ids_hw = labels.load_grey(path, entry, max_value=_MAX_NUMBER).values
    numbers = label_map.number_values(ids_hw)[0].tolist()
    unknown = [n for n in numbers if n // _DIVISOR >= num_labels]
    if unknown:
        raise labels.refuse_numbers(
            entry,
            path,
            unknown,
            f"{_DIVISOR} * label + instance with labels 0 to {num_labels - 1}",
        )
    classes = descriptor.class_of_category()
    return SegmentMap(
        ids_hw,
        [
            Segment(number, number // _DIVISOR + 1)
            for number in numbers
            if number // _DIVISOR + 1 in classes
        ],
    )


def _load_labels(root: pathlib.Path) -> list[Mapping[str, Any]]:
    """Loads the list of labels of version 2.0."""
    path = root / _CONFIG_V2
    content = json_documents.load(path, "config of Mapillary Vistas 2.0")
    found = content.get("labels") if isinstance(content, dict) else None
    keys = {"name", "color", "instances", "evaluate"}
    if not isinstance(found, list) or not all(
        isinstance(one, dict) and keys <= {*one} for one in found
    ):
        raise errors.DataError(
            f"{path} has no list `labels` with name, color, instances and "
            "evaluate of each. Unpack the published file again."
        )
    return found


def describe(root: pathlib.Path) -> str:
    """Writes the descriptor of version 2.0 from its own list of labels.

    Labels that are not evaluated are no classes: their pixels are void.

    Args:
        root: Folder of the data set.

    Raises:
        errors.DataError: The list is missing or damaged.
    """
    categories = []
    for place, label in enumerate(_load_labels(root), 1):
        if label["evaluate"]:
            red, green, blue = label["color"]
            categories.append(
                coco_json.Category(
                    place,
                    str(label.get("readable") or label["name"]),
                    is_thing=bool(label["instances"]),
                    color=(int(red), int(green), int(blue)),
                )
            )
    source = str(root / _CONFIG_V2)
    ordered, _ = descriptions.order_categories(categories, source)
    return descriptions.write_description(
        ordered, "mapillary_vistas_v2", most=_DIVISOR, source=source
    )


def _count_labels(version: str, root: pathlib.Path) -> int:
    return _NUM_LABELS_V1 if version == "1.2" else len(_load_labels(root))


def _find_images(listing: Listing) -> dict[str, str]:
    place = f"{_FOLDERS[listing.split]}/images"
    folder = folders.require_folder(
        listing.root, [place], f"images of split {listing.split!r}"
    )
    return folders.list_files(folder, ".jpg")


def _list_images(version: str, listing: Listing) -> list[Item]:
    images = _find_images(listing)
    if listing.split == _TEST:
        return folders.make_bare_items(listing, images, images)
    folder = folders.require_folder(
        listing.root,
        _list_places(version, listing.split, "instances"),
        f"instances of split {listing.split!r}",
    )
    found = folders.list_files(folder, ".png")
    return folders.make_items(
        listing,
        [
            Entry(name, images[name], found[name], prefers_upright=False)
            for name in folders.pair(listing, images, found)
        ],
        functools.partial(
            read_instances, num_labels=_count_labels(version, listing.root)
        ),
    )


def _find_json(
    version: str, root: pathlib.Path, split: str
) -> pathlib.Path | None:
    for place in _list_places(version, split, "panoptic"):
        found = sorted((root / place).glob("panoptic_20*.json"))
        if found:
            return found[0]
    return None


def _list_json(version: str, listing: Listing) -> list[Item]:
    if listing.split == _TEST:
        return _list_images(version, listing)
    path = _find_json(version, listing.root, listing.split)
    if path is None:
        places = _list_places(version, listing.split, "panoptic")
        raise errors.DataError(
            f"{listing.root} has no panoptic_20*.json in "
            f"{' or '.join(places)}. Give the folder of the data set as "
            "--root, and unpack its archive there."
        )
    images = listing.root / _FOLDERS[listing.split] / "images"
    count = _count_labels(version, listing.root)
    known = listing.descriptor.class_of_category()
    return folders.make_items(
        listing,
        folders.list_json_entries(listing, path, images, path.parent),
        functools.partial(
            labels.read_panoptic_png,
            ignored=frozenset(range(1, count + 1)) - known.keys(),
        ),
        more_inputs=lambda _: (str(path),),
    )


def _has_images(version: str, root: pathlib.Path, split: str) -> bool:
    places = _list_places(version, split, "instances")
    if split == _TEST:
        places = [f"{_FOLDERS[split]}/images"]
    return folders.find_first(root, places) is not None


def _has_json(version: str, root: pathlib.Path, split: str) -> bool:
    return _find_json(version, root, split) is not None


def _make_set(version: str) -> PublishedSet:
    is_old = version == "1.2"
    return PublishedSet(
        key=f"vistas-{version}",
        title=f"Mapillary Vistas {version}",
        splits=(
            Split("train", 18000),
            Split("val", 2000),
            Split(_TEST, 5000, has_labels=False, is_default=False),
        ),
        ways={
            PANOPTIC_JSON: functools.partial(_list_json, version),
            LABEL_IMAGES: functools.partial(_list_images, version),
        },
        is_there={
            PANOPTIC_JSON: functools.partial(_has_json, version),
            LABEL_IMAGES: functools.partial(_has_images, version),
        },
        num_shards=1000,
        dataset="mapillary_vistas" if is_old else "",
        describe=None if is_old else describe,
    )


VISTAS_1_2, VISTAS_2_0 = _make_set("1.2"), _make_set("2.0")
