# SPDX-License-Identifier: Apache-2.0
"""Reads the JSON file of COCO's panoptic format, also as other tools write it.

`load` reads a file and raises one error with all of its problems; `read`
returns the problems, to be raised with others. What is read and what is refused
is listed in docs/data.md. `coco_format` has the coding of the PNGs.
"""

import dataclasses
import itertools
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from deeplab2_like import errors
from deeplab2_like.labels import json_documents, json_lists, json_values
from deeplab2_like.labels.coco_json_entries import Reader
from deeplab2_like.labels.coco_json_types import (
    Annotation,
    Category,
    Image,
    Segment,
)
from deeplab2_like.labels.image_ids import IdIndex

_MAX_PROBLEMS = 10

_KIND = "COCO-panoptic JSON"
_LAYOUT = (
    "A COCO-panoptic JSON is an object with `images` (id, file_name, height, "
    "width), `annotations` (one an image: image_id, file_name of the PNG, "
    "segments_info) and `categories` (id, name, isthing)."
)
# Keys by which the annotations of the other format are known.
_INSTANCE_KEYS = ("segmentation", "bbox", "category_id", "keypoints")


@dataclasses.dataclass(frozen=True)
class PanopticJson:
    """The content of a file; a list that was not asked for is empty.

    Attributes:
        path: The file.
        images: Each image by id, in the order of the file.
        annotations: Each annotation by image id, in the order of the file.
        categories: Each category by id, in the order of the file.
        warnings: A sentence for each kind of value that was left out.
    """

    path: pathlib.Path
    images: Mapping[int | str, Image]
    annotations: Mapping[int | str, Annotation]
    categories: Mapping[int, Category]
    warnings: tuple[str, ...] = ()


def load(
    path: str | os.PathLike[str],
    required: Sequence[str],
    optional: Sequence[str] = (),
) -> PanopticJson:
    """Loads a COCO-panoptic JSON file.

    Args:
        path: The file.
        required: Which of the lists "images", "annotations" and "categories"
            it must have.
        optional: Which it may have. Other lists are not looked at.

    Raises:
        DataError: The file is missing, not JSON, of another kind, or has
            problems, of which the text lists the first ten.
    """
    content, problems = read(path, required, optional)
    raise_problems(str(content.path), problems)
    return content


def read(
    path: str | os.PathLike[str],
    required: Sequence[str],
    optional: Sequence[str] = (),
) -> tuple[PanopticJson, list[str]]:
    """Reads a file as `load` does, but returns the problems of its entries.

    Args:
        path: The file.
        required: As in `load`.
        optional: As in `load`.

    Returns:
        The entries without problems, and a sentence for each kind of problem.

    Raises:
        DataError: The file is missing, not JSON, or of another kind.
    """
    path = pathlib.Path(path)
    return json_lists.read(
        lambda lists: _read_lists(path, lists, (*required, *optional)),
        path,
        required,
        optional,
        lambda: _find_lists(
            path, json_documents.load(path, _KIND, _LAYOUT), required, optional
        ),
    )


def _read_lists(
    path: pathlib.Path, lists: json_lists.Lists, keys: Sequence[str]
) -> tuple[PanopticJson, list[str]]:
    """Reads those lists of a file that have these keys."""
    # In this order problems are listed, whatever that of the file is.
    readers = {key: Reader() for key in ("images", "annotations", "categories")}
    images: dict[int | str, Image] = {}
    annotations: list[Annotation] = []
    categories: dict[int, Category] = {}
    for key, entries in lists:
        if key not in keys:
            continue
        if key == "images":
            images = readers[key].read_images(entries)
        elif key == "annotations":
            first = list(itertools.islice(entries, 1))
            _refuse_instances(path, first)
            annotations = readers[key].read_annotations(
                itertools.chain(first, entries)
            )
        elif key == "categories":
            categories = readers[key].read_categories(entries)
    content = PanopticJson(
        path,
        images,
        readers["annotations"].index_annotations(annotations, IdIndex(images)),
        categories,
        tuple(w for r in readers.values() for w in r.warnings.sentences()),
    )
    problems = [p for r in readers.values() for p in r.problems.sentences()]
    return content, problems


def read_segments(entries: Any, where: str) -> tuple[Segment, ...]:
    """Reads a `segments_info` that is not in a file.

    Args:
        entries: The list.
        where: The image, for the message.

    Raises:
        DataError: It has problems.
    """
    reader = Reader()
    segments = reader.read_segments(entries, where)
    raise_problems("", reader.problems.sentences())
    return segments


def raise_problems(path: str, problems: Sequence[str]) -> None:
    """Raises one `errors.DataError` that lists all problems, if any.

    Args:
        path: What cannot be used, for the message; may be empty.
        problems: A sentence for each problem.
    """
    if not problems:
        return
    if len(problems) == 1:
        raise errors.DataError(
            f"{path}: {problems[0]}" if path else problems[0]
        )
    shown = [f"  {problem}" for problem in problems[:_MAX_PROBLEMS]]
    if len(problems) > _MAX_PROBLEMS:
        shown.append(f"  ... and {len(problems) - _MAX_PROBLEMS} more.")
    head = f"{path}: cannot be used." if path else "It cannot be used."
    raise errors.DataError("\n".join([head, *shown]))


def _find_lists(
    path: pathlib.Path,
    content: Any,
    required: Sequence[str],
    optional: Sequence[str],
) -> dict[str, list[Any]]:
    """Returns the entries of each list; of those not asked for, none."""
    if not isinstance(content, dict):
        missing = " and ".join(f"no list `{key}`" for key in required)
        raise errors.DataError(
            f"{path} has {missing}: at the top it is "
            f"{json_values.describe(content)}. {_LAYOUT}"
        )
    lists: dict[str, list[Any]] = {
        key: [] for key in ("images", "annotations", "categories")
    }
    faults = []
    for key in (*required, *optional):
        value = content.get(key)
        if isinstance(value, list):
            lists[key] = value
        elif value is not None:
            faults.append(
                f"no list `{key}`, which is {json_values.describe(value)}"
            )
        elif key in required:
            faults.append(f"no list `{key}`")
    if faults:
        raise errors.DataError(f"{path} has {' and '.join(faults)}. {_LAYOUT}")
    return lists


def _refuse_instances(path: pathlib.Path, annotations: Sequence[Any]) -> None:
    first = annotations[0] if annotations else None
    if (
        isinstance(first, dict)
        and "segments_info" not in first
        and any(key in first for key in _INSTANCE_KEYS)
    ):
        raise errors.DataError(
            f"{path} is a COCO instances (detection) JSON: each of its "
            "annotations is one object. Needed is the panoptic JSON of the "
            f"data set (panoptic_*.json). {_LAYOUT}"
        )
