# SPDX-License-Identifier: Apache-2.0
"""Reads the JSON file of a data set in COCO-panoptic layout.

`load_entries` lists the images with their files and segments, after all checks
that need no pixels; `samples` loads them.
"""

import dataclasses
import json
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from deeplab2_like import errors
from deeplab2_like.labels.descriptor import DatasetDescriptor

MAX_PROBLEMS = 10

_LAYOUT = (
    "A COCO-panoptic JSON has `images` (id, file_name, height, width),"
    " `annotations` (one an image: image_id, file_name of the PNG,"
    " segments_info) and `categories`."
)


@dataclasses.dataclass(frozen=True)
class Entry:
    """One image of the JSON file.

    Attributes:
        name: File name of the image without extension, unique.
        image_path: Path of the image.
        label_path: Path of the PNG of segment ids; "" without labels.
        size: (height, width) in the JSON; None where it has none.
        segments: `segments_info` of the JSON.
    """

    name: str
    image_path: str
    label_path: str = ""
    size: tuple[int, int] | None = None
    segments: Sequence[dict[str, Any]] = ()


def summarize_names(names: Iterable[Any], limit: int = 3) -> str:
    """Returns the first few names and how many more there are, as text."""
    names = list(names)
    shown = ", ".join(repr(name) for name in names[:limit])
    more = len(names) - limit
    return f"{shown} and {more} more" if more > 0 else shown


def load_json(path: str) -> dict[str, Any]:
    """Loads a COCO-panoptic JSON file and checks which lists it contains.

    Raises:
        errors.DataError: The file is missing, not JSON, or of another kind.
    """
    try:
        with open(path, encoding="utf-8") as stream:
            content = json.load(stream)
    except OSError as error:
        raise errors.DataError(
            f"Cannot read the JSON file {path!r}: {error.strerror}."
        ) from error
    except json.JSONDecodeError as error:
        raise errors.DataError(
            f"{path}:{error.lineno}:{error.colno}: not JSON ({error.msg}). It"
            " may be cut off: write or download it again."
        ) from error
    except UnicodeDecodeError as error:
        raise errors.DataError(
            f"{path!r} is not a text file. Give the COCO-panoptic JSON file."
        ) from error
    keys = ("images", "categories")
    missing = [
        key
        for key in keys
        if not isinstance(content, dict)
        or not isinstance(content.get(key), list)
    ]
    if missing:
        raise errors.DataError(
            f"{path!r} has no list {' and no list '.join(missing)}. {_LAYOUT}"
        )
    for annotation in content.get("annotations", [])[:1]:
        if "segments_info" not in annotation and (
            "segmentation" in annotation or "bbox" in annotation
        ):
            raise errors.DataError(
                f"{path!r} is a COCO instances (detection) JSON: each of its"
                " annotations is one object. Needed is the panoptic JSON of the"
                f" data set (panoptic_*.json). {_LAYOUT}"
            )
    return content


def find_duplicates(values: Iterable[Any]) -> list[Any]:
    """Finds the values that occur more than once."""
    return [value for value, n in Counter(values).items() if n > 1]


def _find_json_problems(
    content: dict[str, Any], descriptor: DatasetDescriptor, with_labels: bool
) -> list[str]:
    images = content["images"]
    for key in ("id", "file_name"):
        missing = sum(key not in image for image in images)
        if missing:
            return [f"{missing} entries of `images` have no {key!r}."]
    problems = []
    for key in ("id", "file_name"):
        twice = find_duplicates(image[key] for image in images)
        if twice:
            problems.append(
                f"{len(twice)} images have the same {key} as another:"
                f" {summarize_names(twice)}."
            )
    if not images:
        problems.append("`images` is empty.")
    if not with_labels:
        return problems
    annotations = content.get("annotations", [])
    for key in ("image_id", "file_name", "segments_info"):
        missing = sum(key not in annotation for annotation in annotations)
        if missing:
            return [*problems, f"{missing} annotations have no {key!r}."]
    annotated = [annotation["image_id"] for annotation in annotations]
    twice = find_duplicates(annotated)
    if twice:
        problems.append(
            f"{len(twice)} images have more than one annotation: image_id"
            f" {summarize_names(twice)}. All segments of an image belong in"
            " one."
        )
    names = {image["id"]: image["file_name"] for image in images}
    unknown = [key for key in annotated if key not in names]
    if unknown:
        problems.append(
            f"{len(unknown)} annotations are of images that `images` does not"
            f" list: image_id {summarize_names(unknown)}."
        )
    bare = [names[key] for key in names.keys() - set(annotated)]
    if bare:
        problems.append(
            f"{len(bare)} images have no annotation:"
            f" {summarize_names(sorted(bare))}. Remove them from `images`, or"
            " write this split without labels."
        )
    return problems + _find_category_problems(content, descriptor)


