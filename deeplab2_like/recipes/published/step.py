# SPDX-License-Identifier: Apache-2.0
"""KITTI-STEP and MOTChallenge-STEP: videos, read frame by frame.

The PNGs of `panoptic_maps/` have the class in R, 255 for void, and the number
of the track in G and B, 256 * G + B. Numbers stay as they are, since they are
those of tracks; things without one are crowds. deeplab2:
`data/build_step_data.py`.
"""

import functools
import pathlib
from collections import Counter

import numpy as np

from deeplab2_like import errors
from deeplab2_like.data.coco import samples as coco_samples
from deeplab2_like.data.coco.entries import Entry
from deeplab2_like.data.coco.samples import Sample
from deeplab2_like.labels import label_map, pixel_maps
from deeplab2_like.labels.descriptor import DatasetDescriptor
from deeplab2_like.labels.pixel_maps import Kind
from deeplab2_like.recipes.published import folders, labels
from deeplab2_like.recipes.published.items import (
    LABEL_IMAGES,
    Item,
    Listing,
    PublishedSet,
    Split,
)

_VOID = 255
_TEST = "test"
_ENDINGS = (".png", ".jpg")
# Of the 21 labeled sequences of KITTI these are for evaluation.
KITTI_VAL = (2, 6, 7, 8, 10, 13, 14, 16, 18)
_KITTI_IMAGES = {"train": "training", "val": "training", _TEST: "testing"}


def load_frame(
    entry: Entry,
    descriptor: DatasetDescriptor,
    *,
    treat_crowd_as_ignore: bool = False,
) -> Sample:
    """Loads a frame and its label.

    Args:
        entry: The frame; its name in messages.
        descriptor: The data set.
        treat_crowd_as_ignore: Whether crowds become void.

    Raises:
        errors.DataError: A file cannot be read, or has other numbers.
    """
    panoptic, instances, num_crowds = _read_label(
        entry, descriptor, treat_crowd_as_ignore
    )
    image = coco_samples.load_image(entry, panoptic.shape)
    coco_samples.check_sizes(
        entry, {"the image": image.size, "the label": panoptic.shape}
    )
    return image.with_label(
        entry.name.rsplit("/", 1)[-1], panoptic, instances, num_crowds
    )


def _read_label(
    entry: Entry, descriptor: DatasetDescriptor, drops_crowds: bool
) -> tuple[np.ndarray, Counter[int], int]:
    pixels = pixel_maps.load(entry.label_path)
    if pixels.kind is not Kind.COLOR:
        raise errors.DataError(
            f"Image {entry.name!r}: the label {entry.label_path} has "
            f"{pixels.kind.value}, but must be RGB: R the class, 256 * G + B "
            "the number of the track."
        )
    codes, place = label_map.number_values(pixels.values)
    classes = codes & 255
    tracks = (codes >> 8 & 255) * 256 + (codes >> 16 & 255)
    is_void = classes == _VOID
    unknown = classes[~is_void & (classes >= descriptor.num_classes)]
    if len(unknown):
        raise labels.refuse_numbers(
            entry,
            entry.label_path,
            unknown.tolist(),
            f"0 to {descriptor.num_classes - 1} and {_VOID} in R",
        )
    if tracks.max(initial=0) >= descriptor.label_divisor:
        raise errors.DataError(
            f"Image {entry.name!r}: the label {entry.label_path} has the track "
            f"{tracks.max()}, but label_divisor {descriptor.label_divisor} of "
            f"data set {descriptor.name!r} allows "
            f"{descriptor.label_divisor - 1}. Unpack the published file again."
        )
    is_thing = np.isin(classes, descriptor.thing_ids)
    is_crowd = is_thing & (tracks == 0)
    values = classes * descriptor.label_divisor + np.where(is_thing, tracks, 0)
    if drops_crowds:
        is_void = is_void | is_crowd
    values[is_void] = descriptor.void_id
    instances = Counter(classes[is_thing & (tracks > 0)].tolist())
    return values[place].astype(np.int32), instances, int(is_crowd.sum())


def _list_frames(listing: Listing, *, is_kitti: bool) -> list[Item]:
    split = listing.split
    candidates = [f"images/{split}"]
    if is_kitti:
        candidates.append(f"{_KITTI_IMAGES[split]}/image_02")
    folder = folders.require_folder(
        listing.root, candidates, f"images of split {split!r}"
    )
    images = _list_paths(folder, _ENDINGS)
    if is_kitti and split != _TEST and folder.name == "image_02":
        images = {
            key: path
            for key, path in images.items()
            if _is_val(key) == (split == "val")
        }
    if split == _TEST:
        folders.pair(listing, images, images)
        return [
            _make_item(
                key,
                (path,),
                functools.partial(_load_bare, key, path, listing.descriptor),
            )
            for key, path in images.items()
        ]
    place = folders.require_folder(
        listing.root, [f"panoptic_maps/{split}"], f"labels of split {split!r}"
    )
    found = _list_paths(place, (".png",))
    return [
        _make_item(
            key,
            (images[key], found[key]),
            functools.partial(
                load_frame,
                Entry(
                    f"{key}{pathlib.Path(images[key]).suffix}",
                    images[key],
                    found[key],
                    prefers_upright=False,
                ),
                listing.descriptor,
                treat_crowd_as_ignore=listing.treat_crowd_as_ignore,
            ),
        )
        for key in folders.pair(listing, images, found)
    ]


def _list_paths(
    folder: pathlib.Path, endings: tuple[str, ...]
) -> dict[str, str]:
    """Returns frames in folders of sequences by "sequence/frame"."""
    found = folders.list_files(folder, endings)
    return {key: path for key, path in found.items() if key.count("/") == 1}


def _is_val(key: str) -> bool:
    sequence = key.split("/")[0]
    return sequence.isdigit() and int(sequence) in KITTI_VAL


def _load_bare(key: str, path: str, descriptor: DatasetDescriptor) -> Sample:
    name = f"{key.split('/')[1]}{pathlib.Path(path).suffix}"
    return coco_samples.load_sample(
        Entry(name, path, prefers_upright=False), descriptor
    )


def _make_item(
    key: str, inputs: tuple[str, ...], load: functools.partial[Sample]
) -> Item:
    sequence, frame = key.split("/")
    name = f"{frame}{pathlib.Path(inputs[0]).suffix}"
    return Item(name, load, inputs, sequence)


def _has_maps(root: pathlib.Path, split: str) -> bool:
    return split == _TEST or (root / "panoptic_maps" / split).is_dir()


def _make_set(
    key: str, title: str, counts: tuple[int, int, int], *, is_kitti: bool
) -> PublishedSet:
    train, val, test = counts
    return PublishedSet(
        key=key,
        title=title,
        splits=(
            Split("train", train),
            Split("val", val),
            Split(_TEST, test, has_labels=False, is_default=False),
        ),
        ways={LABEL_IMAGES: functools.partial(_list_frames, is_kitti=is_kitti)},
        is_there={LABEL_IMAGES: _has_maps},
        num_shards=10,
        dataset=key.replace("-", "_"),
    )


KITTI_STEP = _make_set(
    "kitti-step", "KITTI-STEP", (5027, 2981, 11095), is_kitti=True
)
MOTCHALLENGE_STEP = _make_set(
    "motchallenge-step", "MOTChallenge-STEP", (525, 600, 0), is_kitti=False
)
