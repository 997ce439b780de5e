# SPDX-License-Identifier: Apache-2.0
"""COCO 2017 panoptic: 133 classes, ids 1 to 200 with gaps.

The PNGs of segment ids come as archives inside of
panoptic_annotations_trainval2017.zip. deeplab2: `data/build_coco_data.py`.
"""

import pathlib

from deeplab2_like.recipes.published import folders
from deeplab2_like.recipes.published.items import (
    PANOPTIC_JSON,
    Item,
    Listing,
    PublishedSet,
    Split,
)

_TEST = "test"


def _list_json(listing: Listing) -> list[Item]:
    split = listing.split
    images = folders.require_folder(
        listing.root,
        [f"{split}2017", f"images/{split}2017"],
        f"images of split {split!r}",
    )
    if split == _TEST:
        found = folders.list_files(images, ".jpg")
        return folders.make_bare_items(listing, found, found)
    path = listing.root / "annotations" / f"panoptic_{split}2017.json"
    panoptic = folders.require_folder(
        listing.root,
        [f"annotations/panoptic_{split}2017", f"panoptic_{split}2017"],
        f"PNGs of split {split!r}",
    )
    return folders.make_json_items(listing, path, images, panoptic)


def _has_json(root: pathlib.Path, split: str) -> bool:
    if split == _TEST:
        return True
    return (root / "annotations" / f"panoptic_{split}2017.json").is_file()


COCO = PublishedSet(
    key="coco",
    title="COCO 2017 panoptic",
    splits=(
        Split("train", 118287),
        Split("val", 5000),
        Split(_TEST, 40670, has_labels=False, is_default=False),
    ),
    ways={PANOPTIC_JSON: _list_json},
    is_there={PANOPTIC_JSON: _has_json},
    num_shards=1000,
    dataset="coco_panoptic",
)