def _find_category_problems(
    content: dict[str, Any], descriptor: DatasetDescriptor
) -> list[str]:
    classes = descriptor.class_of_category()
    problems = []
    for category in content["categories"]:
        index = classes.get(category.get("id"))
        is_thing = category.get("isthing")
        if index is None or is_thing is None:
            continue
        if bool(is_thing) != descriptor.is_thing(index):
            kinds = ("stuff", "a thing")
            problems.append(
                f"Category {category['id']} ({category.get('name')!r}) is"
                f" {kinds[bool(is_thing)]} here but class {index}"
                f" ({descriptor.class_names[index]!r}) of data set"
                f" {descriptor.name!r} is {kinds[not is_thing]}."
            )
    return problems


def raise_problems(path: str, problems: Sequence[str]) -> None:
    """Raises one `errors.DataError` that lists all problems, if any.

    Args:
        path: What cannot be used, for the message.
        problems: One sentence for each problem.
    """
    if not problems:
        return
    shown = [f"  {problem}" for problem in problems[:MAX_PROBLEMS]]
    if len(problems) > MAX_PROBLEMS:
        shown.append(f"  ... and {len(problems) - MAX_PROBLEMS} more.")
    raise errors.DataError("\n".join([f"{path}: cannot be used.", *shown]))


def _find_missing(entries: Sequence[Entry]) -> list[str]:
    problems = []
    for kind, paths in (
        ("images", [entry.image_path for entry in entries]),
        ("panoptic PNGs", [entry.label_path for entry in entries]),
    ):
        missing = [path for path in paths if path and not os.path.exists(path)]
        if missing:
            problems.append(
                f"{len(missing)} of {len(paths)} {kind} do not exist:"
                f" {summarize_names(missing)}. Check the folder of the {kind}."
            )
    return problems


def load_entries(
    json_path: str,
    images_folder: str,
    panoptic_folder: str,
    descriptor: DatasetDescriptor,
    *,
    with_labels: bool = True,
) -> list[Entry]:
    """Loads the list of images and checks that their files exist.

    Args:
        json_path: Path of the COCO-panoptic JSON.
        images_folder: Folder of the `file_name` of each image.
        panoptic_folder: Folder of the `file_name` of each annotation.
        descriptor: The data set; `category_ids` are those of the JSON.
        with_labels: Whether the annotations are read; if not, only `images`
            and `categories` are needed.

    Returns:
        The images, sorted by name.

    Raises:
        errors.DataError: There are problems, of which it lists the first ten.
    """
    content = load_json(json_path)
    raise_problems(
        json_path, _find_json_problems(content, descriptor, with_labels)
    )
    annotations = {
        annotation["image_id"]: annotation
        for annotation in (content["annotations"] if with_labels else [])
    }
    entries = []
    for image in content["images"]:
        annotation = annotations.get(image["id"])
        has_size = "height" in image and "width" in image
        entries.append(
            Entry(
                name=os.path.splitext(image["file_name"])[0],
                image_path=os.path.join(images_folder, image["file_name"]),
                label_path=os.path.join(
                    panoptic_folder, annotation["file_name"]
                )
                if annotation
                else "",
                size=(image["height"], image["width"]) if has_size else None,
                segments=annotation["segments_info"] if annotation else (),
            )
        )
    problems = _find_missing(entries)
    twice = find_duplicates(entry.name for entry in entries)
    if twice:
        problems.append(
            f"{len(twice)} image names differ in their extension only:"
            f" {summarize_names(twice)}. Names of images must be unique."
        )
    raise_problems(json_path, problems)
    return sorted(entries, key=lambda entry: entry.name)
