# SPDX-License-Identifier: Apache-2.0
"""Finds the files of published data sets, and pairs images with labels."""

import dataclasses
import functools
import os
import pathlib
from collections.abc import Callable, Iterable, Mapping, Sequence

from deeplab2_like import errors
from deeplab2_like.data.coco import entries as coco_entries
from deeplab2_like.data.coco import samples as coco_samples
from deeplab2_like.data.coco.entries import Entry
from deeplab2_like.labels import json_values
from deeplab2_like.recipes.published import labels as labels_lib
from deeplab2_like.recipes.published.items import Item, Listing


def find_first(
    root: pathlib.Path, candidates: Iterable[str]
) -> pathlib.Path | None:
    """Returns the first of some paths below a folder that exists."""
    for candidate in candidates:
        if (root / candidate).exists():
            return root / candidate
    return None


def require_folder(
    root: pathlib.Path, candidates: Sequence[str], what: str
) -> pathlib.Path:
    """Returns the first of some folders that exists.

    Args:
        root: Folder of the data set.
        candidates: Paths below it.
        what: What the folder has, such as "images of split 'val'".

    Raises:
        errors.DataError: There is none; the text says so where an archive of
            its name is there.
    """
    found = find_first(root, candidates)
    if found is not None and found.is_dir():
        return found
    looked = " or ".join(candidates)
    for candidate in candidates:
        archive = root / f"{candidate}.zip"
        if archive.is_file():
            raise errors.DataError(
                f"The {what} are not unpacked: there is {archive}, but no "
                f"folder {candidate}. Unpack it there."
            )
    raise errors.DataError(
        f"{root} has no folder of the {what}: looked for {looked}. Give the "
        "folder of the data set as --root, and unpack its archives there; "
        "--split names the splits to write."
    )


def list_files(
    folder: pathlib.Path, ending: str | tuple[str, ...]
) -> dict[str, str]:
    """Lists the files of a folder and the folders in it.

    Args:
        folder: The folder.
        ending: How the names of the files end.

    Returns:
        The paths by the path below the folder without the ending, with "/",
        sorted.
    """
    endings = (ending,) if isinstance(ending, str) else ending
    found = {}
    for place, inner, names in os.walk(folder, followlinks=True):
        inner[:] = [name for name in inner if not name.startswith(".")]
        relative = os.path.relpath(place, folder).replace(os.sep, "/")
        for name in names:
            match = next((e for e in endings if name.endswith(e)), None)
            if match is not None and not name.startswith("."):
                stem = name[: -len(match)]
                key = stem if relative == "." else f"{relative}/{stem}"
                found[key] = os.path.join(place, name)
    return dict(sorted(found.items()))


def pair(
    listing: Listing,
    images: Mapping[str, str],
    labels: Mapping[str, str],
) -> list[str]:
    """Returns the keys of the images that have a label, in their order.

    Args:
        listing: What is asked for.
        images: Paths of the images by key.
        labels: Paths of the labels by key.

    Raises:
        errors.DataError: There is no image, or one without label.
    """
    if not images:
        raise errors.DataError(
            f"Split {listing.split!r} has no image below {listing.root}. "
            "Unpack the archive of the images there."
        )
    bare = [key for key in images if key not in labels]
    if bare:
        raise errors.DataError(
            f"Split {listing.split!r}: {len(bare)} of {len(images)} images "
            f"have no label: {json_values.summarize(bare)}. Unpack the "
            "archive of the labels, or remove the images."
        )
    lone = [key for key in labels if key not in images]
    if lone:
        listing.warn(
            f"Split {listing.split!r}: {len(lone)} labels have no image and "
            f"are left out: {json_values.summarize(lone)}."
        )
    return list(images)


def make_items(
    listing: Listing,
    entries: Iterable[Entry],
    read_label: labels_lib.ReadLabel,
    *,
    more_inputs: Callable[[Entry], tuple[str, ...]] = lambda _: (),
) -> list[Item]:
    """Makes the items of images with labels.

    Args:
        listing: What is asked for.
        entries: The images.
        read_label: Function that reads the label of each.
        more_inputs: Function from an image to further files that its label
            depends on.
    """
    return [
        Item(
            entry.name,
            functools.partial(
                labels_lib.load_sample,
                entry,
                listing.descriptor,
                read_label,
                treat_crowd_as_ignore=listing.treat_crowd_as_ignore,
            ),
            (entry.image_path, entry.label_path, *more_inputs(entry)),
        )
        for entry in entries
    ]


def make_bare_items(
    listing: Listing, images: Mapping[str, str], names: Iterable[str]
) -> list[Item]:
    """Makes the items of images without labels.

    Args:
        listing: What is asked for.
        images: Paths of the images.
        names: Their names.

    Raises:
        errors.DataError: There is no image.
    """
    pair(listing, images, images)
    return [
        Item(
            name,
            functools.partial(
                coco_samples.load_sample,
                Entry(name, path, prefers_upright=False),
                listing.descriptor,
            ),
            (path,),
        )
        for name, path in zip(names, images.values(), strict=True)
    ]


def list_json_entries(
    listing: Listing,
    json_path: pathlib.Path,
    images: pathlib.Path,
    panoptic: pathlib.Path,
    name_image: Callable[[str], str] = lambda name: name,
) -> list[Entry]:
    """Lists the images of a COCO-panoptic JSON file.

    Labels of published sets were drawn on the pixels that the files store.

    Args:
        listing: What is asked for.
        json_path: The file.
        images: Folder of the images.
        panoptic: Folder of the PNGs.
        name_image: Function from the name of an entry to that of its record.

    Raises:
        errors.DataError: See `entries.load_entries`.
    """
    entries = coco_entries.list_entries(
        str(json_path),
        str(images),
        str(panoptic),
        listing.descriptor,
        warn=listing.warn,
    )
    renamed = [
        dataclasses.replace(
            entry, name=name_image(entry.name), prefers_upright=False
        )
        for entry in entries
    ]
    return sorted(renamed, key=lambda entry: entry.name)


def make_json_items(
    listing: Listing,
    json_path: pathlib.Path,
    images: pathlib.Path,
    panoptic: pathlib.Path,
    name_image: Callable[[str], str] = lambda name: name,
) -> list[Item]:
    """Makes the items of a COCO-panoptic JSON file that is read as it is.

    Args:
        listing: What is asked for.
        json_path: The file.
        images: Folder of the images.
        panoptic: Folder of the PNGs.
        name_image: See `list_json_entries`, also for errors.
    """
    return [
        Item(
            entry.name,
            functools.partial(
                coco_samples.load_sample,
                entry,
                listing.descriptor,
                treat_crowd_as_ignore=listing.treat_crowd_as_ignore,
            ),
            (entry.image_path, entry.label_path, str(json_path)),
        )
        for entry in list_json_entries(
            listing, json_path, images, panoptic, name_image
        )
    ]
