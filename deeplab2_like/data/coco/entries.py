# SPDX-License-Identifier: Apache-2.0
"""Lists the images of a data set in COCO-panoptic layout.

`list_entries` lists the images with their files and segments, after all checks
that need no pixels; `load_entries` also finds out which are turned; `samples`
loads them.
"""

import dataclasses
import logging
import os
from collections import Counter
from collections.abc import Callable, Sequence

from deeplab2_like.labels import coco_json, image_ids, json_values
from deeplab2_like.labels.coco_json import PanopticJson
from deeplab2_like.labels.descriptor import DatasetDescriptor
from deeplab2_like.storage import exif_convention


@dataclasses.dataclass(frozen=True, slots=True)
class Entry:
    """One image of the JSON file.

    Attributes:
        name: File name of the image without extension, and with it where
            images differ in the extension only.
        image_path: Path of the image.
        label_path: Path of the PNG of segment ids; "" without labels.
        size: (height, width) in the JSON; None where it has none.
        segments: `segments_info` of the JSON.
        prefers_upright: Whether the image is turned as its EXIF orientation
            says where the size of its label does not show it.
    """

    name: str
    image_path: str
    label_path: str = ""
    size: tuple[int, int] | None = None
    segments: Sequence[coco_json.Segment] = ()
    prefers_upright: bool = True


def load_json(path: str) -> PanopticJson:
    """Loads the JSON file of a data set.

    Raises:
        errors.DataError: See `coco_json.load`; `images` and `categories` are
            required.
    """
    return coco_json.load(path, ["images", "categories"], ["annotations"])


def _find_list_problems(content: PanopticJson, with_labels: bool) -> list[str]:
    if not content.images:
        return ["`images` is empty."]
    if not with_labels:
        return []
    problems = []
    names = {key: image.file_name for key, image in content.images.items()}
    unknown = [key for key in content.annotations if key not in names]
    if unknown:
        problems.append(
            f"{len(unknown)} annotations are of images that `images` does not"
            f" list: image_id {json_values.summarize(unknown)}."
        )
    bare = [names[key] for key in names if key not in content.annotations]
    if bare:
        problems.append(
            f"{len(bare)} images have no annotation:"
            f" {json_values.summarize(sorted(bare))}. Remove them from"
            " `images`, or write this split without labels."
        )
    return problems


def _find_category_problems(
    content: PanopticJson, descriptor: DatasetDescriptor
) -> list[str]:
    classes = descriptor.class_of_category()
    problems = []
    for category in content.categories.values():
        index = classes.get(category.id)
        if index is None or category.is_thing is None:
            continue
        if category.is_thing != descriptor.is_thing(index):
            kinds = ("stuff", "a thing")
            problems.append(
                f"Category {category.id} ({category.name!r}) is"
                f" {kinds[category.is_thing]} here but class {index}"
                f" ({descriptor.class_names[index]!r}) of data set"
                f" {descriptor.name!r} is {kinds[not category.is_thing]}."
            )
    return problems


def _find_missing(entries: Sequence[Entry]) -> list[str]:
    problems = []
    for kind, paths in (
        ("images", [entry.image_path for entry in entries]),
        ("panoptic PNGs", [entry.label_path for entry in entries]),
    ):
        missing = [path for path in paths if path and not os.path.isfile(path)]
        if missing:
            problems.append(
                f"{len(missing)} of {len(paths)} {kind} do not exist:"
                f" {', '.join(map(repr, missing[:3]))}. Check the folder of"
                f" the {kind}."
            )
    return problems


def _name_images(file_names: Sequence[str]) -> list[str]:
    """Returns names that are unique where the file names are."""
    stems = [os.path.splitext(name)[0] for name in file_names]
    counts = Counter([*stems, *file_names])
    return [
        stem if counts[stem] == 1 else name
        for stem, name in zip(stems, file_names, strict=True)
    ]


def _make_entries(
    content: coco_json.PanopticJson, images_folder: str, panoptic_folder: str
) -> list[Entry]:
    """Pairs images and annotations, in the order of the file."""
    images = list(content.images.values())
    file_names = [
        image_ids.find_photo(images_folder, image.file_name) for image in images
    ]
    names = _name_images(file_names)
    entries = []
    for image, file_name, name in zip(images, file_names, names, strict=True):
        annotation = content.annotations.get(image.id)
        entries.append(
            Entry(
                name=name,
                image_path=os.path.join(images_folder, file_name),
                label_path=os.path.join(panoptic_folder, annotation.file_name)
                if annotation
                else "",
                size=image.size,
                segments=annotation.segments if annotation else (),
            )
        )
    return entries


def list_entries(
    json_path: str,
    images_folder: str,
    panoptic_folder: str,
    descriptor: DatasetDescriptor,
    *,
    with_labels: bool = True,
    warn: Callable[[str], None] | None = None,
) -> list[Entry]:
    """Lists the images and checks that their files exist.

    Args:
        json_path: Path of the COCO-panoptic JSON.
        images_folder: Folder of the `file_name` of each image.
        panoptic_folder: Folder of the `file_name` of each annotation.
        descriptor: The data set; `category_ids` are those of the JSON.
        with_labels: Whether the annotations are read; if not, only `images`
            and `categories` are needed.
        warn: Function that is called with a sentence for each kind of value
            that was left out.

    Returns:
        The images, sorted by name.

    Raises:
        errors.DataError: There are problems, of which it lists the first ten.
    """
    content, problems = coco_json.read(
        json_path,
        ["images", "categories"],
        ["annotations"] if with_labels else [],
    )
    if not problems:
        # With entries left out, images and annotations would not match.
        problems += _find_list_problems(content, with_labels)
    if with_labels:
        problems += _find_category_problems(content, descriptor)
    coco_json.raise_problems(json_path, problems)
    entries = _make_entries(content, images_folder, panoptic_folder)
    problems = _find_missing(entries)
    twice = json_values.find_duplicates(entry.name for entry in entries)
    if twice:
        problems.append(
            f"{len(twice)} images have the same file as another:"
            f" {json_values.summarize(twice)}."
        )
    coco_json.raise_problems(json_path, problems)
    warn = warn or logging.warning
    for sentence in content.warnings:
        warn(sentence)
    return sorted(entries, key=lambda entry: entry.name)


def load_entries(
    json_path: str,
    images_folder: str,
    panoptic_folder: str,
    descriptor: DatasetDescriptor,
    *,
    with_labels: bool = True,
    exif: str = exif_convention.AUTO,
    warn: Callable[[str], None] | None = None,
) -> list[Entry]:
    """Lists the images as `list_entries`, and finds out which are turned.

    Args:
        json_path: See `list_entries`.
        images_folder: See `list_entries`.
        panoptic_folder: See `list_entries`.
        descriptor: See `list_entries`.
        with_labels: See `list_entries`.
        exif: Which photos are turned as their EXIF orientation says; see
            `exif_convention.prefers_upright`.
        warn: See `list_entries`; it is called about photos whose orientation
            is not certain, too.

    Returns:
        The images, sorted by name.

    Raises:
        errors.DataError: See `list_entries`.
    """
    warn = warn or logging.warning
    entries = list_entries(
        json_path,
        images_folder,
        panoptic_folder,
        descriptor,
        with_labels=with_labels,
        warn=warn,
    )
    prefers_upright = exif_convention.prefers_upright(
        [
            exif_convention.Photo(
                entry.name, entry.image_path, entry.label_path, entry.size
            )
            for entry in entries
        ],
        exif,
        warn,
    )
    return [
        dataclasses.replace(entry, prefers_upright=prefers_upright)
        for entry in entries
    ]
